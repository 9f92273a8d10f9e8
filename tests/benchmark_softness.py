"""How well the softness of whole pictures is read, and whether sharp ones are left alone.

python -m tests.benchmark_softness PICTURES TABLE.csv

Each picture of the folder is looked at as it is (sigma 0) and blurred by Gaussians of SIGMAS pixels. TABLE.csv gets a
line for each: the widths found, empty where nothing was, and the confidence.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import torch

import zssr
from zssr.damages import Blur
from zssr.damages.downscale.gaussian import Gaussian
from zssr.diagnose import diagnose
from zssr.image import Image, as_stored

SIGMAS = (0.0, 1.0, 1.6, 2.4)


def main() -> None:
    read = dict.fromkeys(SIGMAS, 0)
    with Path(sys.argv[2]).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["picture", "sigma", "major", "minor", "confidence"])
        for path in sorted(Path(sys.argv[1]).iterdir()):
            sharp = zssr.load(path).pixels
            for sigma in SIGMAS:
                x = Blur(f"gaussian:{sigma}").degrade(sharp[None]) if sigma else sharp[None]
                found = diagnose(Image(as_stored(x, 255)[0]), {"softness"})
                if not found:
                    table.writerow([path.name, sigma, "", "", ""])
                    read[sigma] += sigma == 0
                    continue
                assert isinstance(found[0].damage, Blur)
                gaussian = Gaussian.named(str(found[0].damage.kernel))
                table.writerow([path.name, sigma, gaussian.major, gaussian.minor, round(found[0].confidence, 3)])
                read[sigma] += sigma > 0 and abs((gaussian.major * gaussian.minor) ** 0.5 / sigma - 1) < 0.12
    print(", ".join(f"sigma {sigma:g}: {count}" for sigma, count in read.items()), "right, to 12 %")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

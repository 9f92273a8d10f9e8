"""What reading the kernel from the picture brings, on photographs made smaller by kernels as of DIV2KRK.

python -m tests.benchmark_kernel PHOTOGRAPHS TABLE.csv [--factors 2,3,4] [--steps 200] [--pictures 40]

PHOTOGRAPHS: a folder; of its pictures those are used that tests/calibrate_kernel.py keeps apart. TABLE.csv gets a line
for each picture, with the widths and angles of the kernel and of what was found, in pixels of the result; what it holds
already is not measured again. The means are printed.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zssr
from tests.calibrate_kernel import moments, noisy_gaussian
from zssr.damages.downscale import Downscale
from zssr.damages.downscale.gaussian import Gaussian
from zssr.image import Image, as_stored
from zssr.metrics import psnr_y

SIDE = 480  # pixels: of the middle that is used


def measured(path: Path, factor: int, steps: int, number: int) -> dict[str, Any]:
    """One line of the table."""
    rng = np.random.default_rng((number, factor))
    whole = zssr.load(path).pixels
    height, width = (min(SIDE, length) // 12 * 12 for length in whole.shape[1:])
    top, left = (whole.shape[1] - height) // 2, (whole.shape[2] - width) // 2
    truth = whole[:, top : top + height, left : left + width]
    weights = noisy_gaussian(rng, factor)
    true = Gaussian.of_covariance(*moments(weights))
    damage = Downscale((Fraction(1, factor), Fraction(1, factor)), tuple(map(tuple, weights.tolist())))
    small = Image(as_stored(damage.degrade(truth[None]), 255)[0])
    line: dict[str, Any] = {"picture": path.name, "factor": factor} | widths("true", true)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.npy"
        np.save(file, weights)
        for name, kernel in (("true", str(file)), ("auto", "auto"), ("bicubic", "bicubic")):
            result = zssr.restore(small, scale=factor, kernel=kernel, num_epochs=steps)
            line[f"psnr_{name}"] = round(psnr_y(result.image.pixels, truth, factor), 3)
            if name == "auto":
                finding = result.plan.findings[0]
                found = finding.damage
                assert isinstance(found, Downscale)
                line |= {"confidence": round(finding.confidence, 3)}
                if isinstance(found.kernel, str) and found.kernel != "bicubic":
                    line |= widths("found", Gaussian.named(found.kernel))
    return line


def widths(name: str, gaussian: Gaussian) -> dict[str, float]:
    rounded = gaussian.rounded()
    return {f"{name}_major": rounded.major, f"{name}_minor": rounded.minor, f"{name}_angle": rounded.angle}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--factors", default="2,3,4")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=40)
    options = parser.parse_args()
    paths = sorted(options.photographs.iterdir())[::5][: options.pictures]
    fields = ["picture", "factor", "confidence", "psnr_true", "psnr_auto", "psnr_bicubic"]
    fields += [f"{name}_{what}" for name in ("true", "found") for what in ("major", "minor", "angle")]
    lines = list(csv.DictReader(options.table.open())) if options.table.exists() else []
    done = {(line["picture"], int(line["factor"])) for line in lines}
    for factor in map(int, options.factors.split(",")):
        for number, path in enumerate(paths):
            if (path.name, factor) in done:
                continue
            new = not options.table.exists()
            line = measured(path, factor, options.steps, number)
            with options.table.open("a", newline="") as file:
                writer = csv.DictWriter(file, fields)
                if new:
                    writer.writeheader()
                writer.writerow(line)
        lines = [line for line in csv.DictReader(options.table.open()) if int(line["factor"]) == factor]
        print(f"factor {factor}, {len(lines)} pictures: {summary(lines)}")


def summary(lines: list[dict[str, Any]]) -> str:
    means = {name: np.mean([float(line[f"psnr_{name}"]) for line in lines]) for name in ("true", "auto", "bicubic")}
    found = [line for line in lines if line["found_major"]]
    errors = [
        math.log(float(line[f"found_{axis}"]) / float(line[f"true_{axis}"]))
        for line in found
        for axis in ("major", "minor")
    ]
    scores = ", ".join(f"{name} {mean:.2f}" for name, mean in means.items())
    error = 100 * np.sqrt(np.mean(np.square(errors)))
    return f"{scores} dB; {len(found)} found, root mean square error of their widths {error:.1f} %"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""How well it is found that pictures were enlarged before, and whether other pictures are left alone.

python -m tests.benchmark_enlarged PICTURES TABLE.csv

Each picture of the folder is looked at as it is (factor 1), and, made half as large first, enlarged by FACTORS with
Pillow's FILTERS, as PNG and as JPEG of quality 90. TABLE.csv gets a line for each: the factors found, vertical and
horizontal, and the filter; empty where nothing was found.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from pathlib import Path

import PIL.Image
import torch

import zssr
from zssr.damages import Enlarged, Mosaic
from zssr.diagnose import diagnose
from zssr.image import Image

FACTORS = (1.25, 1.5, 1.7, 2.0, 3.0)
FILTERS = {
    "nearest": PIL.Image.Resampling.NEAREST,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "Lanczos": PIL.Image.Resampling.LANCZOS,
}
LARGEST = (512, 384)  # pixels of a picture that is enlarged
TOLERANCE = 0.03


def saved(picture: PIL.Image.Image, quality: int | None) -> Image:
    stream = io.BytesIO()
    if quality is None:
        picture.save(stream, "PNG")
    else:
        picture.save(stream, "JPEG", quality=quality)
    return zssr.load(stream.getvalue())


def found(image: Image) -> tuple[float, float, str] | None:
    """Factors and filter. Repeated pixels of whole size are a mosaic."""
    for finding in diagnose(image, {"enlarged", "mosaic"}):
        damage = finding.damage
        if finding.sure and isinstance(damage, Enlarged):
            return float(damage.factors[0]), float(damage.factors[1]), damage.filter
        if finding.sure and isinstance(damage, Mosaic) and damage.as_smaller_picture(image, ()):
            return damage.cell[0], damage.cell[1], "nearest"
    return None


def main() -> None:
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    with Path(sys.argv[2]).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["picture", "file", "factor", "filter", "vertical", "horizontal", "found filter"])
        for path in sorted(Path(sys.argv[1]).iterdir()):
            whole = PIL.Image.open(path).convert("RGB")
            native = whole.resize((whole.width // 2, whole.height // 2), PIL.Image.Resampling.BICUBIC)
            native = native.crop((0, 0, min(LARGEST[0], native.width), min(LARGEST[1], native.height)))
            cases = [("as it is", 1.0, "", zssr.load(path))]
            for quality in (None, 90):
                for factor in FACTORS:
                    for name, resampling in FILTERS.items():
                        size = (round(native.width * factor), round(native.height * factor))
                        image = saved(native.resize(size, resampling), quality)
                        cases.append(("PNG" if quality is None else f"JPEG {quality}", factor, name, image))
            for kind, factor, name, image in cases:
                one = found(image)
                table.writerow([path.name, kind, factor, name, *(one or ("", "", ""))])
                total[kind] += 1
                near = one is not None and all(abs(each / factor - 1) < TOLERANCE for each in one[:2])
                right[kind] += one is None if factor == 1 else near
            file.flush()
    print(", ".join(f"{kind}: {right[kind]} of {count} right" for kind, count in total.items()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

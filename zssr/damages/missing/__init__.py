"""Missing parts, the finder of scratches, and what the program knows of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch
from torch import Tensor

from zssr import files
from zssr.damages.kind import Damaged, Finding, Kind, Trial
from zssr.damages.missing.find import find_scratches
from zssr.damages.missing.operator import Missing
from zssr.damages.region import Region, region_of_mask
from zssr.errors import SettingsError
from zssr.image import Image, from_array
from zssr.resample import Size
from zssr.settings import Settings

SCRATCH_WIDTHS = (2, 5)  # pixels
SCRATCH_LENGTHS = (40, 200)


def _given(settings: Settings, image: Image, enlarges: bool) -> list[Missing]:
    return [] if settings.mask is None else [Missing(region_of_mask(settings.mask, image.size))]


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    found = find_scratches(pixels)
    if not found.any():
        return []
    words = f"scratches on {100 * found.float().mean().item():.2f} % of the pixels"
    return [Finding("scratches", words, 0.5, Missing(Region(found[None, None])))]


def _settled(parts: Sequence[Missing], settings: Settings) -> list[Missing]:
    """One, of all missing parts."""
    return [Missing(Region(functools.reduce(torch.logical_or, (part.region.pixels for part in parts))))]


def _damage(case: Damaged, amount: str, rng: torch.Generator, folder: str) -> Damaged:
    region = _holes(amount, case.image.size, rng.initial_seed())
    pixels = Missing(region).degrade(case.image.pixels[None])
    image = dataclasses.replace(case.image, pixels=pixels[0], jpeg=None)
    path = str(Path(folder) / "mask.png")
    files.save(Image(region.pixels[0].float()), path)
    return Damaged(image, _telea(image, region), {**case.settings, "mask": path}, region.pixels)


def _holes(amount: str, size: Size, seed: int) -> Region:
    """Of a mask's file, or random scratches over a share in per cent."""
    try:
        share = float(amount) / 100
    except ValueError:
        mask = files.load(amount)
        if mask.size == size[::-1] != size:  # one mask for portraits and landscapes
            return Region((mask.pixels.mean(0) >= 0.5).T[None, None].contiguous())
        return region_of_mask(amount, size)
    if not 0.001 <= share <= 0.9:
        raise SettingsError(f"damage 'missing:{amount}': scratches must cover 0.1 to 90 per cent") from None
    return Region(random_scratches(size, share, seed)[None, None])


def random_scratches(size: Size, share: float, seed: int) -> Tensor:
    """(H, W) bool: straight scratches over a share of the pixels."""
    numbers = np.random.default_rng(seed)
    drawn = PIL.Image.new("1", size[::-1])
    pen = PIL.ImageDraw.Draw(drawn)
    while np.asarray(drawn).mean() < share:
        x, y = numbers.uniform(0, size[1]), numbers.uniform(0, size[0])
        angle, length = numbers.uniform(0, 2 * math.pi), numbers.uniform(*SCRATCH_LENGTHS)
        end = (x + length * math.cos(angle), y + length * math.sin(angle))
        pen.line([(x, y), end], fill=1, width=int(numbers.integers(SCRATCH_WIDTHS[0], SCRATCH_WIDTHS[1] + 1)))
    return torch.from_numpy(np.array(drawn))


def _telea(image: Image, region: Region) -> Tensor:
    """(1, C, H, W): OpenCV's inpainting (Telea 2004), to compare with; the damaged picture itself without OpenCV."""
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return image.pixels[None]
    hole = region.pixels[0, 0].numpy().astype(np.uint8) * 255
    filled = cv2.inpaint(dataclasses.replace(image, peak=255).samples(), hole, 3, cv2.INPAINT_TELEA)
    return from_array(filled).pixels[None]


def _path_or_share(text: str) -> str:
    if not text:
        raise ValueError
    return text


KIND = Kind(
    Missing,
    given=_given,
    find=_find,
    drawn_colours=16,  # lines are drawn
    finding="scratches",  # looked for only when asked: a thin branch or wire looks too much like one
    settled=_settled,
    trials=(
        Trial(
            "missing",
            "a mask's file (white is missing), or the per cent that random scratches cover",
            _path_or_share,
            _damage,
            placed=True,
            compared_with="Telea" if importlib.util.find_spec("cv2") else "input",
        ),
    ),
)

__all__ = ["KIND", "Missing", "random_scratches"]

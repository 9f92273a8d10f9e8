"""Pictures that were enlarged before, and what the program knows of them."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import torch
from torch import Tensor

from zssr.damages import jpeg
from zssr.damages.enlarged.find import LARGEST_FACTOR, SIDE, best_filter, find_enlarged, is_of_blocks
from zssr.damages.enlarged.operator import Enlarged
from zssr.damages.jpeg import Jpeg
from zssr.damages.jpeg.codec import to_components
from zssr.damages.jpeg.tables import BLOCK, nearest_quality
from zssr.damages.kind import SURE, Damaged, Finding, Kind, Trial, number
from zssr.errors import SettingsError
from zssr.image import Image, fill_hidden
from zssr.resample import ratio, size_of
from zssr.settings import Settings

# Grey levels, typically, that interpolation leaves unexplained where nothing was done to the picture afterwards.
MOST_ERROR = 0.5
# Of JPEG compression, and pixels of a compressed picture: below, too little is left of what neighbouring pixels share.
LEAST_QUALITY, LEAST_SIDE = 70, 192
GRID = 16  # pixels, of JPEG compression, which the part that is looked at keeps


def _given(settings: Settings, image: Image, enlarges: bool) -> list[Enlarged]:
    factor = settings.enlarged
    if not isinstance(factor, int | float) or not factor:
        return []
    if factor <= 1:
        raise SettingsError(f"enlarged {factor:g}: must be above 1, or 0 for a picture that was not")
    size = (max(1, round(image.size[0] / factor)), max(1, round(image.size[1] / factor)))
    luma, corner = _part(fill_hidden(image))
    return [Enlarged(ratio(size, image.size), best_filter(luma, image.size, size, corner)[0])]


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    luma, corner = _part(pixels)
    traces = None
    compression: Jpeg | None = None
    if image.jpeg is None:
        traces = find_enlarged(luma, image.size, corner)
        if traces is None or traces.share < 1:
            return []
    if traces is None or is_of_blocks(image.size[0] / traces.size[0]):
        # The blocks of compression leave the same traces, which its repair takes away.
        compression = _compression(image, pixels)
        if compression is not None and (
            nearest_quality(compression.tables[0]) < LEAST_QUALITY or min(image.size) < LEAST_SIDE
        ):
            return []
        if compression is not None or traces is None:
            repaired = luma if compression is None else _repaired(luma, compression)
            traces = find_enlarged(repaired, image.size, corner)
    if traces is None or traces.share < 1:
        return []
    name, error = best_filter(luma, image.size, traces.size, corner)
    if compression is None and error > MOST_ERROR:
        return []
    damage = Enlarged(ratio(traces.size, image.size), name)
    return [Finding("enlarged", damage.describe(), 1 - (1 - SURE) ** traces.share, damage)]


def _compression(image: Image, pixels: Tensor) -> Jpeg | None:
    """That of the file, or that the pixels show; None where it is too mild to leave traces."""
    assert jpeg.KIND.find is not None
    found = [finding.damage for finding in jpeg.KIND.find(image, pixels, False)]
    return next((damage for damage in found if isinstance(damage, Jpeg)), None)


def _part(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Luma of the middle of (C, H, W), (h, w) in grey levels of 255, and its corner, on the grid of a JPEG file."""
    top, left = (max(0, length - SIDE) // 2 // GRID * GRID for length in size_of(pixels))
    part = pixels[None, :, top : top + SIDE, left : left + SIDE] * 255
    return (to_components(part) if len(pixels) == 3 else part)[0, 0], (top, left)


def _repaired(luma: Tensor, compression: Jpeg) -> Tensor:
    """A first estimate of (h, w), in grey levels of 255."""
    row, column = (place % BLOCK for place in compression.offset)
    grey = Jpeg(compression.tables[:1], "grey", (row, column), compression.move)
    return grey.base(luma[None, None] / 255, size_of(luma))[0, 0] * 255


def _damage(case: Damaged, factor: float, rng: torch.Generator, folder: str) -> Damaged:
    """By bicubic interpolation."""
    exact = Fraction(factor).limit_denominator(1000)
    height, width = (round(length * exact) for length in case.image.size)
    damage = Enlarged(ratio(case.image.size, (height, width)))
    x = damage.degrade(case.image.pixels[None]).clamp_(0, 1)
    image = dataclasses.replace(case.image, pixels=x[0])
    # Not larger than the picture before all damage, which the result is compared with.
    truth = [round(length * scale) for length, scale in zip(case.image.size, case.settings["scale"], strict=True)]
    if truth[0] < height or truth[1] < width:
        raise SettingsError(f"damage 'enlarged:{factor:g}': needs scale:{factor:g} or more with it")
    settings = {**case.settings, "scale": None, "size": f"{truth[1]}x{truth[0]}", "enlarged": factor}
    return dataclasses.replace(case, image=image, plain=x, settings=settings)


KIND = Kind(
    Enlarged,
    given=_given,
    find=_find,
    automatic=True,
    drawn_colours=256,
    trials=(
        Trial(
            "enlarged",
            f"how many times larger it was made, by bicubic interpolation, up to {LARGEST_FACTOR:g}",
            number(1.01, LARGEST_FACTOR),
            _damage,
            stored=False,
            compared_with="bicubic",
        ),
    ),
)

__all__ = ["KIND", "Enlarged"]

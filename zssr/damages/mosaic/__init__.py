"""Mosaics, their finder, and what the program knows of them."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from zssr.damages.kind import Damaged, Finding, Kind, Trial, number
from zssr.damages.mosaic.find import MosaicRegion, find_mosaics
from zssr.damages.mosaic.operator import LARGEST_CELL, SMALLEST_CELL, Mosaic
from zssr.damages.region import Region, random_square, region_of_area
from zssr.errors import SettingsError
from zssr.image import Image, as_stored, fill_hidden
from zssr.settings import Area, Settings, parse_areas


def _given(settings: Settings, image: Image, enlarges: bool) -> list[Mosaic]:
    return [_of_area(area, image) for area in parse_areas("mosaic", settings.mosaic)]


def _of_area(area: Area, image: Image) -> Mosaic:
    region = region_of_area("mosaic", area, image.size)
    rows, columns = region.pixels[0, 0].any(1).nonzero(), region.pixels[0, 0].any(0).nonzero()
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
    if not area.amounts:
        for found in (_operator(traces, image) for traces in find_mosaics(fill_hidden(image))):
            if found.region.overlaps(region):
                return Mosaic(region, found.cell, found.phase)
        raise SettingsError("mosaic: no cells can be seen in this area; give their side, X,Y,WIDTH,HEIGHT:CELL")
    if not all(amount == int(amount) for amount in area.amounts):
        raise SettingsError(f"mosaic cell {area.amounts[0]:g}: must be a whole number of pixels")
    cell = (int(area.amounts[-1]), int(area.amounts[0]))
    if min(cell) < 1 or max(cell) < 2:
        raise SettingsError(f"mosaic cell {cell[1]}x{cell[0]}: a cell needs at least 2 pixels")
    if cell[0] > height or cell[1] > width:
        raise SettingsError(f"mosaic cell {cell[1]}x{cell[0]}: is larger than its area, {width}x{height}")
    return Mosaic(region, cell, (top % cell[0], left % cell[1]))


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    return [
        Finding(
            "mosaic",
            f"mosaic of {traces.cell[1]}x{traces.cell[0]} cells in {traces.width}x{traces.height} at"
            f" ({traces.left}, {traces.top})",
            traces.confidence,
            _operator(traces, image),
        )
        for traces in find_mosaics(pixels)
    ]


def _operator(traces: MosaicRegion, image: Image) -> Mosaic:
    region = Region.rectangle(image.size, traces.top, traces.left, traces.height, traces.width)
    return Mosaic(region, traces.cell, traces.phase)


def _damage_square(case: Damaged, cell: int, rng: torch.Generator, folder: str) -> Damaged:
    region, top, left, side = random_square(case.image.size, rng)
    mosaic = Mosaic(region, (cell, cell), (top % cell, left % cell))
    x = as_stored(mosaic.degrade(case.image.pixels[None]), case.image.peak)
    settings = {**case.settings, "mosaic": f"{left},{top},{side},{side}:{cell}"}
    plain = mosaic.plain(x, case.image.size)
    return Damaged(dataclasses.replace(case.image, pixels=x[0]), plain, settings, region.pixels)


KIND = Kind(
    Mosaic,
    given=_given,
    find=_find,
    automatic=True,
    drawn_colours=64,
    trials=(
        Trial(
            "mosaic",
            f"side of a cell in pixels, {SMALLEST_CELL} to {LARGEST_CELL}",
            number(SMALLEST_CELL, LARGEST_CELL, int),
            _damage_square,
            placed=True,
            compared_with="bicubic",
        ),
    ),
)

__all__ = ["KIND", "Mosaic"]

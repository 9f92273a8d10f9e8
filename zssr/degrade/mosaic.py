"""Mosaics: cells of one colour each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.degrade.region import FLIPS, PLACE, Region
from zssr.errors import SettingsError
from zssr.resample import Scale, Size, extended, resize, size_of

SMALLEST_CELL, LARGEST_CELL = 2, 64
BASE_STEPS = 4
PROJECTION_STEPS = 20
HALF_LEVEL = 0.5 / 255  # what rounding to 8 bits hides


@dataclass(frozen=True)
class Mosaic:
    """y = x outside the region; inside, each cell has the mean colour of x's pixels there.

    cell: (height, width) in pixels. phase: (row, column) at which a cell starts. Cells that the region cuts
    are means over their part inside.
    """

    region: Region
    cell: tuple[int, int]
    phase: tuple[int, int] = (0, 0)
    scale: Scale = (Fraction(1), Fraction(1))
    symmetries: frozenset[int] = FLIPS
    noisy: bool = False
    fair_at: float = 1.0
    hinted: bool = True

    def __post_init__(self) -> None:
        if not all(1 <= side <= LARGEST_CELL for side in self.cell) or max(self.cell) < SMALLEST_CELL:
            raise SettingsError(
                f"mosaic cell {self.cell[1]}x{self.cell[0]}: sides must lie between {SMALLEST_CELL} and {LARGEST_CELL}"
            )

    def out_size(self, size: Size) -> Size:
        return size

    def drawn(self, size: Size, rng: torch.Generator) -> Mosaic:
        # The crop's corner is a cell's, so that the network meets few phases; see `lead`.
        region, top, left = self.region.window(size, rng, self.cell, self.phase)
        phase = ((self.phase[0] - top) % self.cell[0], (self.phase[1] - left) % self.cell[1])
        return Mosaic(region, self.cell, phase)

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to the same. rng is not used."""
        return torch.where(self.region.pixels.to(x.device), self._spread(self.cells(x), size_of(x)), x)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Bicubic interpolation of the cells, those around the region included, sharpened until the means fit."""
        means = self.cells(y)
        x = self._interpolated(means, size_of(y))
        for _ in range(BASE_STEPS):
            x = x + self._interpolated(means - self.cells(x), size_of(y))
        return torch.where(self.region.pixels.to(y.device), x, y)

    def interpolated(self, y: Tensor) -> Tensor:
        """Plain bicubic interpolation of the cells, over all of y."""
        return self._interpolated(self.cells(y), size_of(y))

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """The means of the cells, made right within a rounding error, smoothly first."""
        region = self.region.pixels.to(x.device)
        means = self.cells(y)
        touched = functional.avg_pool2d(self._padded_region(x), self.cell) > 0
        for step in range(PROJECTION_STEPS):
            misfit = (means - self.cells(torch.where(region, x, y))) * touched
            if misfit.abs().max() <= HALF_LEVEL:
                break
            if step < PROJECTION_STEPS // 2:
                x = x + self._interpolated(misfit, size_of(x))
            else:
                x = x + self._spread(misfit, size_of(x))
            x = x.clamp(0, 1)
        return torch.where(region, x, y)

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """The region, and the place in a cell by rows and columns, the same from both sides."""
        rows, columns = (
            torch.cos((torch.arange(length) - phase + 0.5) * (2 * math.pi / side)) * PLACE
            for length, phase, side in zip(size, self.phase, self.cell, strict=True)
        )
        hints = torch.stack([self.region.pixels[0, 0] * PLACE, rows[:, None].expand(size), columns.expand(size)])
        return hints.to(y.device).expand(len(y), -1, -1, -1)

    def damaged(self, size: Size) -> Tensor:
        return self.region.pixels

    @property
    def lead(self) -> tuple[int, int]:
        return -self.phase[0] % self.cell[0], -self.phase[1] % self.cell[1]

    def to_json(self) -> dict[str, Any]:
        return {"name": "mosaic", "region": self.region.to_json(), "cell": list(self.cell), "phase": list(self.phase)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Mosaic:
        return cls(Region.from_json(data["region"]), tuple(data["cell"]), tuple(data["phase"]))

    def _margins(self, size: Size) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) to be added so that cells are whole."""
        top, left = (-phase % side for phase, side in zip(self.phase, self.cell, strict=True))
        bottom, right = (
            -(length + before) % side for length, before, side in zip(size, (top, left), self.cell, strict=True)
        )
        # A phase starts cells, so the margin before it belongs to a cell that began earlier.
        return left, right, top, bottom

    def cells(self, x: Tensor) -> Tensor:
        """(N, C, rows, columns): the mean of a cell's pixels in the region, or of all where it has none."""
        left, right, top, bottom = self._margins(size_of(x))
        inside = self._padded_region(x)
        # A cell that only surrounds the region is whole, continued by mirroring where the picture ends: the mean of a
        # row or two at the border would be taken for that of a cell.
        weight = torch.where(self._repeated(functional.avg_pool2d(inside, self.cell)) > 0, inside, 1)
        total = functional.avg_pool2d(extended(x, (top, bottom), (left, right)) * weight, self.cell)
        return total / functional.avg_pool2d(weight, self.cell)

    def _padded_region(self, x: Tensor) -> Tensor:
        """(1, 1, H, W) on whole cells: 1 in the region, 0 around it, with x's type."""
        return functional.pad(self.region.pixels.to(x), self._margins(size_of(x)))

    def _repeated(self, cells: Tensor) -> Tensor:
        return cells.repeat_interleave(self.cell[0], -2).repeat_interleave(self.cell[1], -1)

    def _spread(self, cells: Tensor, size: Size) -> Tensor:
        left, _, top, _ = self._margins(size)
        return self._repeated(cells)[..., top : top + size[0], left : left + size[1]]

    def _interpolated(self, cells: Tensor, size: Size) -> Tensor:
        left, _, top, _ = self._margins(size)
        height, width = cells.shape[-2] * self.cell[0], cells.shape[-1] * self.cell[1]
        whole = resize(cells, (Fraction(self.cell[0]), Fraction(self.cell[1])), (height, width))
        return whole[..., top : top + size[0], left : left + size[1]]

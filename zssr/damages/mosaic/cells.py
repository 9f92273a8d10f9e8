"""The grid of a mosaic's cells: their means, and back to pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.damages.region import Region
from zssr.resample import Size, extended, resize, size_of


@dataclass(frozen=True)
class Cells:
    """Cells of side (height, width) that start at phase (row, column), and the region that is pixelated."""

    region: Region
    side: tuple[int, int]
    phase: tuple[int, int]

    def means(self, x: Tensor) -> Tensor:
        """(N, C, rows, columns): the mean of a cell's pixels in the region, or of all where it has none."""
        left, right, top, bottom = self._margins(size_of(x))
        inside = self._padded_region(x)
        # A cell that only surrounds the region is whole, continued by mirroring where the picture ends: the mean of a
        # row or two at the border would be taken for that of a cell.
        weight = torch.where(self._repeated(functional.avg_pool2d(inside, self.side)) > 0, inside, 1)
        total = functional.avg_pool2d(extended(x, (top, bottom), (left, right)) * weight, self.side)
        return total / functional.avg_pool2d(weight, self.side)

    def touched(self, x: Tensor) -> Tensor:
        """(1, 1, rows, columns) bool: cells with any pixel in the region."""
        return functional.avg_pool2d(self._padded_region(x), self.side) > 0

    def repeated(self, cells: Tensor, size: Size) -> Tensor:
        """(N, C, rows, columns) to (N, C, *size), each cell of one colour."""
        left, _, top, _ = self._margins(size)
        return self._repeated(cells)[..., top : top + size[0], left : left + size[1]]

    def interpolated(self, cells: Tensor, size: Size) -> Tensor:
        """(N, C, rows, columns) to (N, C, *size), bicubic."""
        left, _, top, _ = self._margins(size)
        height, width = cells.shape[-2] * self.side[0], cells.shape[-1] * self.side[1]
        whole = resize(cells, (Fraction(self.side[0]), Fraction(self.side[1])), (height, width))
        return whole[..., top : top + size[0], left : left + size[1]]

    def _margins(self, size: Size) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) to be added so that cells are whole."""
        top, left = (-phase % side for phase, side in zip(self.phase, self.side, strict=True))
        bottom, right = (
            -(length + before) % side for length, before, side in zip(size, (top, left), self.side, strict=True)
        )
        # A phase starts cells, so the margin before it belongs to a cell that began earlier.
        return left, right, top, bottom

    def _padded_region(self, x: Tensor) -> Tensor:
        """(1, 1, H, W) on whole cells: 1 in the region, 0 around it, with x's type."""
        return functional.pad(self.region.pixels.to(x), self._margins(size_of(x)))

    def _repeated(self, cells: Tensor) -> Tensor:
        return cells.repeat_interleave(self.side[0], -2).repeat_interleave(self.side[1], -1)

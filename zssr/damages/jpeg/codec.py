"""What JPEG encoders and decoders do to a picture: components, chroma sampling, blocks and their coefficients."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.damages.jpeg.tables import BLOCK, SAMPLINGS, Table
from zssr.dct_shrinkage import dct_matrix
from zssr.resample import Size

# Steps of Richardson's iteration that undoes the decoder's smoothing of chroma; each halves the error.
SHARPENING_STEPS = 10


@dataclass(frozen=True)
class Codec:
    """Between a picture and its components. Fields as of Jpeg."""

    tables: tuple[Table, ...]
    sampling: str
    offset: tuple[int, int]

    @property
    def component_tables(self) -> tuple[Table, ...]:
        """One for each component."""
        if self.sampling == "grey":
            return self.tables
        return (self.tables[0], self.tables[1], self.tables[-1])

    def planes(self, x: Tensor) -> list[Tensor]:
        """(N, 1, h, w) of each component at its own resolution, on whole blocks; x (N, C, H, W) in 0 to 255."""
        down, across, top, left = self._layout()
        bottom = -(x.shape[-2] + top) % (BLOCK * down)
        right = -(x.shape[-1] + left) % (BLOCK * across)
        padded = functional.pad(x, (left, right, top, bottom), mode="replicate")
        return self.reduced(padded if self.sampling == "grey" else to_components(padded))

    def reduced(self, components: Tensor) -> list[Tensor]:
        """(N, 1 or 3, H, W) on whole blocks to (N, 1, h, w) of each at its own resolution."""
        down, across, _, _ = self._layout()
        luma, *chroma = components.split(1, 1)
        return [luma, *(functional.avg_pool2d(plane, (down, across)) for plane in chroma)]

    def enlarged(self, planes: list[Tensor], repeat: bool = False) -> Tensor:
        """The way back to (N, 1 or 3, H, W). repeat: chroma samples are repeated, not interpolated."""
        if len(planes) == 1:
            return planes[0].clone()
        down, across, _, _ = self._layout()
        return torch.cat([planes[0], enlarged_chroma(torch.cat(planes[1:], 1), down, across, repeat)], 1)

    def picture(self, planes: list[Tensor], size: Size, repeat: bool = False, centre: float = 128) -> Tensor:
        """The decoder's way back to (N, C, *size). repeat: as of `enlarged`."""
        return self.of_components(self.enlarged(planes, repeat), size, centre)

    def of_components(self, components: Tensor, size: Size, centre: float = 128) -> Tensor:
        """(N, 1 or 3, H, W) on whole blocks to the picture, (N, C, *size)."""
        _, _, top, left = self._layout()
        x = components[..., top : top + size[0], left : left + size[1]]
        return from_components(x, centre) if self.sampling != "grey" else x.clone()

    def coefficients(self, y: Tensor) -> list[Tensor]:
        """The whole numbers (N, rows, columns, 8, 8) of each component, found from decoded y, (N, C, H, W) in 0 to 255;
        uncertain where steps are below 4."""
        planes = self.planes(y)
        down, across, _, _ = self._layout()
        if down * across > 1 and across < 4:
            for number in (1, 2):
                seen = plane = planes[number]
                for _ in range(SHARPENING_STEPS):
                    again = functional.avg_pool2d(enlarged_chroma(plane, down, across, False), (down, across))
                    plane = plane + seen - again
                planes[number] = plane
        return [
            to_blocks(plane - 128).div_(steps_of(table, plane)).round_()
            for plane, table in zip(planes, self.component_tables, strict=True)
        ]

    def on_whole_blocks(self, coefficients: tuple[Tensor, ...], y: Tensor) -> list[Tensor]:
        """A file's coefficients as `coefficients` gives them, for a picture of y's size."""
        down, across, _, _ = self._layout()
        chroma = (math.ceil(y.shape[-2] / (BLOCK * down)), math.ceil(y.shape[-1] / (BLOCK * across)))
        sizes = [(chroma[0] * down, chroma[1] * across), chroma, chroma]
        return [_grown(one.to(y), size)[None] for one, size in zip(coefficients, sizes, strict=False)]

    def _layout(self) -> tuple[int, int, int, int]:
        """Luma samples for one chroma sample down and across, and the rows and columns before the first block."""
        down, across = SAMPLINGS[self.sampling]
        top, left = (-offset % (BLOCK * step) for offset, step in zip(self.offset, (down, across), strict=True))
        return down, across, top, left


def to_components(x: Tensor) -> Tensor:
    """(N, 3, H, W) RGB to luma and chroma of JFIF (BT.601, full range, chroma around 128); grey levels of 255."""
    return torch.einsum("kc,nchw->nkhw", _components(x.device), x).add_(_middle(128, x))


def from_components(x: Tensor, centre: float = 128) -> Tensor:
    """The inverse of `to_components`."""
    return torch.einsum("ck,nkhw->nchw", torch.linalg.inv(_components(x.device)), x - _middle(centre, x))


def _middle(centre: float, x: Tensor) -> Tensor:
    return torch.tensor([0.0, centre, centre], device=x.device)[:, None, None]


@functools.lru_cache(maxsize=8)
def _components(device: torch.device) -> Tensor:
    red, blue = 0.299, 0.114
    luma = torch.tensor([red, 1 - red - blue, blue])
    difference_blue = (torch.tensor([0.0, 0.0, 1.0]) - luma) / (2 * (1 - blue))
    difference_red = (torch.tensor([1.0, 0.0, 0.0]) - luma) / (2 * (1 - red))
    return torch.stack([luma, difference_blue, difference_red]).to(device)


def enlarged_chroma(chroma: Tensor, down: int, across: int, repeat: bool) -> Tensor:
    """As decoders do it: linear between samples ("fancy") for a factor of two, repeated for four."""
    for dimension, factor in ((-2, down), (-1, across)):
        if factor == 1:
            continue
        if repeat or factor > 2:
            chroma = chroma.repeat_interleave(factor, dimension)
            continue
        first, last = chroma.narrow(dimension, 0, 1), chroma.narrow(dimension, -1, 1)
        length = chroma.shape[dimension]
        before = torch.cat([first, chroma.narrow(dimension, 0, length - 1)], dimension)
        after = torch.cat([chroma.narrow(dimension, 1, length - 1), last], dimension)
        pairs = torch.stack([0.75 * chroma + 0.25 * before, 0.75 * chroma + 0.25 * after], dimension)
        chroma = pairs.flatten(-2) if dimension == -1 else pairs.flatten(-3, -2)
    return chroma


@functools.lru_cache(maxsize=32)
def quantisation_error(table: Table) -> Tensor:
    """(64,) variance of a coefficient of a window anywhere, given errors spread evenly over the steps of a grid.

    A window at shift s overlaps two blocks in each direction; its variance follows from the squared
    overlaps of their basis functions, here averaged over the shifts.
    """
    matrix = dct_matrix().double()
    share = torch.zeros(BLOCK, BLOCK, dtype=torch.float64)
    for shift in range(BLOCK):
        left, right = matrix[:, : BLOCK - shift], matrix[:, BLOCK - shift :]
        share += ((left @ matrix[:, shift:].T) ** 2 + (right @ matrix[:, :shift].T) ** 2) / BLOCK
    variance = torch.tensor(table, dtype=torch.float64).reshape(BLOCK, BLOCK).square() / 12
    return (share @ variance @ share.T).reshape(-1).float()


def _grown(coefficients: Tensor, size: tuple[int, int]) -> Tensor:
    """With the last blocks repeated: files leave out blocks that the picture does not reach."""
    rows, columns = (torch.arange(new).clamp(max=old - 1) for new, old in zip(size, coefficients.shape, strict=False))
    return coefficients[rows.to(coefficients.device)][:, columns.to(coefficients.device)]


def steps_of(table: Table, x: Tensor) -> Tensor:
    """(8, 8) on the device of x."""
    return torch.tensor(table, dtype=torch.float32, device=x.device).reshape(BLOCK, BLOCK)


def requantised(plane: Tensor, steps: Tensor) -> Tensor:
    """A component (N, 1, h, w) of whole blocks, 0 to 255, as it comes out of a file with these steps: whole numbers.

    steps: of a table, 64 in any shape.
    """
    steps = steps.reshape(BLOCK, BLOCK)
    coefficients = to_blocks(plane.round() - 128).div_(steps).round_().mul_(steps)
    return from_blocks(coefficients).add_(128).round_().clamp_(0, 255)


def to_blocks(plane: Tensor) -> Tensor:
    """(N, 1, h, w) to the DCT coefficients (N, h/8, w/8, 8, 8) of its blocks."""
    matrix = dct_matrix(plane.device)
    return matrix @ plane[:, 0].unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK) @ matrix.T


def from_blocks(coefficients: Tensor) -> Tensor:
    """The inverse of `to_blocks`."""
    matrix = dct_matrix(coefficients.device)
    blocks = matrix.T @ coefficients @ matrix
    return blocks.transpose(2, 3).flatten(3).flatten(1, 2)[:, None]


def clipped_to_bins(plane: Tensor, measured: Tensor, steps: Tensor, bins: float) -> Tensor:
    """The plane whose coefficients are the nearest within `bins` steps of the measured ones."""
    coefficients = to_blocks(plane)
    low, high = (measured - bins) * steps, (measured + bins) * steps
    return from_blocks(coefficients.clamp(low, high))

"""JPEG compression: what the encoder does to a picture, with a file's own tables and sampling."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.degrade.region import PLACE
from zssr.errors import SettingsError
from zssr.image import dihedral, dihedral_inverse
from zssr.resample import Scale, Size, local_contrast, size_of
from zssr.sliding import SIDE, dct_matrix, thresholded, wiener

# name -> (vertical, horizontal) luma samples for one chroma sample
SAMPLINGS = {"grey": (1, 1), "4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2), "4:1:1": (1, 4)}
# Found on the training photographs, at qualities 10 and 30, for the base.
THRESHOLD = 1.2  # standard deviations of the quantisation error
VARIANCE = 0.3  # share of the error's variance that the second stage expects
FIRST_BINS, BINS = 0.4, 0.3  # half the width of a bin, in steps; 0.5 is all of it
# Steps of Richardson's iteration that undoes the decoder's smoothing of chroma; each halves the error.
SHARPENING_STEPS = 10
PROJECTION_STEPS = 10

# Annex K of the standard, row-major.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32,
)  # fmt: skip

Table = tuple[int, ...]


def standard_tables(quality: int) -> tuple[Table, Table]:
    """Luma and chroma tables of the Independent JPEG Group for a quality of 1 to 100."""
    if not 1 <= quality <= 100:
        raise SettingsError(f"jpeg {quality}: the quality must lie between 1 and 100")
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality

    def scaled(table: Table) -> Table:
        return tuple(min(max((step * percent + 50) // 100, 1), 255) for step in table)

    return scaled(_LUMA), scaled(_CHROMA)


def nearest_quality(table: Table) -> int:
    """The quality whose standard luma table is most like this one."""

    def distance(quality: int) -> float:
        return sum(abs(math.log(a / b)) for a, b in zip(table, standard_tables(quality)[0], strict=True))

    return min(range(1, 101), key=distance)


@dataclass(frozen=True)
class Jpeg:
    """y = decode(encode(x)), in whole grey levels of 255.

    tables: of luma and, for colour, of each chroma component (one for both, or two): 64 steps, row-major.
    sampling: a key of SAMPLINGS. offset: (row, column) of the first block's corner, 0 to 7 (to 15 or 31 where
    chroma is sampled down). move: dihedral move that was applied after decoding, as an EXIF orientation asks for.
    bins: half the width, in quantisation steps, of the interval that `project` clips to; 0.5 is all that
    the file allows. coefficients: whole numbers (rows, columns, 8, 8) of each component as the file holds them;
    without, they are found from y, which is uncertain where steps are below 4.
    prior: a network's first estimate of a component, (N, 1, h, w) in [0, 1] and its steps (8, 8) to the same shape,
    which then takes the filter's place; with prior_for_chroma false, that of luma alone.
    """

    tables: tuple[Table, ...]
    sampling: str = "4:2:0"
    offset: tuple[int, int] = (0, 0)
    move: int = 0
    bins: float = 0.45
    coefficients: tuple[Tensor, ...] | None = field(default=None, compare=False, repr=False)
    prior: Callable[[Tensor, Tensor], Tensor] | None = field(default=None, compare=False, repr=False)
    prior_for_chroma: bool = field(default=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLINGS:
            raise SettingsError(f"jpeg sampling '{self.sampling}': must be one of {', '.join(SAMPLINGS)}")
        expected = (1,) if self.sampling == "grey" else (2, 3)
        if len(self.tables) not in expected or not all(
            len(table) == SIDE**2 and all(1 <= step <= 65535 for step in table) for table in self.tables
        ):
            raise SettingsError("jpeg: a table must have 64 steps of 1 to 65535, and colour needs one for chroma too")
        if not 0 < self.bins <= 0.5:
            raise SettingsError(f"jpeg bins {self.bins:g}: must lie between 0 and 0.5")

    scale: Scale = (Fraction(1), Fraction(1))
    noisy: bool = False
    fair_at: float = 0.8
    hinted: bool = True

    @property
    def symmetries(self) -> frozenset[int]:
        """Flips, of pictures that end with a whole block; the tables tell rows from columns."""
        return frozenset({0, 2, 4, 6} if self.offset == (0, 0) else {0})

    def out_size(self, size: Size) -> Size:
        return size

    def drawn(self, size: Size, rng: torch.Generator) -> Jpeg:
        """For a crop: blocks start at its corner."""
        return dataclasses.replace(self, offset=(0, 0), coefficients=None)

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to the same; C is 1 for grey, 3 for RGB. rng is not used."""
        x = dihedral_inverse(x, self.move)
        planes = self._planes(x.mul(255).round_().clamp_(0, 255))
        decoded = []
        for plane, table in zip(planes, self._component_tables, strict=True):
            decoded.append(requantised(plane, _steps(table, plane)))
        return dihedral(self._picture(decoded, size_of(x)).round_().clamp_(0, 255).div_(255), self.move)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Each component filtered in the sliding DCT, with the tables' own error, or given to the prior; and kept
        within narrowed bins.

        After Nosratinia (2001), who averages shifted re-compressions: a re-compression is a
        shrinking, here one that fits the quantisation error, at all 64 shifts.
        """
        y = dihedral_inverse(y, self.move)
        planes = self._planes(y * 255)
        filtered: list[Tensor] = []
        for plane, table, measured in zip(planes, self._component_tables, self._measured(y), strict=True):
            steps = _steps(table, plane)
            plane = _from_blocks(measured * steps) if self._is_smoothed(plane, planes) else plane - 128
            is_luma = not filtered
            if self.prior is not None and (is_luma or self.prior_for_chroma):
                second = self.prior((plane + 128).round_().clamp_(0, 255) / 255, steps) * 255 - 128
            else:
                variance = quantisation_error(table)
                first = _clipped(thresholded(plane, THRESHOLD * variance.sqrt()), measured, steps, FIRST_BINS)
                second = wiener(plane, first, VARIANCE * variance)
            filtered.append(_clipped(second, measured, steps, BINS) + 128)
        return dihedral(self._picture(filtered, size_of(y)).div_(255).clamp_(0, 1), self.move)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """x with the DCT coefficients of each component clipped to the bins they were rounded from."""
        x, y = dihedral_inverse(x, self.move), dihedral_inverse(y, self.move)
        size = size_of(x)
        measured = self._measured(y)
        for _ in range(PROJECTION_STEPS):  # what was clipped to [0, 255] moves coefficients again
            planes = self._planes(x * 255)
            changes = []
            for plane, table, wanted in zip(planes, self._component_tables, measured, strict=True):
                changes.append(_clipped(plane - 128, wanted, _steps(table, plane), self.bins) + 128 - plane)
            # Repeated samples, as their mean over a chroma sample is the change itself.
            change = self._picture(changes, size, repeat=True, centre=0)
            if change.abs().max() < 1e-3:
                break
            x = (x + change / 255).clamp_(0, 1)
        return dihedral(x, self.move)

    def same_coefficients(self, x: Tensor, y: Tensor) -> float:
        """The share, 0 to 1, of y's coefficients that x, compressed with the same tables, has too."""
        x, y = dihedral_inverse(x, self.move), dihedral_inverse(y, self.move)
        planes = self._planes(x.mul(255).round_().clamp_(0, 255))
        same = total = 0
        for plane, table, wanted in zip(planes, self._component_tables, self._measured(y), strict=True):
            equal = _to_blocks(plane.round() - 128).div_(_steps(table, plane)).round_() == wanted
            same, total = same + int(equal.sum()), total + equal.numel()
        return same / total

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """(N, 2 + C, *size): place in the 8x8 grid by rows and columns, the same from both sides of a block; and
        the contrast of y."""
        upright = size[::-1] if self.move % 2 else size
        rows, columns = (
            torch.cos((torch.arange(length) - offset + 0.5) * (2 * math.pi / SIDE)) * PLACE
            for length, offset in zip(upright, self.offset, strict=True)
        )
        grid = torch.stack([rows[:, None].expand(upright), columns.expand(upright)])[None]
        grid = dihedral(grid, self.move).to(y).expand(len(y), -1, -1, -1)
        return torch.cat([grid, local_contrast(y)], 1)

    def damaged(self, size: Size) -> None:
        """Every pixel."""
        return

    @property
    def lead(self) -> tuple[int, int]:
        return -self.offset[0] % SIDE, -self.offset[1] % SIDE

    def to_json(self) -> dict[str, Any]:
        return {
            "name": "jpeg", "tables": [list(table) for table in self.tables], "sampling": self.sampling,
            "offset": list(self.offset), "move": self.move, "bins": self.bins,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Jpeg:
        vertical, horizontal = data["offset"]
        tables = tuple(tuple(table) for table in data["tables"])
        return cls(tables, data["sampling"], (vertical, horizontal), data["move"], data["bins"])

    @property
    def _component_tables(self) -> tuple[Table, ...]:
        if self.sampling == "grey":
            return self.tables
        return (self.tables[0], self.tables[1], self.tables[-1])

    def _planes(self, x: Tensor) -> list[Tensor]:
        """(N, 1, h, w) of each component at its own resolution, on whole blocks; x (N, C, H, W) in 0 to 255."""
        down, across = SAMPLINGS[self.sampling]
        top, left = (-offset % (SIDE * step) for offset, step in zip(self.offset, (down, across), strict=True))
        bottom = -(x.shape[-2] + top) % (SIDE * down)
        right = -(x.shape[-1] + left) % (SIDE * across)
        padded = functional.pad(x, (left, right, top, bottom), mode="replicate")
        if self.sampling == "grey":
            return [padded]
        components = to_components(padded).split(1, 1)
        return [components[0], *(functional.avg_pool2d(chroma, (down, across)) for chroma in components[1:])]

    def _picture(self, planes: list[Tensor], size: Size, repeat: bool = False, centre: float = 128) -> Tensor:
        """The decoder's way back to (N, C, *size)."""
        down, across = SAMPLINGS[self.sampling]
        top, left = (-offset % (SIDE * step) for offset, step in zip(self.offset, (down, across), strict=True))
        if self.sampling != "grey":
            chroma = torch.cat(planes[1:], 1)
            planes = [planes[0], _enlarged(chroma, down, across, repeat)]
        x = torch.cat(planes, 1)[..., top : top + size[0], left : left + size[1]]
        return from_components(x, centre) if self.sampling != "grey" else x.clone()

    def _is_smoothed(self, plane: Tensor, planes: list[Tensor]) -> bool:
        """Whether the decoder smoothed this component, so that y does not show it as it was decoded."""
        return plane.shape != planes[0].shape

    def _measured(self, y: Tensor) -> list[Tensor]:
        """The whole numbers of each component's coefficients, (N, rows, columns, 8, 8)."""
        if self.coefficients is not None:
            down, across = SAMPLINGS[self.sampling]
            chroma = (math.ceil(y.shape[-2] / (SIDE * down)), math.ceil(y.shape[-1] / (SIDE * across)))
            sizes = [(chroma[0] * down, chroma[1] * across), chroma, chroma]
            return [_grown(held.to(y), size)[None] for held, size in zip(self.coefficients, sizes, strict=False)]
        planes = self._planes(y * 255)
        down, across = SAMPLINGS[self.sampling]
        if down * across > 1 and across < 4:
            for number in (1, 2):
                seen = plane = planes[number]
                for _ in range(SHARPENING_STEPS):
                    again = functional.avg_pool2d(_enlarged(plane, down, across, False), (down, across))
                    plane = plane + seen - again
                planes[number] = plane
        return [
            _to_blocks(plane - 128).div_(_steps(table, plane)).round_()
            for plane, table in zip(planes, self._component_tables, strict=True)
        ]


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


def _enlarged(chroma: Tensor, down: int, across: int, repeat: bool) -> Tensor:
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
    share = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for shift in range(SIDE):
        left, right = matrix[:, : SIDE - shift], matrix[:, SIDE - shift :]
        share += ((left @ matrix[:, shift:].T) ** 2 + (right @ matrix[:, :shift].T) ** 2) / SIDE
    variance = torch.tensor(table, dtype=torch.float64).reshape(SIDE, SIDE).square() / 12
    return (share @ variance @ share.T).reshape(-1).float()


def _grown(coefficients: Tensor, size: tuple[int, int]) -> Tensor:
    """With the last blocks repeated: files leave out blocks that the picture does not reach."""
    rows, columns = (torch.arange(new).clamp(max=old - 1) for new, old in zip(size, coefficients.shape, strict=False))
    return coefficients[rows.to(coefficients.device)][:, columns.to(coefficients.device)]


def _steps(table: Table, x: Tensor) -> Tensor:
    return torch.tensor(table, dtype=torch.float32, device=x.device).reshape(SIDE, SIDE)


def requantised(plane: Tensor, steps: Tensor) -> Tensor:
    """A component (N, 1, h, w) of whole blocks, 0 to 255, as it comes out of a file with these steps: whole numbers.

    steps: of a table, 64 in any shape.
    """
    steps = steps.reshape(SIDE, SIDE)
    coefficients = _to_blocks(plane.round() - 128).div_(steps).round_().mul_(steps)
    return _from_blocks(coefficients).add_(128).round_().clamp_(0, 255)


def _to_blocks(plane: Tensor) -> Tensor:
    """(N, 1, h, w) to the DCT coefficients (N, h/8, w/8, 8, 8) of its blocks."""
    matrix = dct_matrix(plane.device)
    return matrix @ plane[:, 0].unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE) @ matrix.T


def _from_blocks(coefficients: Tensor) -> Tensor:
    matrix = dct_matrix(coefficients.device)
    blocks = matrix.T @ coefficients @ matrix
    return blocks.transpose(2, 3).flatten(3).flatten(1, 2)[:, None]


def _clipped(plane: Tensor, measured: Tensor, steps: Tensor, bins: float) -> Tensor:
    """The plane whose coefficients are the nearest within `bins` steps of the measured ones."""
    coefficients = _to_blocks(plane)
    low, high = (measured - bins) * steps, (measured + bins) * steps
    return _from_blocks(coefficients.clamp(low, high))

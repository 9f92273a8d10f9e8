"""JPEG compression: what the encoder does to a picture, with a file's own tables and sampling."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from zssr.damages.degradation import Degradation, RestoreComponents, RestorePlane
from zssr.damages.jpeg.codec import (
    Codec,
    clipped_to_bins,
    from_blocks,
    quantisation_error,
    requantised,
    steps_of,
    to_blocks,
)
from zssr.damages.jpeg.tables import BLOCK, SAMPLINGS, Table, nearest_quality
from zssr.damages.region import POSITION_GAIN
from zssr.dct_shrinkage import thresholded, wiener
from zssr.dihedral import FLIPS, IDENTITY, dihedral, dihedral_inverse
from zssr.errors import SettingsError
from zssr.features import local_contrast
from zssr.resample import Size, size_of

# Found on the training photographs, at qualities 10 and 30, for the base.
THRESHOLD = 1.2  # standard deviations of the quantisation error
VARIANCE = 0.3  # share of the error's variance that the second stage expects
FIRST_BINS, BINS = 0.4, 0.3  # half the width of a bin, in steps; 0.5 is all of it
PROJECTION_STEPS = 10


@dataclass(frozen=True)
class Jpeg(Degradation):
    """y = decode(encode(x)), in whole grey levels of 255.

    tables: of luma and, for colour, of each chroma component (one for both, or two): 64 steps, row-major.
    sampling: a key of SAMPLINGS. offset: (row, column) of the first block's corner, 0 to 7 (to 15 or 31 where
    chroma is sampled down). move: dihedral move that was applied after decoding, as an EXIF orientation asks for.
    bins: half the width, in quantisation steps, of the interval that `project` clips to; 0.5 is all that
    the file allows. coefficients: whole numbers (rows, columns, 8, 8) of each component as the file holds them;
    without, they are found from y, which is uncertain where steps are below 4.
    """

    kind: ClassVar[str] = "jpeg"
    lost: ClassVar[str] = "Within each step of the compression's tables the result is an estimate."
    joint_channels: ClassVar[bool] = True
    planewise: ClassVar[bool] = True
    figures: ClassVar[tuple[str, ...]] = ("coefficients",)
    tables: tuple[Table, ...]
    sampling: str = "4:2:0"
    offset: tuple[int, int] = (0, 0)
    move: int = 0
    bins: float = 0.45
    coefficients: tuple[Tensor, ...] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLINGS:
            raise SettingsError(f"jpeg sampling '{self.sampling}': must be one of {', '.join(SAMPLINGS)}")
        expected = (1,) if self.sampling == "grey" else (2, 3)
        if len(self.tables) not in expected or not all(
            len(table) == BLOCK**2 and all(1 <= step <= 65535 for step in table) for table in self.tables
        ):
            raise SettingsError("jpeg: a table must have 64 steps of 1 to 65535, and colour needs one for chroma too")
        if not 0 < self.bins <= 0.5:
            raise SettingsError(f"jpeg bins {self.bins:g}: must lie between 0 and 0.5")

    @property
    def _codec(self) -> Codec:
        return Codec(self.tables, self.sampling, self.offset)

    @property
    def clean_scale(self) -> float:
        return 0.8

    @property
    def clean_scale_unrepaired(self) -> float:
        """Smaller, as a copy of the picture shows its blocks."""
        return 0.5

    @property
    def symmetries(self) -> frozenset[int]:
        """Flips, of pictures that end with a whole block; the tables tell rows from columns."""
        return FLIPS if self.offset == (0, 0) else frozenset({IDENTITY})

    def before(self, later: Sequence[Degradation]) -> Jpeg:
        """Missing parts are in the file's coefficients too, which then say nothing of the picture before."""
        spoilt = any(part.overwrites for part in later)
        return dataclasses.replace(self, coefficients=None) if spoilt else self

    def at_crop(self, size: Size, rng: torch.Generator) -> Jpeg:
        """For a crop: blocks start at its corner."""
        return dataclasses.replace(self, offset=(0, 0), coefficients=None)

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to the same; C is 1 for grey, 3 for RGB. rng is not used."""
        x = dihedral_inverse(x, self.move)
        decoded = [
            requantised(plane, steps_of(table, plane))
            for plane, table in zip(self._encoded(x), self._codec.component_tables, strict=True)
        ]
        picture = self._codec.picture(decoded, size_of(x)).round_().clamp_(0, 255).div_(255)
        return dihedral(picture, self.move)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Each component filtered in the sliding DCT, with the tables' own error, and kept within narrowed bins.

        After Nosratinia (2001), who averages shifted re-compressions: a re-compression is a
        shrinking, here one that fits the quantisation error, at all 64 shifts.
        """
        return self._base(y, None, False)

    def base_by_planes(self, y: Tensor, size: Size, restore: RestorePlane, luma_alone: bool) -> Tensor:
        return self._base(y, restore, luma_alone)

    def base_by_components(self, y: Tensor, size: Size, restore: RestoreComponents) -> Tensor:
        y = dihedral_inverse(y, self.move)
        codec, measured = self._codec, self._measured(y)
        steps = [steps_of(table, y) for table in codec.component_tables]
        decoded = [plane.add(128).round_().clamp_(0, 255) for plane in self._decoded(y, measured)]
        components = restore(codec.enlarged(decoded).div_(255), steps[0], steps[-1], self.sampling) * 255
        estimates = codec.reduced(components)
        # As in `project`: chroma moves by what its samples have to.
        changes = [
            clipped_to_bins(plane - 128, numbers, table, BINS) + 128 - plane
            for plane, numbers, table in zip(estimates, measured, steps, strict=True)
        ]
        moved = components + codec.enlarged(changes, repeat=True)
        return dihedral(codec.of_components(moved, size_of(y)).div_(255).clamp_(0, 1), self.move)

    def _base(self, y: Tensor, restore: RestorePlane | None, luma_alone: bool) -> Tensor:
        y = dihedral_inverse(y, self.move)
        measured = self._measured(y)
        estimates: list[Tensor] = []
        for plane, table, numbers in zip(
            self._decoded(y, measured), self._codec.component_tables, measured, strict=True
        ):
            steps = steps_of(table, plane)
            is_luma = not estimates
            if restore is not None and (is_luma or not luma_alone):
                estimate = restore((plane + 128).round_().clamp_(0, 255) / 255, steps) * 255 - 128
            else:
                estimate = _filtered(plane, table, numbers)
            estimates.append(clipped_to_bins(estimate, numbers, steps, BINS) + 128)
        return dihedral(self._codec.picture(estimates, size_of(y)).div_(255).clamp_(0, 1), self.move)

    def _decoded(self, y: Tensor, measured: list[Tensor]) -> list[Tensor]:
        """Each component around 0, as it was before the decoder smoothed chroma that is smaller than luma."""
        planes = self._codec.planes(y * 255)
        return [
            from_blocks(numbers * steps_of(table, y)) if plane.shape != planes[0].shape else plane - 128
            for plane, table, numbers in zip(planes, self._codec.component_tables, measured, strict=True)
        ]

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """x with the DCT coefficients of each component clipped to the bins they were rounded from."""
        x, y = dihedral_inverse(x, self.move), dihedral_inverse(y, self.move)
        size = size_of(x)
        measured = self._measured(y)
        for _ in range(PROJECTION_STEPS):  # what was clipped to [0, 255] moves coefficients again
            changes = [
                clipped_to_bins(plane - 128, numbers, steps_of(table, plane), self.bins) + 128 - plane
                for plane, table, numbers in zip(
                    self._codec.planes(x * 255), self._codec.component_tables, measured, strict=True
                )
            ]
            # Repeated samples, as their mean over a chroma sample is the change itself.
            change = self._codec.picture(changes, size, repeat=True, centre=0)
            if change.abs().max() < 1e-3:
                break
            x = (x + change / 255).clamp_(0, 1)
        return dihedral(x, self.move)

    def agreement(self, x: Tensor, y: Tensor) -> Mapping[str, float]:
        """coefficients: the share, 0 to 1, of y's coefficients that x, compressed with the same tables, has too."""
        x, y = dihedral_inverse(x, self.move), dihedral_inverse(y, self.move)
        same = total = 0
        for plane, table, numbers in zip(
            self._encoded(x), self._codec.component_tables, self._measured(y), strict=True
        ):
            equal = to_blocks(plane.round() - 128).div_(steps_of(table, plane)).round_() == numbers
            same, total = same + int(equal.sum()), total + equal.numel()
        return {"coefficients": same / total}

    def transformed(self, transform: int) -> Jpeg:
        """For flips of whole blocks; a file's coefficients are of the picture as it is."""
        return dataclasses.replace(self, coefficients=None)

    def hint_channels(self, channels: int) -> int:
        return 2 + channels

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """(N, 2 + C, *size): place in the 8x8 grid by rows and columns, the same from both sides of a block; and
        the contrast of y."""
        upright = size[::-1] if self.move % 2 else size
        rows, columns = (
            torch.cos((torch.arange(length) - offset + 0.5) * (2 * math.pi / BLOCK)) * POSITION_GAIN
            for length, offset in zip(upright, self.offset, strict=True)
        )
        grid = torch.stack([rows[:, None].expand(upright), columns.expand(upright)])[None]
        grid = dihedral(grid, self.move).to(y).expand(len(y), -1, -1, -1)
        return torch.cat([grid, local_contrast(y)], 1)

    @property
    def grid_offset(self) -> tuple[int, int]:
        return -self.offset[0] % BLOCK, -self.offset[1] % BLOCK

    def describe(self) -> str:
        return f"JPEG compression of quality about {nearest_quality(self.tables[0])}, {self.sampling}"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.kind, "tables": [list(table) for table in self.tables], "sampling": self.sampling,
            "offset": list(self.offset), "move": self.move, "bins": self.bins,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Jpeg:
        vertical, horizontal = data["offset"]
        tables = tuple(tuple(table) for table in data["tables"])
        return cls(tables, data["sampling"], (vertical, horizontal), data["move"], data["bins"])

    def _encoded(self, x: Tensor) -> list[Tensor]:
        """The components of x, (N, C, H, W) in [0, 1], as the encoder gets them: of whole grey levels."""
        return self._codec.planes(x.mul(255).round_().clamp_(0, 255))

    def _measured(self, y: Tensor) -> list[Tensor]:
        """The whole numbers of each component's coefficients, (N, rows, columns, 8, 8)."""
        if self.coefficients is not None:
            return self._codec.on_whole_blocks(self.coefficients, y)
        return self._codec.coefficients(y * 255)


def _filtered(plane: Tensor, table: Table, measured: Tensor) -> Tensor:
    """(N, 1, h, w), shrunk in the sliding DCT by what quantisation with this table does to a coefficient."""
    variance = quantisation_error(table)
    shrunk = thresholded(plane, THRESHOLD * variance.sqrt())
    pilot = clipped_to_bins(shrunk, measured, steps_of(table, plane), FIRST_BINS)
    return wiener(plane, pilot, VARIANCE * variance)

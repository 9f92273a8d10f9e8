"""Mosaics: cells of one colour each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.damages.mosaic.cells import Cells
from zssr.damages.region import POSITION_GAIN, Region
from zssr.damages.smaller import SmallerPicture
from zssr.errors import SettingsError
from zssr.resample import Size, size_of

if TYPE_CHECKING:
    from zssr.image import Image

SMALLEST_CELL, LARGEST_CELL = 2, 64
BASE_STEPS = 4
PROJECTION_STEPS = 20
HALF_LEVEL = 0.5 / 255  # what rounding to 8 bits hides


@dataclass(frozen=True)
class Mosaic(Degradation):
    """y = x outside the region; inside, each cell has the mean colour of x's pixels there.

    cell: (height, width) in pixels. phase: (row, column) at which a cell starts. Cells that the region cuts
    are means over their part inside.
    """

    kind: ClassVar[str] = "mosaic"
    lost: ClassVar[str] = (
        "Inside a mosaic only the cells' colours are measured; detail in it is imagined and identifies nobody."
    )
    warning: ClassVar[str] = (
        "A mosaic's detail is imagined: it identifies nobody, proves nothing, and must not be used to unmask people or"
        " to read text."
    )
    # Cells are coarse: what helps lies further away, and what can be learned is a few percent of the error, less than
    # it varies from crop to crop, so that a short line stops training too early.
    training: ClassVar[dict[str, Any]] = {"crop_size": 128, "lr_decay_range": 1000}
    region: Region = field()
    cell: tuple[int, int] = field()
    phase: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not all(1 <= side <= LARGEST_CELL for side in self.cell) or max(self.cell) < SMALLEST_CELL:
            raise SettingsError(
                f"mosaic cell {self.cell[1]}x{self.cell[0]}: sides must lie between {SMALLEST_CELL} and {LARGEST_CELL}"
            )

    @property
    def cells(self) -> Cells:
        """Its grid."""
        return Cells(self.region, self.cell, self.phase)

    def at_crop(self, size: Size, rng: torch.Generator) -> Mosaic:
        # The crop's corner is a cell's, so that the network meets few phases; see `grid_offset`.
        region, top, left = self.region.window(size, rng, self.cell, self.phase)
        phase = ((self.phase[0] - top) % self.cell[0], (self.phase[1] - left) % self.cell[1])
        return Mosaic(region, self.cell, phase)

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to the same. rng is not used."""
        return self.region.inside(self.cells.repeated(self.cells.means(x), size_of(x)), x)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Bicubic interpolation of the cells, those around the region included, sharpened until the means fit."""
        means = self.cells.means(y)
        x = self.cells.interpolated(means, size_of(y))
        for _ in range(BASE_STEPS):
            x = x + self.cells.interpolated(means - self.cells.means(x), size_of(y))
        return self.region.inside(x, y)

    def plain(self, y: Tensor, size: Size) -> Tensor:
        """Bicubic interpolation of the cells."""
        return self.region.inside(self.cells.interpolated(self.cells.means(y), size_of(y)), y)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """The means of the cells, made right within a rounding error, smoothly first."""
        means, touched = self.cells.means(y), self.cells.touched(x)
        for step in range(PROJECTION_STEPS):
            misfit = (means - self.cells.means(self.region.inside(x, y))) * touched
            if misfit.abs().max() <= HALF_LEVEL:
                break
            spread = self.cells.interpolated if step < PROJECTION_STEPS // 2 else self.cells.repeated
            x = (x + spread(misfit, size_of(x))).clamp(0, 1)
        return self.region.inside(x, y)

    def hint_channels(self, channels: int) -> int:
        return 3

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """The region, and the place in a cell by rows and columns, the same from both sides."""
        rows, columns = (
            torch.cos((torch.arange(length) - phase + 0.5) * (2 * math.pi / side)) * POSITION_GAIN
            for length, phase, side in zip(size, self.phase, self.cell, strict=True)
        )
        region = self.region.pixels[0, 0] * POSITION_GAIN
        hints = torch.stack([region, rows[:, None].expand(size), columns.expand(size)])
        return hints.to(y.device).expand(len(y), -1, -1, -1)

    @property
    def grid_offset(self) -> tuple[int, int]:
        return -self.phase[0] % self.cell[0], -self.phase[1] % self.cell[1]

    def as_smaller_picture(self, image: Image, later: Sequence[Degradation]) -> SmallerPicture | None:
        """One pixel a cell, where all is pixelated. Cells cut by the border count as whole."""
        if not self.region.pixels.all():
            return None
        means = self.cells.means(image.pixels[None])[0]
        smaller = dataclasses.replace(image, pixels=means, alpha=None, jpeg=None)
        cell = (Fraction(self.cell[0]), Fraction(self.cell[1]))
        return SmallerPicture(smaller, image.size, cell, self.grid_offset, "box", self.describe(), self.lost)

    def describe(self) -> str:
        return f"a mosaic of {self.cell[1]}x{self.cell[0]} cells{self.on_region()}"

    def transformed(self, transform: int) -> Mosaic:
        """For flips."""
        flipped = (transform in (2, 6), transform in (2, 4))
        vertical, horizontal = (
            (length - first) % side if flip else first
            for flip, length, first, side in zip(flipped, self.region.size, self.phase, self.cell, strict=True)
        )
        return Mosaic(self.region.transformed(transform), self.cell, (vertical, horizontal))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.kind, "region": self.region.to_json(), "cell": list(self.cell), "phase": list(self.phase)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Mosaic:
        return cls(Region.from_json(data["region"]), tuple(data["cell"]), tuple(data["phase"]))

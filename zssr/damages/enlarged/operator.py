"""Enlargement by interpolation, which shows nothing that the smaller picture did not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.damages.enlarged.filters import FILTERS, Array, Enlarging
from zssr.damages.smaller import SmallerPicture
from zssr.dihedral import ALL_EIGHT, FLIPS, IDENTITY
from zssr.errors import SettingsError
from zssr.image import fill_hidden
from zssr.resample import Scale, Size, size_of

if TYPE_CHECKING:
    from zssr.image import Image


PROJECTION_STEPS = 4
ROUNDING = 1 / math.sqrt(12) / 255  # root mean square error of rounding to 8 bits


@dataclass(frozen=True)
class Enlarged(Degradation):
    """y = x interpolated between its pixels, `factors` (vertical, horizontal) times as large.

    factors: exact, at least 1, so that both pictures share all four borders. filter: a key of FILTERS.
    """

    kind: ClassVar[str] = "enlarged"
    lost: ClassVar[str] = (
        "It had been enlarged before: it holds no more detail than the smaller picture it was made of."
    )
    factors: Scale
    filter: str = "bicubic"

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise SettingsError(f"enlarged filter '{self.filter}': must be one of {', '.join(FILTERS)}")
        if not all(factor >= 1 for factor in self.factors) or max(self.factors) <= 1:
            raise SettingsError(f"enlarged {float(min(self.factors)):g}: the factor must be above 1")

    @property
    def scale(self) -> Scale:
        """Unlike that of all other damages, at least 1."""
        return self.factors

    @property
    def symmetries(self) -> frozenset[int]:
        if self.repeats:  # of two pixels as near, the first or the second
            return frozenset({IDENTITY})
        return ALL_EIGHT if self.factors[0] == self.factors[1] else FLIPS

    @property
    def repeats(self) -> bool:
        """Whether each pixel became a rectangle of one colour, as in a mosaic."""
        return FILTERS[self.filter].repeats

    def out_size(self, size: Size) -> Size:
        return math.ceil(size[0] * self.factors[0]), math.ceil(size[1] * self.factors[1])

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, h, w) to (N, C, *out_size); rng is not used."""
        size = self.out_size(size_of(x))
        for dimension, enlarging in self._directions(size_of(x), size):
            x = _along(x, dimension, enlarging.enlarged)
        return x

    def base(self, y: Tensor, size: Size) -> Tensor:
        """The smaller picture of `size` that comes nearest to y when enlarged (least squares)."""
        x = self._small(y, size)
        return self._small(y - self.degrade(x), size).add_(x)  # what the regularisation took

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        for _ in range(PROJECTION_STEPS):
            misfit = y - self.degrade(x)
            if misfit.square().mean().sqrt() <= ROUNDING:
                break
            x = self._small(misfit, size_of(x)).add_(x)
        return x

    def as_smaller_picture(self, image: Image, later: Sequence[Degradation]) -> SmallerPicture:
        """What it was made of, as any other picture."""
        repaired = fill_hidden(image)[None]
        for part in reversed(later):
            repaired = part.base(repaired, image.size)
        size = (round(image.size[0] / self.factors[0]), round(image.size[1] / self.factors[1]))
        small = self.base(repaired, size)[0].clamp_(0, 1)
        alpha = None if image.alpha is None else self.base(image.alpha[None], size)[0].clamp_(0, 1)
        misfit = (self.degrade(small[None])[0] - image.pixels).square().mean().sqrt().item() * 255
        undone = "".join(f", then {part.describe()}" for part in later)
        words = (
            f"{self.describe()}{undone}: restored from the {size[1]}x{size[0]} pixels that it was made of, which"
            f" reproduce it to within {misfit:.2f} grey levels"
        )
        lost = " ".join(filter(None, dict.fromkeys([self.lost, *(part.lost for part in later)])))
        smaller = dataclasses.replace(image, pixels=small, alpha=alpha, jpeg=None)
        return SmallerPicture(smaller, image.size, self.factors, (0, 0), None, words, lost)

    def describe(self) -> str:
        factors = dict.fromkeys(f"{float(factor):.3g}" for factor in self.factors)
        return f"enlarged before, about {' and '.join(factors)} times, {self.filter}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.kind, "factors": [str(factor) for factor in self.factors], "filter": self.filter}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Enlarged:
        vertical, horizontal = (Fraction(factor) for factor in data["factors"])
        return cls((vertical, horizontal), data["filter"])

    def _small(self, y: Tensor, size: Size) -> Tensor:
        for dimension, enlarging in self._directions(size, size_of(y)):
            y = _along(y, dimension, enlarging.small)
        return y

    def _directions(self, small: Size, large: Size) -> list[tuple[int, Enlarging]]:
        return [
            (dimension, Enlarging(self.filter, float(1 / factor), 0, large[dimension], small[dimension]))
            for dimension, factor in zip((-2, -1), self.factors, strict=True)
        ]


def _along(x: Tensor, dimension: int, change: Callable[[Array], Array]) -> Tensor:
    """(N, C, H, W) with one dimension changed, plane by plane, as doubles take memory. change: of (count, lines)."""
    planes = []
    for plane in x.flatten(0, 1).double():
        lines = plane if dimension == -2 else plane.T
        changed = torch.from_numpy(change(lines.contiguous().cpu().numpy()))
        planes.append((changed if dimension == -2 else changed.T).to(x))
    return torch.stack(planes).unflatten(0, x.shape[:2]).contiguous()

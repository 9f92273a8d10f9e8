"""Damages as operators that can be done, estimated, undone to a first guess, and checked.

A degradation says how a father becomes its son. They compose in a Chain, in the order in which
they happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Any, Protocol

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.degrade.blur import Blur
from zssr.degrade.downscale import Downscale
from zssr.degrade.jpeg import Jpeg
from zssr.degrade.missing import Missing
from zssr.degrade.mosaic import Mosaic
from zssr.degrade.noise import Noise
from zssr.degrade.region import Region
from zssr.resample import Scale, Size


class Degradation(Protocol):
    """One damage, immutable. Pictures are (N, C, H, W) float32 in [0, 1]."""

    @property
    def scale(self) -> Scale:
        """(vertical, horizontal) size of the damaged picture over the undamaged one's, at most 1."""

    @property
    def symmetries(self) -> frozenset[int]:
        """The moves of image.dihedral that it, with its region moved alike, and its hints commute with."""

    @property
    def noisy(self) -> bool:
        """Whether the damaged picture holds noise, so that agreeing with it exactly is wrong."""

    @property
    def hinted(self) -> bool:
        """Whether `hints` has any channel."""

    @property
    def lead(self) -> tuple[int, int]:
        """(rows, columns) to be added at the top left so that the damage's grid starts at the corner, as in crops."""

    @property
    def fair_at(self) -> float:
        """The largest scale of a copy, made of the base, at which what is left of the damage does not matter."""

    def out_size(self, size: Size) -> Size:
        """(height, width) of the damaged picture for an undamaged one of `size`."""

    def drawn(self, size: Size, rng: torch.Generator) -> Degradation:
        """The same damage as it may fall on a training crop of `size`: a mask's random part, a cell's random place."""

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Do the damage. x is not changed."""

    def base(self, y: Tensor, size: Size) -> Tensor:
        """A first estimate of the undamaged picture, of `size`."""

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """(N, any, *size): what the network is told besides the base, such as the damage's place."""

    def damaged(self, size: Size) -> Tensor | None:
        """(1, 1, *size) bool, True where pixels of the undamaged picture are to be restored; None for all."""

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """A picture close to x that degrades to y; x itself where that makes no sense."""

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make it again with `from_json`."""


@dataclass(frozen=True)
class Chain:
    """Several damages, one after the other.

    prior: what takes the place of the parts' own first estimates: called with the chain without it, y and size.
    """

    parts: tuple[Degradation, ...]
    prior: Callable[[Chain, Tensor, Size], Tensor] | None = field(default=None, compare=False, repr=False)

    @property
    def scale(self) -> Scale:
        if not self.parts:
            return Fraction(1), Fraction(1)
        vertical, horizontal = zip(*(part.scale for part in self.parts), strict=True)
        return _product(vertical), _product(horizontal)

    @property
    def symmetries(self) -> frozenset[int]:
        return frozenset(range(8)).intersection(*(part.symmetries for part in self.parts))

    @property
    def noisy(self) -> bool:
        return any(part.noisy for part in self.parts)

    @property
    def hinted(self) -> bool:
        return any(part.hinted for part in self.parts)

    @property
    def lead(self) -> tuple[int, int]:
        """That of the first part that has a grid elsewhere, at the picture's own size."""
        if self.scale != (1, 1):
            return 0, 0
        return next((part.lead for part in self.parts if part.lead != (0, 0)), (0, 0))

    @property
    def fair_at(self) -> float:
        return min((part.fair_at for part in self.parts), default=1.0)

    def out_size(self, size: Size) -> Size:
        return self._sizes(size)[-1]

    def drawn(self, size: Size, rng: torch.Generator) -> Chain:
        sizes = self._sizes(size)
        parts = tuple(part.drawn(before, rng) for part, before in zip(self.parts, sizes, strict=False))
        return Chain(parts, self.prior)

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        for part in self.parts:
            x = part.degrade(x, rng)
        return x

    def base(self, y: Tensor, size: Size) -> Tensor:
        if self.prior is not None:
            return self.prior(Chain(self.parts), y, size)
        for part, before in reversed(list(zip(self.parts, self._sizes(size), strict=False))):
            y = part.base(y, before)
        return y

    def hints(self, y: Tensor, size: Size) -> Tensor:
        hints = []
        for number, before in reversed(list(enumerate(self._sizes(size)[:-1]))):
            part = self.parts[number]
            if part.hinted:
                # Between whole factors the nearest of two as near would depend on the side that is counted from.
                whole = all(length % small == 0 for length, small in zip(size, before, strict=True))
                mode = "nearest" if whole else "bilinear"
                hints.append(functional.interpolate(part.hints(y, before), size, mode=mode))
            if not any(earlier.hinted for earlier in self.parts[:number]):
                break
            y = part.base(y, before)
        return torch.cat(hints, 1) if hints else y.new_empty(len(y), 0, *size)

    def damaged(self, size: Size) -> Tensor | None:
        """The union; what a part touches before the picture was made smaller counts as all."""
        union = torch.zeros(1, 1, *size, dtype=torch.bool)
        for part, before in zip(self.parts, self._sizes(size), strict=False):
            damaged = part.damaged(before)
            if damaged is None:
                return None
            union |= damaged
        return union

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """From the last part back: what each part was given is moved to what the parts after it allow.

        x itself where any part is noisy: what it was given cannot be told.
        """
        if self.noisy or not self.parts:
            return x
        given = [x]
        for part in self.parts[:-1]:
            given.append(part.degrade(given[-1], torch.Generator()))
        for part, before in zip(reversed(self.parts), reversed(given), strict=True):
            y = part.project(before, y)
        return y

    def split(self) -> tuple[Chain, Chain]:
        """The parts up to the last that makes the picture smaller, and those that happened to the small picture."""
        first = max((number + 1 for number, part in enumerate(self.parts) if part.scale != (1, 1)), default=0)
        return Chain(self.parts[:first]), Chain(self.parts[first:], self.prior if first == 0 else None)

    def to_json(self) -> dict[str, Any]:
        return {"name": "chain", "parts": [part.to_json() for part in self.parts]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Chain:
        return cls(tuple(from_json(part) for part in data["parts"]))

    def _sizes(self, size: Size) -> list[Size]:
        """Sizes before each part and after the last."""
        return reduce(lambda sizes, part: [*sizes, part.out_size(sizes[-1])], self.parts, [size])


def _product(factors: Sequence[Any]) -> Any:
    return reduce(lambda a, b: a * b, factors)


# Every degradation by its name in JSON; the laws in tests/test_degrade.py run over all of them.
DEGRADATIONS: dict[str, Any] = {
    "blur": Blur,
    "chain": Chain,
    "downscale": Downscale,
    "jpeg": Jpeg,
    "missing": Missing,
    "mosaic": Mosaic,
    "noise": Noise,
}


def from_json(data: dict[str, Any]) -> Degradation:
    """The degradation that `to_json` described."""
    return DEGRADATIONS[data["name"]].from_json(data)


__all__ = [
    "DEGRADATIONS", "Blur", "Chain", "Degradation", "Downscale", "Jpeg", "Missing", "Mosaic", "Noise", "Region",
    "from_json",
]  # fmt: skip

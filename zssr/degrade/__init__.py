"""Damages as operators that can be done, estimated, undone to a first guess, and checked.

A degradation says how a father becomes its son. They compose in a Chain, in the order in which
they happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import torch
from torch import Tensor

from zssr.degrade.downscale import Downscale
from zssr.degrade.noise import Noise
from zssr.resample import Scale, Size


class Degradation(Protocol):
    """One damage, immutable. Pictures are (N, C, H, W) float32 in [0, 1]."""

    @property
    def scale(self) -> Scale:
        """(vertical, horizontal) size of the damaged picture over the undamaged one's, at most 1."""

    @property
    def symmetries(self) -> frozenset[int]:
        """The moves of image.dihedral that it commutes with."""

    @property
    def noisy(self) -> bool:
        """Whether the damaged picture holds noise, so that agreeing with it exactly is wrong."""

    def out_size(self, size: Size) -> Size:
        """(height, width) of the damaged picture for an undamaged one of `size`."""

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Do the damage. x is not changed."""

    def base(self, y: Tensor, size: Size) -> Tensor:
        """A first estimate of the undamaged picture, of `size`."""

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """A picture close to x that degrades to y; x itself where that makes no sense."""

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make it again with `from_json`."""


@dataclass(frozen=True)
class Chain:
    """Several damages, one after the other."""

    parts: tuple[Degradation, ...]

    @property
    def scale(self) -> Scale:
        vertical, horizontal = zip(*(part.scale for part in self.parts), strict=True)
        return _product(vertical), _product(horizontal)

    @property
    def symmetries(self) -> frozenset[int]:
        return frozenset.intersection(*(part.symmetries for part in self.parts))

    @property
    def noisy(self) -> bool:
        return any(part.noisy for part in self.parts)

    def out_size(self, size: Size) -> Size:
        return self._sizes(size)[-1]

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        for part in self.parts:
            x = part.degrade(x, rng)
        return x

    def base(self, y: Tensor, size: Size) -> Tensor:
        for part, before in reversed(list(zip(self.parts, self._sizes(size), strict=False))):
            y = part.base(y, before)
        return y

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """Only a chain of one can be projected; a noisy one need not be."""
        return self.parts[0].project(x, y) if len(self.parts) == 1 else x

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
DEGRADATIONS: dict[str, Any] = {"downscale": Downscale, "noise": Noise, "chain": Chain}


def from_json(data: dict[str, Any]) -> Degradation:
    """The degradation that `to_json` described."""
    return DEGRADATIONS[data["name"]].from_json(data)


__all__ = ["DEGRADATIONS", "Chain", "Degradation", "Downscale", "Noise", "from_json"]

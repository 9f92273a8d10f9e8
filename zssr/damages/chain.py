"""Several damages, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.dihedral import ALL_EIGHT
from zssr.resample import Scale, Size

# Undoes one part: its first estimate of the undamaged picture, given what it became and the size before.
Undo = Callable[[Degradation, Tensor, Size], Tensor]


def undo_without_learning(part: Degradation, y: Tensor, size: Size) -> Tensor:
    """The part's own first estimate."""
    return part.base(y, size)


@dataclass(frozen=True)
class Chain:
    """Degradations in the order in which they happened; members as of Degradation."""

    parts: tuple[Degradation, ...]

    @property
    def scale(self) -> Scale:
        vertical, horizontal = Fraction(1), Fraction(1)
        for part in self.parts:
            vertical, horizontal = vertical * part.scale[0], horizontal * part.scale[1]
        return vertical, horizontal

    @property
    def symmetries(self) -> frozenset[int]:
        return ALL_EIGHT.intersection(*(part.symmetries for part in self.parts))

    @property
    def noisy(self) -> bool:
        return any(part.noisy for part in self.parts)

    @property
    def grid_offset(self) -> tuple[int, int]:
        """That of the first part that has a grid elsewhere, at the picture's own size."""
        if self.scale != (1, 1):
            return 0, 0
        return next((part.grid_offset for part in self.parts if part.grid_offset != (0, 0)), (0, 0))

    @property
    def clean_scale(self) -> float:
        return min((part.clean_scale for part in self.parts), default=1.0)

    @property
    def clean_scale_unrepaired(self) -> float:
        return min((part.clean_scale_unrepaired for part in self.parts), default=1.0)

    @property
    def training(self) -> dict[str, Any]:
        return {name: value for part in self.parts for name, value in part.training.items()}

    def out_size(self, size: Size) -> Size:
        return self._sizes(size)[-1]

    def at_crop(self, size: Size, rng: torch.Generator) -> Chain:
        sizes = self._sizes(size)
        return Chain(tuple(part.at_crop(before, rng) for part, before in zip(self.parts, sizes, strict=False)))

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        for part in self.parts:
            x = part.degrade(x, rng)
        return x

    def base(self, y: Tensor, size: Size, undo: Undo = undo_without_learning) -> Tensor:
        """From the last part back. undo: the first estimate of each part."""
        for part, before in reversed(list(zip(self.parts, self._sizes(size), strict=False))):
            y = undo(part, y, before)
        return y

    def hint_channels(self, channels: int) -> int:
        return sum(part.hint_channels(channels) for part in self.parts)

    def hints(self, y: Tensor, size: Size, undo: Undo = undo_without_learning) -> Tensor:
        """Of all parts. undo: the first estimate of the later parts, from which the earlier parts' hints are made."""
        hints = []
        channels = y.shape[1]
        for number, before in reversed(list(enumerate(self._sizes(size)[:-1]))):
            part = self.parts[number]
            if part.hint_channels(channels):
                # Between whole factors the nearest of two as near would depend on the side that is counted from.
                whole = all(length % small == 0 for length, small in zip(size, before, strict=True))
                mode = "nearest" if whole else "bilinear"
                hints.append(functional.interpolate(part.hints(y, before), size, mode=mode))
            if not any(earlier.hint_channels(channels) for earlier in self.parts[:number]):
                break
            y = undo(part, y, before)
        return torch.cat(hints, 1) if hints else y.new_empty(len(y), 0, *size)

    def mask(self, size: Size) -> Tensor | None:
        """The union; what a part touches before the picture was made smaller counts as all."""
        union = torch.zeros(1, 1, *size, dtype=torch.bool)
        for part, before in zip(self.parts, self._sizes(size), strict=False):
            mask = part.mask(before)
            if mask is None:
                return None
            union |= mask
        return union

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """From the last part back: what each part was given is moved to what the parts after it allow.

        x itself where any part is noisy: what it was given is not known.
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
        return Chain(self.parts[:first]), Chain(self.parts[first:])

    def rescaled(self, scale: Scale) -> Chain:
        """The same damage for another factor of the enlargement, which its first part undoes."""
        first, *others = self.parts
        return self if first.scale == scale else Chain((first.rescaled(scale), *others))

    def describe(self) -> str:
        return ", then ".join(part.describe() for part in self.parts)

    def transformed(self, transform: int) -> Chain:
        return Chain(tuple(part.transformed(transform) for part in self.parts))

    def to_json(self) -> dict[str, Any]:
        return {"name": "chain", "parts": [part.to_json() for part in self.parts]}

    def _sizes(self, size: Size) -> list[Size]:
        """Sizes before each part and after the last."""
        return reduce(lambda sizes, part: [*sizes, part.out_size(sizes[-1])], self.parts, [size])

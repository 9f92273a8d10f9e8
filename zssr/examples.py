"""Pairs of a picture with itself: fathers from its pyramid, sons made of them by the damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from zssr.damages import Chain, Degradation
from zssr.image import as_stored
from zssr.pyramid import Pyramid
from zssr.resample import Size, size_of


class Estimator(Protocol):
    """The first estimate: it undoes a damage without learning from this picture. The network learns only what it leaves
    over. Its default is the damages' own, without other pictures.

    bytes_a_pixel: of memory that it takes for each pixel of the picture. enlarges: whether it undoes a smaller size
    better in one go with the rest than from a picture that is repaired already.
    """

    bytes_a_pixel: int = 0
    enlarges: bool = False

    def __call__(self, degradation: Chain, y: Tensor, size: Size) -> Tensor:
        """Of the undamaged picture, of `size`, from y, (N, C, h, w)."""
        return degradation.base(y, size, self.undo)

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        """Of one damage alone."""
        return part.base(y, size)


class Analytic(Estimator):
    """That of the damages themselves. thorough: their `thorough_base`, for whole pictures."""

    def __init__(self, thorough: bool = False) -> None:
        self.thorough = thorough

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        return part.thorough_base(y, size) if self.thorough else part.base(y, size)


@dataclass(frozen=True)
class Example:
    """A batch to learn from.

    father: (N, C, H, W), the truth. base: of the same shape, the first estimate from the son. network_input: base and
    hints, (N, C + hints, H, W). weight: (N or 1, 1, H, W) or (1,), of each pixel's error.
    """

    father: Tensor
    base: Tensor
    network_input: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Pair:
    """A father (N, C, H, W), the son (N, C, h, w) that the damage made of it, and the weight of each pixel's error."""

    father: Tensor
    son: Tensor
    damage: Chain
    weight: Tensor

    def example(self, estimator: Estimator) -> Example:
        """To learn what this first estimate leaves over."""
        size = size_of(self.father)
        base = estimator(self.damage, self.son, size)
        network_input = torch.cat([base, self.damage.hints(self.son, size, estimator.undo)], 1)
        return Example(self.father, base, network_input, self.weight)


def make_pair(father: Tensor, undamaged: Tensor | None, damage: Chain, peak: float, rng: torch.Generator) -> Pair:
    """undamaged: (N, 1, H, W), 1 where the father is a truth worth learning; None for everywhere. damage: as it falls
    on this father. peak: the largest sample value of the file."""
    # Rounded as the input is, so that rounding errors are not taken for detail and sharpened.
    son = as_stored(damage.degrade(father, rng), peak)
    return Pair(father, son, damage, _weight(undamaged, damage.mask(size_of(father)), father))


def _weight(undamaged: Tensor | None, mask: Tensor | None, father: Tensor) -> Tensor:
    """Only what is known, and was damaged, teaches."""
    weight = father.new_ones(1) if undamaged is None else undamaged.to(father)
    if mask is not None:
        weight = weight * mask.to(father)
    return weight / weight.mean().clamp(min=0.01)


def draw_pair(
    pyramid: Pyramid, degradation: Chain, count: int, side: int, peak: float, rng: torch.Generator,
    device: torch.device | None = None,
) -> Pair:  # fmt: skip
    """`count` fathers of side x side pixels, or smaller where the picture is, and their sons. rng: on the CPU."""
    father, undamaged = pyramid.fathers(count, side, rng)
    damage = degradation.at_crop(size_of(father), rng)
    father = father if device is None else father.to(device)
    return make_pair(father, undamaged, damage, peak, rng)


@dataclass(frozen=True)
class Examples:
    """All that can be drawn of one picture for one damage. rng: on the CPU."""

    pyramid: Pyramid
    degradation: Chain
    estimator: Estimator
    peak: float
    rng: torch.Generator

    def draw(self, count: int, side: int, device: torch.device) -> Example:
        """`count` of side x side pixels, or smaller where the picture is."""
        pair = draw_pair(self.pyramid, self.degradation, count, side, self.peak, self.rng, device)
        return pair.example(self.estimator)

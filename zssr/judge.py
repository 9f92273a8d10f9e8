"""Whether a prior helps one picture, told from pairs made of the picture itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zssr.degrade import Chain, Jpeg
from zssr.pyramid import Pyramid
from zssr.resample import Size, size_of
from zssr.train import weight_of

PIECES = 8
SIDE = 128
COMPRESSED_SCALE = 0.5  # at which a copy shows little of the compression
HARMLESS = 0.1 / 255  # by which a prior may be worse, as on flat pictures


@dataclass(frozen=True)
class Pair:
    """A father, the damage drawn for it, its son, and the weight of each of its pixels."""

    father: Tensor
    degradation: Chain
    son: Tensor
    weight: Tensor


def own_pairs(picture: Tensor, degradation: Chain, known: Tensor | None, peak: int) -> list[Pair]:
    """Always the same, from all over a picture (1, C, H, W). known: where it is undamaged, (1, 1, H, W).

    Fathers are of the picture as it is, not as any first estimate has it, which would judge itself.
    """
    rng = torch.Generator().manual_seed(0)
    scale = degradation.fair_at
    if any(isinstance(part, Jpeg) for part in degradation.parts):
        scale = min(scale, COMPRESSED_SCALE)
    pyramid = Pyramid(picture, scale, known)
    pairs = []
    for _ in range(PIECES):
        father, weight = pyramid.fathers(1, SIDE, rng)
        drawn = degradation.drawn(size_of(father), rng)
        son = drawn.degrade(father, rng).clamp_(0, 1).mul_(peak).round_().div_(peak)
        pairs.append(Pair(father, drawn, son, weight_of(weight, drawn.damaged(size_of(father)), father)))
    return pairs


def error_of(pairs: list[Pair], estimate: Callable[[Chain, Tensor, Size], Tensor]) -> float:
    """Mean absolute error, in [0, 1], of an estimate (degradation, son, size of the father) of the fathers."""
    errors = [
        ((estimate(pair.degradation, pair.son, size_of(pair.father)) - pair.father).abs() * pair.weight).mean()
        for pair in pairs
    ]
    return torch.stack(errors).mean().item()

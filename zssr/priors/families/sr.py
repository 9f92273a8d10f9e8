"""Enlarging of pictures that were made smaller by bicubic interpolation."""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from zssr.priors.families.levels import Residual, quieten
from zssr.resample import resize, size_of

RGB = 3


class Enlarger(nn.Module):
    """One network for each factor of 2, 3 and 4, which works at the small picture's size.

    After EDSR (Lim et al., CVPR workshops 2017), with narrow features and wider blocks as in WDSR (Yu et al., 2018),
    over the picture that bicubic interpolation makes.
    """

    FACTORS = (2, 3, 4)

    def __init__(self, width: int = 48, inner: int = 48, blocks: int = 14) -> None:
        super().__init__()
        self.factors = nn.ModuleDict({str(factor): _OneFactor(factor, width, inner, blocks) for factor in self.FACTORS})

    def forward(self, small: Tensor, factor: Tensor | int) -> Tensor:
        """(N, 3, h, w) in [0, 1] and the factor, the same for all, to (N, 3, factor * h, factor * w), not clipped."""
        number = factor if isinstance(factor, int) else int(factor.reshape(-1)[0].item())
        return self.factors[str(number)](small)

    def begin(self, factor: int, like: int) -> None:
        """Give the network of one factor the weights of another's, but for the last layer, which makes the pixels."""
        other = self.factors[str(like)].state_dict()
        own = {name: value for name, value in other.items() if not name.startswith("tail.")}
        self.factors[str(factor)].load_state_dict(own, strict=False)


class _OneFactor(nn.Module):
    def __init__(self, factor: int, width: int, inner: int, blocks: int) -> None:
        super().__init__()
        self.factor = factor
        self.head = nn.Conv2d(RGB, width, 3, padding=1)
        self.blocks = nn.ModuleList(Residual(width, inner) for _ in range(blocks))
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.tail = nn.Conv2d(width, RGB * factor**2, 3, padding=1)
        quieten(self.tail, 0.1)

    def forward(self, small: Tensor) -> Tensor:
        first = self.head(small - 0.5)
        features = first
        for block in self.blocks:
            features = features + block(features)
        change = functional.pixel_shuffle(self.tail(first + self.last(features)), self.factor)
        height, width = size_of(small)
        size = (height * self.factor, width * self.factor)
        with torch.autocast(small.device.type, enabled=False):  # what is nearly the result keeps all its digits
            return resize(small, (Fraction(self.factor),) * 2, size) + change

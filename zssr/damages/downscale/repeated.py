"""Pixel art, whose pixels are squares of one colour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zssr.damages.downscale.kernel import Kernel
from zssr.damages.downscale.operator import Downscale
from zssr.resample import Scale, Size


@dataclass(frozen=True)
class Repeated(Downscale):
    """Downscaling of a picture of such squares: each pixel has the colour of its square's middle.

    It is repeated to undo that, so that there is no colour in the larger picture that is not in the smaller one.
    """

    kernel: Kernel = "box"

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        size = self.out_size((x.shape[-2], x.shape[-1]))
        return _picked(x, (1 / self.scale[0], 1 / self.scale[1]), size)

    def base(self, y: Tensor, size: Size) -> Tensor:
        return self.plain(y, size)

    def plain(self, y: Tensor, size: Size) -> Tensor:
        """Each pixel repeated; at broken factors, some once more than others."""
        return _picked(y, self.scale, size)

    def project(self, x: Tensor, y: Tensor, steps: int = 0, tolerance: float = 0.0) -> Tensor:
        """x, as no colour may be new."""
        return x

    def rescaled(self, scale: Scale) -> Repeated:
        return Repeated(scale)

    def describe(self) -> str:
        return f"{super().describe()}, of pixel art"


def _picked(x: Tensor, scale: Scale, size: Size) -> Tensor:
    """Of x (..., h, w) the pixels that the middles of those of a picture of `size` lie in. scale: x's size over its."""
    for dimension, step, length in ((-2, scale[0], size[0]), (-1, scale[1], size[1])):
        # By whole numbers, as halves must not depend on rounding.
        numbers = [
            min((2 * new + 1) * step.numerator // (2 * step.denominator), x.shape[dimension] - 1)
            for new in range(length)
        ]
        x = x.index_select(dimension, torch.tensor(numbers, device=x.device))
    return x

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
    """Downscaling of a picture of such squares: each pixel is the mean of its square, and is repeated to undo it.

    There is no colour in the larger picture that is not in the smaller one, and at whole factors they agree exactly.
    """

    kernel: Kernel = "box"

    def base(self, y: Tensor, size: Size) -> Tensor:
        return self.plain(y, size)

    def plain(self, y: Tensor, size: Size) -> Tensor:
        """Each pixel repeated; at broken factors, some once more than others."""
        for dimension, scale, length in ((-2, self.scale[0], size[0]), (-1, self.scale[1], size[1])):
            # The middle of each new pixel lies in an old one; by whole numbers, as halves must not depend on rounding.
            numbers = [
                min((2 * new + 1) * scale.numerator // (2 * scale.denominator), y.shape[dimension] - 1)
                for new in range(length)
            ]
            y = y.index_select(dimension, torch.tensor(numbers, device=y.device))
        return y

    def project(self, x: Tensor, y: Tensor, steps: int = 0, tolerance: float = 0.0) -> Tensor:
        """x, as no colour may be new."""
        return x

    def rescaled(self, scale: Scale) -> Repeated:
        return Repeated(scale)

    def describe(self) -> str:
        return f"{super().describe()}, of pixel art"

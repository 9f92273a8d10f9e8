"""Damages that leave nothing but a smaller picture, such as a mosaic over all of it: then that one is enlarged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch.nn.functional as functional
from torch import Tensor

from zssr.resample import Scale, Size

if TYPE_CHECKING:
    from zssr.image import Image


@dataclass(frozen=True)
class Frame:
    """The part of a result that is the picture, where the smaller picture's pixels reach out of it.

    top, left: its corner in the result. size: (height, width). lost: what the damage that left the smaller picture took
    for good; see Degradation.lost.
    """

    top: int
    left: int
    size: Size
    lost: str

    def cut(self, x: Tensor) -> Tensor:
        """(..., H, W) to (..., *size)."""
        return x[..., self.top : self.top + self.size[0], self.left : self.left + self.size[1]]

    def filled(self, x: Tensor, size: Size) -> Tensor:
        """(C, *self.size) to (C, *size), the whole result's: a cell that the frame cuts has its colour outside too."""
        bottom, right = size[0] - self.top - self.size[0], size[1] - self.left - self.size[1]
        return functional.pad(x, (self.left, right, self.top, bottom), mode="replicate")


@dataclass(frozen=True)
class SmallerPicture:
    """image: one pixel a cell. size: (height, width) of the picture it stands for, in whose place it is restored.

    cell: (height, width) in pixels. margins: (rows, columns) by which the first cells reach out of the picture at the
    top left. kernel: by name, what a cell shows of its pixels; None for a picture as any other, whose kernel and
    damages can be read from it. words: the damage, for people. lost: see Degradation.lost.
    """

    image: Image
    size: Size
    cell: Scale
    margins: tuple[int, int]
    kernel: str | None
    words: str
    lost: str

    def enlarged(self, out_size: Size) -> tuple[Size, Frame]:
        """(height, width) that the small picture is enlarged to for a result of `out_size`, and the result's place."""
        factors = [Fraction(new, old) for new, old in zip(out_size, self.size, strict=True)]
        top, left = (int(margin * factor) for margin, factor in zip(self.margins, factors, strict=True))
        height, width = (
            math.ceil(count * (side * factor))
            for count, side, factor in zip(self.image.size, self.cell, factors, strict=True)
        )
        return (height, width), Frame(top, left, out_size, self.lost)

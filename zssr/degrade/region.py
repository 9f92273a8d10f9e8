"""The part of a picture that a local damage covers."""

from __future__ import annotations

import base64
import functools
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zssr.resample import Size

# Size of hints that tell a place. Large ones drown the picture in the network's first layer, which then hardly learns.
PLACE = 0.1
# The moves of image.dihedral that a region may take: turned by right angles, scratches lie as none in training do.
FLIPS = frozenset({0, 2, 4, 6})


@dataclass(frozen=True, eq=False)
class Region:
    """A set of pixels. pixels: (1, 1, H, W) bool."""

    pixels: Tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Region) and torch.equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        return hash((self.size, int(self.pixels.sum())))

    @property
    def size(self) -> Size:
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @classmethod
    def rectangle(cls, size: Size, top: int, left: int, height: int, width: int) -> Region:
        pixels = torch.zeros(1, 1, *size, dtype=torch.bool)
        pixels[..., top : top + height, left : left + width] = True
        return cls(pixels)

    @functools.cached_property
    def _places(self) -> Tensor:
        return self.pixels[0, 0].nonzero()

    def window(
        self, size: Size, rng: torch.Generator, cell: tuple[int, int] = (1, 1), phase: tuple[int, int] = (0, 0)
    ) -> tuple[Region, int, int]:
        """A random piece of `size` that holds some of the region, and where its corner lies; nothing is outside.

        The corner lies on a grid of `cell`s that starts at `phase`, unless the piece is hardly larger than a cell.
        """
        first, down, across = torch.rand(3, generator=rng, dtype=torch.float32).tolist()
        row, column = self._places[int(first * len(self._places))].tolist()
        corner = []
        for place, share, length, whole in zip((row, column), (down, across), size, self.size, strict=True):
            start = place - int(share * length)
            # Inside the picture where it is large enough, as regions are seen there.
            corner.append(max(min(start, whole - length), 0) if whole >= length else start)
        top, left = (
            start - (start - first) % side if length >= 2 * side else start
            for start, first, side, length in zip(corner, phase, cell, size, strict=True)
        )
        piece = torch.zeros(1, 1, *size, dtype=torch.bool)
        inner = self.pixels[..., max(top, 0) : max(top + size[0], 0), max(left, 0) : max(left + size[1], 0)]
        piece[..., max(-top, 0) : max(-top, 0) + inner.shape[-2], max(-left, 0) : max(-left, 0) + inner.shape[-1]] = (
            inner
        )
        return Region(piece), top, left

    def to_json(self) -> dict[str, Any]:
        packed = zlib.compress(np.packbits(self.pixels.numpy()).tobytes(), 9)
        return {"size": list(self.size), "bits": base64.b64encode(packed).decode()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Region:
        height, width = data["size"]
        bits = np.frombuffer(zlib.decompress(base64.b64decode(data["bits"])), np.uint8)
        return cls(torch.from_numpy(np.unpackbits(bits, count=height * width)).bool().reshape(1, 1, height, width))

"""The part of a picture that a local damage covers."""

from __future__ import annotations

import base64
import functools
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zssr import files
from zssr.dihedral import dihedral
from zssr.errors import PictureError, SettingsError
from zssr.resample import Size
from zssr.settings import Area

# Size of hints that tell a place. Large ones drown the picture in the network's first layer, which then hardly learns.
POSITION_GAIN = 0.1


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

    def transformed(self, transform: int) -> Region:
        """Of a picture that was flipped or rotated; see dihedral.py."""
        return Region(dihedral(self.pixels, transform))

    def overlaps(self, other: Region) -> bool:
        """Whether any pixel is in both."""
        return bool((self.pixels & other.pixels).any())

    def hint(self, y: Tensor) -> Tensor:
        """(N, 1, H, W): the region as a conditioning channel for pictures y (N, any, any, any)."""
        return (self.pixels.to(y) * POSITION_GAIN).expand(len(y), -1, -1, -1)

    def inside(self, x: Tensor, y: Tensor) -> Tensor:
        """x in the region, y around it."""
        return torch.where(self.pixels.to(x.device), x, y)

    def to_json(self) -> dict[str, Any]:
        packed = zlib.compress(np.packbits(self.pixels.numpy()).tobytes(), 9)
        return {"size": list(self.size), "bits": base64.b64encode(packed).decode()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Region:
        height, width = data["size"]
        bits = np.frombuffer(zlib.decompress(base64.b64decode(data["bits"])), np.uint8)
        return cls(torch.from_numpy(np.unpackbits(bits, count=height * width)).bool().reshape(1, 1, height, width))


def region_of_mask(path: str, size: Size) -> Region:
    """The white part of a picture. Raises SettingsError unless it has this size and is neither empty nor full."""
    try:
        mask = files.load(path)
    except PictureError as error:
        raise SettingsError(f"mask {error}") from None
    if mask.size != size:
        raise SettingsError(
            f"mask {path}: is {mask.size[1]}x{mask.size[0]} and the picture {size[1]}x{size[0]}; make them the same"
        )
    white = mask.pixels.mean(0) >= 0.5
    if not white.any():
        raise SettingsError(f"mask {path}: nothing in it is white, so nothing is missing")
    if white.all():
        raise SettingsError(f"mask {path}: all of it is white; nothing would be left to learn from")
    return Region(white[None, None])


def region_of_area(name: str, area: Area, size: Size) -> Region:
    """The pixels of an area of the setting `name`. Raises SettingsError where it reaches outside the picture."""
    if area.file is not None:
        if not Path(area.file).exists():
            raise SettingsError(f"{name} '{area.file}': is neither X,Y,WIDTH,HEIGHT in pixels nor a file with a mask")
        return region_of_mask(area.file, size)
    if area.rectangle is None:
        return Region.rectangle(size, 0, 0, *size)
    left, top, width, height = area.rectangle
    if width == 0 or height == 0:
        raise SettingsError(f"{name} {left},{top},{width},{height}: the area is empty")
    if left + width > size[1] or top + height > size[0]:
        raise SettingsError(f"{name} {left},{top},{width},{height}: reaches outside the picture ({size[1]}x{size[0]})")
    return Region.rectangle(size, top, left, height, width)


SQUARE_SIDE = 128  # pixels


def random_square(size: Size, rng: torch.Generator) -> tuple[Region, int, int, int]:
    """One somewhere in a picture, and its top, left and side."""
    side = min(SQUARE_SIDE, *size)
    top, left = (int(torch.randint(length - side + 1, (1,), generator=rng)) for length in size)
    return Region.rectangle(size, top, left, side, side), top, left, side

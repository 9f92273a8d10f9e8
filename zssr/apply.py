"""Applying the network to a whole picture: reflect-padded tiles and the geometric self-ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zssr.device import Compute, is_out_of_memory
from zssr.dihedral import dihedral, dihedral_inverse
from zssr.errors import DeviceError
from zssr.network import UNSHUFFLE, Network
from zssr.resample import Size, extended, mirrored, size_of

SMALLEST_TILE = 32


@dataclass(frozen=True)
class Seen:
    """What the network is shown of a whole picture.

    base: (1, C, H, W), the first estimate. hints: (1, K, H, W). mask: (1, 1, H, W) bool, the pixels that are to be
    restored; None for all. grid_offset: (rows, columns) at the top left that are no part of the picture; they put the
    damage's grid on the corner, where the network learned it.
    """

    base: Tensor
    hints: Tensor
    mask: Tensor | None = None
    grid_offset: tuple[int, int] = (0, 0)

    @classmethod
    def from_the_grid_on(cls, base: Tensor, hints: Tensor, mask: Tensor | None, grid_offset: tuple[int, int]) -> Seen:
        """Of a picture's base, hints and mask, which are extended to begin where the grid does."""
        if grid_offset != (0, 0):
            rows, columns = (grid_offset[0], 0), (grid_offset[1], 0)
            base, hints = (extended(x, rows, columns) for x in (base, hints))
            mask = None if mask is None else extended(mask, rows, columns)
        return cls(base, hints, mask, grid_offset)

    def cut(self, x: Tensor) -> Tensor:
        """The picture's part of (..., H, W)."""
        return x[..., self.grid_offset[0] :, self.grid_offset[1] :]


@dataclass(frozen=True)
class Applied:
    """pixels: (1, C, H, W) in [0, 1]. spread: (1, 1, H, W), the standard deviation of the results that were joined,
    mean over channels; None where there was one only, or it was not asked for."""

    pixels: Tensor
    spread: Tensor | None


def apply(
    network: Network,
    seen: Seen,
    tile: int,
    transforms: frozenset[int],
    compute: Compute,
    on_tile: Callable[[int, int], None] | None = None,
    wants_spread: bool = False,
) -> Applied:
    """The network's result on a picture of any size, in tiles that do not show; it lies where the base lies.

    tile: side of the tiles in pixels, without the halo, which is as wide as the network sees. transforms: the flips and
    rotations whose results are joined by their median (Timofte et al., 2016). on_tile: called with (done, all).
    Tiles without any pixel that is to be restored are left as the base.
    Raises DeviceError when memory does not suffice for the smallest tile.
    """
    pixels = torch.empty_like(seen.base)
    spread = torch.zeros_like(pixels[:, :1]) if wants_spread and len(transforms) > 1 else None
    tile = max(UNSHUFFLE, tile // UNSHUFFLE * UNSHUFFLE)
    with torch.inference_mode():
        while not _applied(network, seen, tile, transforms, compute, on_tile, pixels, spread):
            if tile <= SMALLEST_TILE:
                raise DeviceError(f"{compute.device}: too little memory even for a {tile}x{tile} tile")
            tile = max(SMALLEST_TILE, tile // (2 * UNSHUFFLE) * UNSHUFFLE)
    pixels = seen.cut(pixels)
    if spread is not None:
        if seen.mask is not None:  # elsewhere the input's own pixels are kept
            spread.mul_(seen.mask.to(spread))
        spread = seen.cut(spread)
    return Applied(pixels, spread)


def _applied(
    network: Network, seen: Seen, tile: int, transforms: frozenset[int], compute: Compute,
    on_tile: Callable[[int, int], None] | None, pixels: Tensor, spread: Tensor | None,
) -> bool:  # fmt: skip
    """Fill pixels and spread, tile by tile; False where the memory does not suffice."""
    height, width = size_of(seen.base)
    halo = math.ceil(network.receptive_radius / UNSHUFFLE) * UNSHUFFLE
    tiles = list(_tiles(height, width, tile))
    for done, (top, left) in enumerate(tiles, start=1):
        bottom, right = min(top + tile, height), min(left + tile, width)
        place = (..., slice(top, bottom), slice(left, right))
        if seen.mask is not None and not seen.mask[place].any():
            pixels[place] = seen.base[place]
            continue
        try:
            network_input = torch.cat(
                [_padded(x, (top, bottom), (left, right), halo).to(compute.device) for x in (seen.base, seen.hints)], 1
            )
            with compute.autocast():
                results = _ensemble(network, network_input, transforms)
            inner = results[..., halo : halo + bottom - top, halo : halo + right - left]
            pixels[place] = _joined(inner).clamp(0, 1).to(pixels.device)
            if spread is not None:
                spread[place] = inner.std(0, correction=0).mean(1, keepdim=True).to(spread.device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        if on_tile is not None:
            on_tile(done, len(tiles))
    return True


def padded_pixels(size: Size, tile: int, halo: int, mask: Tensor | None = None) -> int:
    """Pixels that the network sees in one pass over a picture of `size`, halos included; see Seen for the mask."""
    return sum(
        (min(tile, size[0] - top) + 2 * halo) * (min(tile, size[1] - left) + 2 * halo)
        for top, left in _tiles(*size, tile)
        if mask is None or mask[..., top : top + tile, left : left + tile].any()
    )


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[int, int]]:
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield top, left


def _padded(x: Tensor, rows: tuple[int, int], columns: tuple[int, int], halo: int) -> Tensor:
    """A part of the picture with its halo, mirrored at the picture's borders, its sides multiples of UNSHUFFLE."""
    for dimension, (first, last) in ((-2, rows), (-1, columns)):
        last += -(last - first) % UNSHUFFLE
        index = torch.arange(first - halo, last + halo, device=x.device)
        x = x.index_select(dimension, mirrored(index, x.shape[dimension]))
    return x


def _ensemble(network: Network, network_input: Tensor, transforms: frozenset[int]) -> Tensor:
    """(transforms, 1, C, H, W): the result of each flip or rotation, turned back."""
    return torch.stack(
        [
            dihedral_inverse(network(dihedral(network_input, transform)).float(), transform)
            for transform in sorted(transforms)
        ]
    )


def _joined(results: Tensor) -> Tensor:
    if len(results) == 1:
        return results[0]
    ordered = results.sort(0).values
    middle = len(results) // 2  # the median of an even number is the mean of the two in the middle
    return ordered[middle] if len(results) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

"""Applying networks to whole pictures, in tiles that do not show: that of one picture, with the geometric
self-ensemble; and any other, see `tiled`."""

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
    halo = halo_for(network.receptive_radius)
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


def halo_for(receptive_radius: int) -> int:
    """Pixels around a tile that are seen and thrown away, so that its border does not show."""
    return math.ceil(receptive_radius / UNSHUFFLE) * UNSHUFFLE


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


def tiled(
    run: Callable[[Tensor], Tensor], x: Tensor, tile: int, halo: int, scale: int = 1, mask: Tensor | None = None
) -> Tensor:
    """run over (N, C, H, W), in tiles of a side of `tile` that see `halo` pixels more where the picture goes on.

    run: (N, C, h, w) to (N, any, h * scale, w * scale). mask: (1, 1, H, W) bool; tiles without any pixel of it are
    left zero.
    """
    height, width = x.shape[-2:]
    out = x.new_zeros(0)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            if mask is not None and not mask[..., top:bottom, left:right].any():
                continue
            first, start = max(top - halo, 0), max(left - halo, 0)
            done = run(x[..., first : bottom + halo, start : right + halo]).float()
            if not out.numel():
                out = x.new_zeros(*done.shape[:2], height * scale, width * scale)
            out[..., top * scale : bottom * scale, left * scale : right * scale] = done[
                ...,
                (top - first) * scale : (bottom - first) * scale,
                (left - start) * scale : (right - start) * scale,
            ]
    return out

"""Applying the network to a whole picture: reflect-padded tiles and the geometric self-ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zssr.device import computing, is_out_of_memory
from zssr.errors import DeviceError
from zssr.image import dihedral, dihedral_inverse
from zssr.network import FOLD, Network
from zssr.resample import mirrored

SMALLEST_TILE = 32


def apply(
    network: Network,
    base: Tensor,
    tile: int,
    moves: frozenset[int],
    device: torch.device,
    precision: torch.dtype,
    on_tile: Callable[[int, int], None] | None = None,
    hints: Tensor | None = None,
    wanted: Tensor | None = None,
    spread: Tensor | None = None,
) -> Tensor:
    """The network's result on a picture of any size, in tiles that do not show.

    base: (1, C, H, W) and hints (1, K, H, W), on any device; the result lies where the base lies, in [0, 1].
    tile: side of the tiles in pixels, without the halo, which is as wide as the network sees. moves: the flips and
    rotations whose results are joined by their median (Timofte et al., 2016). on_tile: called with (done, all).
    wanted: (1, 1, H, W) bool; tiles without any wanted pixel are left as the base.
    spread: (1, 1, H, W), written: the standard deviation of the results before they are joined, mean over channels.
    Raises DeviceError when memory does not suffice for the smallest tile.
    """
    out = torch.empty_like(base)
    height, width = base.shape[-2:]
    tile = max(FOLD, tile // FOLD * FOLD)
    halo = math.ceil(network.reach / FOLD) * FOLD
    done = 0
    with torch.inference_mode():
        while True:
            tiles = list(_tiles(height, width, tile))
            try:
                for number, (top, left) in enumerate(tiles):
                    if number < done:
                        continue
                    bottom, right = min(top + tile, height), min(left + tile, width)
                    if wanted is not None and not wanted[..., top:bottom, left:right].any():
                        out[..., top:bottom, left:right] = base[..., top:bottom, left:right]
                        done = number + 1
                        continue
                    piece = _padded(base, (top, bottom), (left, right), halo).to(device)
                    if hints is not None:
                        more = _padded(hints, (top, bottom), (left, right), halo).to(device)
                        piece = torch.cat([piece, more], 1)
                    with computing(device, precision):
                        results = _ensemble(network, piece, moves)
                    inner = results[..., halo : halo + bottom - top, halo : halo + right - left]
                    out[..., top:bottom, left:right] = _joined(inner).clamp(0, 1).to(out.device)
                    if spread is not None:
                        deviation = inner.std(0, correction=0).mean(1, keepdim=True)
                        spread[..., top:bottom, left:right] = deviation.to(spread.device)
                    done = number + 1
                    if on_tile is not None:
                        on_tile(done, len(tiles))
                return out
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if tile <= SMALLEST_TILE:
                    raise DeviceError(f"{device}: too little memory even for a {tile}x{tile} tile") from None
            tile = max(SMALLEST_TILE, tile // (2 * FOLD) * FOLD)
            done = 0


def padded_pixels(size: tuple[int, int], tile: int, reach: int, wanted: Tensor | None = None) -> int:
    """Pixels that the network sees in one pass over a picture of `size`, halos included; see `apply` for `wanted`."""
    return sum(
        (min(tile, size[0] - top) + 2 * reach) * (min(tile, size[1] - left) + 2 * reach)
        for top, left in _tiles(*size, tile)
        if wanted is None or wanted[..., top : top + tile, left : left + tile].any()
    )


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[int, int]]:
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield top, left


def _padded(base: Tensor, rows: tuple[int, int], columns: tuple[int, int], halo: int) -> Tensor:
    """A part of the picture with its halo, mirrored at the picture's borders, its sides multiples of FOLD."""
    for dimension, (first, last) in ((-2, rows), (-1, columns)):
        last += -(last - first) % FOLD
        index = torch.arange(first - halo, last + halo, device=base.device)
        base = base.index_select(dimension, mirrored(index, base.shape[dimension]))
    return base


def _ensemble(network: Network, piece: Tensor, moves: frozenset[int]) -> Tensor:
    """(moves, 1, C, H, W): the result of each flip or rotation, turned back."""
    return torch.stack([dihedral_inverse(network(dihedral(piece, move)).float(), move) for move in sorted(moves)])


def _joined(results: Tensor) -> Tensor:
    if len(results) == 1:
        return results[0]
    ordered = results.sort(0).values
    middle = len(results) // 2  # the median of an even number is the mean of the two in the middle
    return ordered[middle] if len(results) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

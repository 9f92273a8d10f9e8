"""Shrinking in the sliding DCT: every 8x8 window is transformed, its small coefficients are lowered, and the
overlapping results are joined.

After Coifman and Donoho (1995) for the translation-invariant transform, Guleryuz (2007) for weights by sparsity,
and the two stages of BM3D (Dabov et al. 2007): a hard threshold, then a Wiener filter that takes the first
result for the truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.resample import mirrored, resize

DCT_SIDE = 8
LEVELS = 2  # of `multiscale`
# Pixels of a strip: its coefficients, 64 times as many numbers, are in memory at once.
STRIP = 1 << 17


@functools.lru_cache(maxsize=8)
def dct_matrix(device: torch.device | None = None) -> Tensor:
    """(8, 8) orthonormal DCT-II: row u holds the cosine of frequency u."""
    u, x = torch.arange(DCT_SIDE, dtype=torch.float64)[:, None], torch.arange(DCT_SIDE, dtype=torch.float64)
    matrix = torch.cos((2 * x + 1) * u * math.pi / (2 * DCT_SIDE)) * math.sqrt(2 / DCT_SIDE)
    matrix[0] /= math.sqrt(2)
    return matrix.float().to(device)


@functools.lru_cache(maxsize=8)
def _filters(device: torch.device) -> Tensor:
    """(64, 1, 8, 8): the windows' basis pictures, in row-major order of (vertical, horizontal) frequency."""
    matrix = dct_matrix(device)
    return torch.einsum("ux,vy->uvxy", matrix, matrix).reshape(DCT_SIDE**2, 1, DCT_SIDE, DCT_SIDE)


# Gets the coefficients (N, 64, h, w) of each picture; gives the coefficients kept and the weight (N, 1, h, w) of
# each window.
Shrink = Callable[..., tuple[Tensor, Tensor]]


def sliding(pictures: Sequence[Tensor], shrink: Shrink) -> Tensor:
    """(N, 1, H, W), joined from all windows of the pictures, each (N, 1, H, W), after `shrink`."""
    height, width = pictures[0].shape[-2:]
    device = pictures[0].device
    filters = _filters(device)
    reach = DCT_SIDE - 1
    columns = mirrored(torch.arange(-reach, width + reach, device=device), width)
    rows = max(DCT_SIDE, STRIP // (width * len(pictures[0])))
    strips = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        index = mirrored(torch.arange(top - reach, bottom + reach, device=device), height)
        coefficients = [
            functional.conv2d(picture.index_select(-2, index).index_select(-1, columns), filters)
            for picture in pictures
        ]
        kept, weight = shrink(*coefficients)
        total = _overlapped(kept.mul_(weight), filters)
        total /= functional.avg_pool2d(functional.pad(weight, [reach] * 4), DCT_SIDE, 1).mul_(DCT_SIDE**2)
        strips.append(total[..., reach:-reach, reach:-reach])
    return strips[0] if len(strips) == 1 else torch.cat(strips, -2)


def _overlapped(coefficients: Tensor, filters: Tensor) -> Tensor:
    """The sum of all windows; several times faster than the transposed convolution that it is."""
    height, width = (length + DCT_SIDE - 1 for length in coefficients.shape[-2:])
    windows = filters.reshape(DCT_SIDE**2, DCT_SIDE**2).T @ coefficients.flatten(2)
    return functional.fold(windows, (height, width), DCT_SIDE)


def thresholded(picture: Tensor, threshold: Tensor) -> Tensor:
    """Coefficients under `threshold` (64,) set to zero, the mean kept; windows with few left count most."""
    threshold = threshold.reshape(1, -1, 1, 1).to(picture)

    def shrink(coefficients: Tensor) -> tuple[Tensor, Tensor]:
        large = coefficients.abs() > threshold
        large[:, 0] = True
        return coefficients.mul_(large), 1 / large.sum(1, keepdim=True).add(1)

    return sliding([picture], shrink)


def wiener(picture: Tensor, pilot: Tensor, variance: Tensor) -> Tensor:
    """Each coefficient times p^2 / (p^2 + variance), p that of the pilot; variance (64,)."""
    variance = variance.reshape(1, -1, 1, 1).to(picture)

    def shrink(coefficients: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
        power = guess.square_()
        gain = power / (power + variance)
        gain[:, 0] = 1
        return coefficients.mul_(gain), 1 / gain.square_().mul_(variance).sum(1, keepdim=True).clamp(min=1e-12)

    return sliding([picture, pilot], shrink)


def multiscale(x: Tensor, filtered: Callable[[Tensor, int], Tensor], level: int = 0) -> Tensor:
    """`filtered` with low frequencies from halves of the size, where windows see twice as far and noise is half as
    strong: else an 8x8 window's mean keeps its noise, which shows as blotches.

    x: (N, C, H, W). filtered: takes such a picture, and how many times it was halved, up to LEVELS. After Facciolo,
    Pierazzo and Morel (2017), who join the scales in the DCT of the whole picture.
    """
    result = filtered(x, level)
    height, width = (length // 2 * 2 for length in x.shape[-2:])
    if level == LEVELS or min(height, width) < 4 * DCT_SIDE:
        return result

    def half(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x[..., :height, :width], 2)

    change = multiscale(half(x), filtered, level + 1) - half(result)
    # Only what is well below the half size's finest detail.
    smooth = functional.avg_pool2d(functional.pad(change, [2] * 4, mode="replicate"), 3, 1)
    smooth = functional.avg_pool2d(smooth, 3, 1)
    return result + resize(smooth, (Fraction(2), Fraction(2)), (x.shape[-2], x.shape[-1]))

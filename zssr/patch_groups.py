"""Noise filtered in groups of like patches, wherever they are in the picture.

After BM3D (Dabov, Foi, Katkovnik, Egiazarian, TIP 2007): patches that look alike are stacked, and the stack is
transformed as one, so that what they share is told from the noise, which they do not share. First small coefficients
are set to zero, then a Wiener filter takes that result for the truth. BM3D compares noisy patches; here they are those
of a first estimate, which finds more alike, and which steadies the filter.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.dct_shrinkage import DCT_SIDE, dct_matrix
from zssr.resample import extended

STEP = 4  # pixels between the patches that groups are made for; half a patch
REACH = 16  # pixels to each side where like patches are looked for
GROUP = 32  # patches
BAND = 64  # rows of pixels whose groups are made at once
CHUNK = 1 << 11  # groups that are filtered at once
THRESHOLD = 2.7  # standard deviations, as BM3D's
# How much of the pilot of the Wiener filter is the first estimate. Like the numbers above, from photographs of the
# training set; what is between them matters little.
STEADY = 0.5


def collaborative(picture: Tensor, pilot: Tensor, variance: Tensor) -> Tensor:
    """(1, C, H, W) without its noise.

    pilot: a first estimate of the same shape, in whose first channel patches are compared. variance: (C, 64), that of
    the noise in each DCT coefficient of an 8x8 patch.
    """
    # Whole steps in both directions, with something around every patch.
    margins = [(0, -length % STEP + STEP * (length < DCT_SIDE)) for length in picture.shape[-2:]]
    noisy, first = (extended(x, margins[0], margins[1]) for x in (picture, pilot))
    sums = [torch.zeros_like(noisy) for _ in range(4)]
    bands = _bands(noisy.shape[-2])
    members = [_like_patches(first[:, :1], rows) for rows in bands]
    kept, weights, _, _ = sums
    for rows, alike in zip(bands, members, strict=True):
        _add(kept, weights, noisy, None, variance, rows, alike)
    steadied = first.lerp(kept / weights, 1 - STEADY)
    _, _, kept, weights = sums
    for rows, alike in zip(bands, members, strict=True):
        _add(kept, weights, noisy, steadied, variance, rows, alike)
    return (kept / weights)[..., : picture.shape[-2], : picture.shape[-1]]


def _bands(height: int) -> list[tuple[int, int]]:
    """The rows of patches in each band, from the first to the last + STEP."""
    last = height - DCT_SIDE + STEP
    return [(top, min(top + BAND, last)) for top in range(0, last, BAND)]


def _reach(rows: tuple[int, int], height: int) -> tuple[int, int]:
    """The rows of pixels where a band's patches are looked for."""
    return max(0, rows[0] - REACH), min(height, rows[1] - STEP + DCT_SIDE + REACH)


def _like_patches(guide: Tensor, rows: tuple[int, int]) -> Tensor:
    """(GROUP, patches of a band) numbers, in the part of `_reach`, of those most like each patch; itself among them."""
    height, width = guide.shape[-2:]
    top, _ = _reach(rows, height)
    begin, end = rows[0], rows[1] - STEP + DCT_SIDE
    here = guide[0, 0, begin:end]
    around = functional.pad(guide[0, 0], [REACH] * 4, value=float("inf"))
    distances = []
    for down in range(2 * REACH + 1):
        # All shifts to the side at once: (2 * REACH + 1, rows, columns).
        moved = around[begin + down : end + down].unfold(1, width, 1).transpose(0, 1)
        squares = functional.avg_pool2d((moved - here).square_(), STEP)
        distances.append(functional.avg_pool2d(squares, DCT_SIDE // STEP, 1))
        if down == REACH:
            distances[-1][REACH] = -1  # itself always: of many that are quite alike, any might be taken
    shape = distances[0].shape
    nearest = torch.cat(distances).flatten(1).topk(GROUP, 0, largest=False)
    columns = width - DCT_SIDE + 1
    one = torch.arange(-REACH, REACH + 1, device=guide.device)
    shifts = (one[:, None] * columns + one).flatten()[nearest.indices]
    own = torch.arange(shape[1], device=guide.device)[:, None] * STEP + begin - top
    own = own * columns + torch.arange(shape[2], device=guide.device) * STEP
    return own.flatten() + shifts.where(nearest.values.isfinite(), 0)  # in a tiny picture, itself again


def _add(
    kept: Tensor, weights: Tensor, picture: Tensor, pilot: Tensor | None, variance: Tensor, rows: tuple[int, int],
    members: Tensor,
) -> None:  # fmt: skip
    """The filtered patches of a band's groups to `kept`, and what they count to `weights`. pilot: of the Wiener filter;
    None: small coefficients are set to zero."""
    top, bottom = _reach(rows, picture.shape[-2])
    size = (bottom - top, picture.shape[-1])
    for channel, noise in enumerate(variance.to(picture)):
        noisy = _coefficients(picture[0, channel, top:bottom])
        clean = None if pilot is None else _coefficients(pilot[0, channel, top:bottom])
        added, counted = torch.zeros_like(noisy), noisy.new_zeros(len(noisy))
        for some in members.split(CHUNK, 1):
            groups = _along(noisy[some])
            if clean is None:
                gain = (groups.abs() > THRESHOLD * noise.sqrt()).to(groups)
                gain[0, :, 0] = 1  # the mean
            else:
                power = _along(clean[some]).square_()
                gain = power / (power + noise)
            groups = _along(groups.mul_(gain), inverse=True)
            # The less noise a group has left, the more it counts.
            weight = 1 / gain.square_().mul_(noise).sum((0, 2)).clamp(min=1e-12)
            added.index_add_(0, some.flatten(), groups.mul_(weight[:, None]).flatten(0, 1))
            counted.index_add_(0, some.flatten(), weight.repeat(len(some)))
        matrix = dct_matrix(added.device)
        pixels = (matrix.T @ added.view(-1, DCT_SIDE, DCT_SIDE) @ matrix).flatten(1)
        kept[0, channel, top:bottom] += functional.fold(pixels.T[None], size, DCT_SIDE)[0, 0]
        everywhere = counted.view(size[0] - DCT_SIDE + 1, -1)[None]
        around = functional.pad(everywhere, [DCT_SIDE - 1] * 4)
        weights[0, channel, top:bottom] += functional.avg_pool2d(around, DCT_SIDE, 1)[0] * DCT_SIDE**2


def _coefficients(plane: Tensor) -> Tensor:
    """(patches, 64): of the patch at every pixel."""
    matrix = dct_matrix(plane.device)
    patches = plane.unfold(0, DCT_SIDE, 1).unfold(1, DCT_SIDE, 1)
    return (matrix @ patches @ matrix.T).flatten(2).flatten(0, 1)


def _along(groups: Tensor, inverse: bool = False) -> Tensor:
    """(group, patches, 64) transformed along the group."""
    matrix = _haar(len(groups), groups.device)
    return ((matrix.T if inverse else matrix) @ groups.flatten(1)).view(groups.shape)


@functools.lru_cache(maxsize=8)
def _haar(group: int, device: torch.device) -> Tensor:
    """(group, group) orthonormal, its first row the mean; group: a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < group:
        averages = torch.kron(matrix, torch.tensor([[1.0, 1.0]]))
        differences = torch.kron(torch.eye(len(matrix)), torch.tensor([[1.0, -1.0]]))
        matrix = torch.cat([averages, differences]) / 2**0.5
    return matrix.to(device)

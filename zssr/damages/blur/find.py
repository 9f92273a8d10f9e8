"""Finding rectangles that were blurred strongly amid sharp surroundings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Array = NDArray[np.float32]
Sums = NDArray[np.float64]

SMALLEST_SIDE = 40  # pixels
BLOCK = 8  # pixels: side of the blocks in which smoothness is first looked for
MOST_SEEDS = 24
LARGEST_CURVE = 6.0  # grey levels: stronger second differences count as this, so that single edges do not decide
# Grey levels: mean second differences that blurring and rounding to 8 bits may leave, more after a weak blur.
SMOOTH = (0.45, 0.7, 1.1, 1.7)
FLAT = 0.02  # grey levels: less is a drawn, not a blurred surface
SEGMENT = 16  # pixels: the sides are compared with their surroundings in pieces of this length
CLEAR_STEP = 1.8  # ratio of the second differences beside a side to those inside, for a piece to count
SURE_SIDE = 0.8  # the same for each of three sides, where the fourth is the edge of the picture
MARGIN = 3  # pixels compared on both sides
LEAST_SIGMA, LARGEST_SIGMA = 1.2, 24.0  # pixels
LEAST_SUPPORT = 0.65  # share of the pieces of a side that must count
PRESMOOTHING = 0.65  # of the blur that is measured: keeps rounding from deciding


@dataclass(frozen=True)
class BlurredRegion:
    """A blurred rectangle, in pixels. sigma: of the Gaussian, in pixels. confidence: 0 to 1."""

    top: int
    left: int
    height: int
    width: int
    sigma: float
    confidence: float


Box = tuple[int, int, int, int]  # top, bottom, left, right


def find_blur(pixels: Tensor) -> list[BlurredRegion]:
    """The blurred rectangles in a picture, the surest first.

    pixels: (C, H, W) in [0, 1]. What tells them from a background out of focus is that along their straight
    sides all detail ends from one row or column to the next. Rectangles without sharp surroundings are left out.
    """
    height, width = pixels.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        return []
    grey = (pixels.mean(dim=0) * 255).cpu().numpy().astype(np.float32)
    across = _curvature(grey)
    down = _curvature(grey.T).T
    found: list[tuple[Box, BlurredRegion]] = []
    sums, levels = (_sums(np.ascontiguousarray(across.T)), _sums(down)), _levels(across, down)
    candidates = [_grown(across, down, sums, seed, limit) for limit in SMOOTH for seed in _seeds(levels, limit)]
    for box in candidates:
        if box is None or any(_overlap(box, other) for other, _ in found):
            continue
        support = _support(across, down, box)
        if support >= LEAST_SUPPORT:
            top, bottom, left, right = box
            sigma = blur_sigma(grey[top:bottom, left:right])
            if sigma >= LEAST_SIGMA:
                found.append((box, BlurredRegion(top, left, bottom - top, right - left, sigma, support)))
    return sorted((region for _, region in found), key=lambda region: -region.confidence)


def _curvature(grey: Array) -> Array:
    """Absolute second differences along the rows, limited; each depends on its own row only."""
    curve = np.zeros_like(grey)
    inner = curve[:, 1:-1]
    np.subtract(grey[:, 2:], 2 * grey[:, 1:-1], out=inner)
    inner += grey[:, :-2]
    np.minimum(np.abs(inner, out=inner), LARGEST_CURVE, out=inner)
    return curve


def _levels(across: Array, down: Array) -> Array:
    """The mean second difference of each whole block."""
    rows, columns = across.shape[0] // BLOCK, across.shape[1] // BLOCK
    both = ((across + down) / 2)[: rows * BLOCK, : columns * BLOCK]
    return np.asarray(both.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)))


def _seeds(levels: Array, limit: float) -> list[Box]:
    """Squares in which nearly all blocks are smooth, the largest first."""
    smooth = ndimage.median_filter((levels < limit).astype(np.uint8), 3)
    distance = ndimage.distance_transform_cdt(np.pad(smooth, 1), "chessboard")[1:-1, 1:-1].astype(np.int64)
    seeds: list[Box] = []
    for _ in range(MOST_SEEDS):
        y, x = np.unravel_index(int(np.argmax(distance)), distance.shape)
        reach = int(distance[y, x])
        if reach < 2:
            break
        size = (reach - 1) * BLOCK
        row, column = int(y) * BLOCK, int(x) * BLOCK
        seeds.append((row - size, row + BLOCK + size, column - size, column + BLOCK + size))
        distance[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = 0
    return seeds


def _sums(curve: Array) -> Sums:
    """(rows + 1, columns): of all rows before each, so that those of any rows are a difference."""
    sums = np.zeros((curve.shape[0] + 1, curve.shape[1]))
    for row, before, after in zip(curve, sums[:-1], sums[1:], strict=True):  # faster than numpy's own by far
        np.add(before, row, out=after)
    return sums


def _grown(across: Array, down: Array, sums: tuple[Sums, Sums], seed: Box, limit: float) -> Box | None:
    """The rectangle around the seed inside which there is no detail, or None. sums: see `_sums`, of both."""
    top, bottom, left, right = seed
    for _ in range(8):
        before = (top, bottom, left, right)
        y = _extent((sums[0][right] - sums[0][left]) / (right - left), (top + bottom) // 2, limit)
        x = _extent((sums[1][y[1]] - sums[1][y[0]]) / (y[1] - y[0]), (left + right) // 2, limit)
        top, bottom, left, right = *y, *x
        if min(bottom - top, right - left) < SMALLEST_SIDE:
            return None
        if (top, bottom, left, right) == before:
            break
    inside = (across[top:bottom, left:right].mean() + down[top:bottom, left:right].mean()) / 2
    return (top, bottom, left, right) if FLAT < inside < limit else None


def _extent(means: Sums, middle: int, limit: float) -> tuple[int, int]:
    """First row and end of the rows around the middle that are smooth. means: of the second differences in each row."""
    score = 1.2 * limit - means
    up, low = np.cumsum(score[middle::-1]), np.cumsum(score[middle:])
    return middle - int(np.argmax(up)), middle + int(np.argmax(low)) + 1


def _overlap(one: Box, other: Box) -> bool:
    return min(one[1], other[1]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[2], other[2])


def _support(across: Array, down: Array, box: Box) -> float:
    """The least share, among the sides, of pieces along which detail begins right outside."""
    top, bottom, left, right = box
    sides = [
        (across[:, left:right], top, -1),
        (across[:, left:right], bottom, 1),
        (down[top:bottom].T, left, -1),
        (down[top:bottom].T, right, 1),
    ]
    shares = []
    for curve, border, direction in sides:
        if not MARGIN <= border <= len(curve) - MARGIN:
            continue  # the edge of the picture
        before, after = curve[border - MARGIN : border], curve[border : border + MARGIN]
        outside, inside = (before, after) if direction < 0 else (after, before)
        # the row right outside counts as much as the others: a background out of focus fades in slowly
        nearest = outside[-1] if direction < 0 else outside[0]
        out, near, within = (_in_pieces(rows) for rows in (outside.mean(axis=0), nearest, inside.mean(axis=0)))
        shares.append(float(np.mean(np.minimum(out, 1.5 * near) > CLEAR_STEP * (within + 0.2))))
    if len(shares) < 3 or (len(shares) == 3 and min(shares) < SURE_SIDE):
        return 0.0
    return (min(shares) + float(np.mean(shares))) / 2


def _in_pieces(values: Array) -> Sums:
    """The means of pieces of about SEGMENT values."""
    count = max(len(values) // SEGMENT, 1)
    starts = np.arange(count) * (len(values) // count) + np.minimum(np.arange(count), len(values) % count)
    return np.add.reduceat(values, starts, dtype=np.float64) / np.diff(starts, append=len(values))


def blur_sigma(grey: NDArray[np.floating]) -> float:
    """The standard deviation, in pixels, of the Gaussian that blurred this piece (H, W) of a photograph.

    Photographs have power spectra of about 1 / f^2, so behind a Gaussian of standard deviation s the mean
    squares of the gradient of the Laplacian and of the twofold Laplacian are in the ratio s^2 / 3. The piece is
    smoothed further before, by a part of s, against rounding.
    """
    picture = grey.astype(np.float64)
    above, closest, best = 0.0, 0.0, 0.0
    # Downwards, as for too small a guess rounding looks like a sharp picture.
    for guess in np.geomspace(LARGEST_SIGMA, 1.0, 20).tolist():
        measured = _measured(picture, PRESMOOTHING * guess)
        if measured >= guess:
            # between this guess, which is too small, and the last one, which was too large
            return math.sqrt(measured * (above or guess))
        above = measured
        if measured > closest * guess:
            closest, best = measured / guess, guess
    return best


def _measured(picture: NDArray[np.float64], more: float) -> float:
    """The blur, as measured after smoothing with the standard deviation `more`."""
    laplacian = ndimage.laplace(ndimage.gaussian_filter(picture, more))
    margin = max(1, min(math.ceil(2 * more) + 1, (min(picture.shape) - 12) // 2))
    inner = (slice(margin, -margin), slice(margin, -margin))
    first, second = np.gradient(laplacian, axis=0), np.gradient(laplacian, axis=1)
    slope = float((first**2 + second**2)[inner].mean())
    curve = float((ndimage.laplace(laplacian) ** 2)[inner].mean())
    return math.sqrt(max(3 * slope / max(curve, 1e-12) - more**2, 0))

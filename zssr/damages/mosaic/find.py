"""Finding pixelated rectangles: cells of constant colour on a regular grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Array = NDArray[np.float32]
Grid = tuple[int, int]  # (distance of the lines, first line), in pixels along one axis

SMALLEST_CELL, LARGEST_CELL = 3, 32
SMALLEST_SIDE = 12
LINES = 5  # a grid is first looked for in windows holding so many of its lines
STEP = 4  # pixels between the windows, which are twice as wide; more in pictures above LARGE
LARGE = 1_500_000  # pixels
MOST_PROPOSALS = 24
LEAST_STEP = 1.5  # grey levels: a gradient stored in 8 bits has steps of one level
LARGEST_STEP = 24.0  # grey levels: larger steps count as this, so that single edges do not decide
ROUNDING = 0.5  # grey levels: smaller steps do not exist in a picture of 8 bits
JPEG_BLOCK = 8
BLOCKY = 1.15  # ratio of the steps between the blocks of JPEG to those inside; 1 without JPEG
LEAST_CELLS = 5.0  # along each side of a mosaic


@dataclass(frozen=True)
class MosaicRegion:
    """A pixelated rectangle, in pixels.

    top, left, height, width: the rectangle; it may hold cut cells at its borders. cell: (height, width).
    phase: (row, column); a cell starts at every row r with (r - phase[0]) % cell[0] == 0. confidence: 0 to 1.
    """

    top: int
    left: int
    height: int
    width: int
    cell: tuple[int, int]
    phase: tuple[int, int]
    confidence: float


@dataclass(frozen=True)
class _Box:
    top: int
    bottom: int
    left: int
    right: int

    def area(self) -> int:
        return max(self.bottom - self.top, 0) * max(self.right - self.left, 0)

    def common(self, other: _Box) -> int:
        return _Box(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        ).area()


def find_mosaics(pixels: Tensor) -> list[MosaicRegion]:
    """The mosaics in a picture, the surest first.

    pixels: (C, H, W) in [0, 1]. Cells measure 3 to 32 pixels a side, and a mosaic has at least five by five of them.
    """
    height, width = pixels.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        return []
    steps = _steps(pixels)
    found: list[tuple[float, _Box, MosaicRegion]] = []
    blocky = _blockiness(steps, _Box(0, 0, 0, 0)) > BLOCKY
    for grids, seed in [*_proposals(steps, ROUNDING, blocky), *_proposals(steps, LARGEST_STEP, blocky)]:
        if any(seed.common(box) > 0.5 * seed.area() for _, box, _ in found):
            continue
        candidate = _examine(steps, grids, seed)
        if candidate is not None:
            found.append(candidate)
    found.sort(key=lambda one: -one[0])
    kept: list[tuple[_Box, MosaicRegion]] = []
    for _, box, region in found:
        if all(box.common(other) <= 0.25 * min(box.area(), other.area()) for other, _ in kept):
            kept.append((box, region))
    return [region for _, region in kept]


def _steps(pixels: Tensor) -> tuple[Array, Array]:
    """The sizes of the brightness steps (H, W), in grey levels: from the row above, and from the column to the left."""
    weights = pixels.new_tensor([0.299, 0.587, 0.114]) if pixels.shape[0] == 3 else pixels.new_ones(pixels.shape[0])
    weights /= weights.sum()
    grey = pixels[0].mul(255).mul_(weights[0])
    for plane, weight in zip(pixels[1:], weights[1:], strict=True):
        grey += plane.mul(255).mul_(weight)
    levels = grey.cpu().numpy()
    down, across = np.zeros_like(levels), np.zeros_like(levels)
    np.subtract(levels[1:], levels[:-1], out=down[1:])
    np.subtract(levels[:, 1:], levels[:, :-1], out=across[:, 1:])
    return np.abs(down, out=down), np.abs(across, out=across)


def _proposals(steps: tuple[Array, Array], largest: float, blocky: bool) -> list[tuple[tuple[Grid, Grid], _Box]]:
    """Grids that many windows show along both axes, and the boxes around these windows; the most seen first."""
    down, across = steps
    step = STEP * max(1, round(math.sqrt(across.size / LARGE)))
    enough = 4.0 if largest == ROUNDING else 2.5
    score_x, cell_x, phase_x = _windows(_strength(across, largest), blocky, step)
    score_y, cell_y, phase_y = (part.T for part in _windows(_strength(down, largest).T, blocky, step))
    rows, columns = min(score_x.shape[0], score_y.shape[0]), min(score_x.shape[1], score_y.shape[1])
    area = np.s_[:rows, :columns]
    score = np.minimum(score_x[area], score_y[area])
    code = np.stack([cell_y[area], phase_y[area], cell_x[area], phase_x[area]], axis=-1) @ [64**3, 64**2, 64, 1]
    seen = score > enough
    codes, which = np.unique(code[seen], return_inverse=True)
    votes = np.bincount(which, weights=np.minimum(score[seen], 4 * enough), minlength=len(codes))
    result: list[tuple[float, tuple[Grid, Grid], _Box]] = []
    for number in np.argsort(-votes)[:MOST_PROPOSALS]:
        one = int(codes[number])
        grids = ((one // 64**3, one // 64**2 % 64), (one // 64 % 64, one % 64))
        agreeing = seen & (code == one)
        # Windows of one mosaic lie close together, those of two mosaics with the same grid do not.
        reach = [max(1, round(2 * grid[0] / step)) for grid in grids]
        labels, _ = ndimage.label(ndimage.maximum_filter(agreeing, [2 * side + 1 for side in reach]))
        labels[~agreeing] = 0
        for label, where in enumerate(ndimage.find_objects(labels), start=1):
            if where is None:
                continue
            y, x = where
            count = int((labels[where] == label).sum())
            result.append((count, grids, _Box(y.start * step, y.stop * step, x.start * step, x.stop * step)))
    result.sort(key=lambda one: -one[0])
    return [(grids, box) for _, grids, box in result[:MOST_PROPOSALS]]


def _windows(steps: Array, blocky: bool, apart: int) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """The best grid of columns at every `apart` pixels: (score, cell, phase), each (rows, columns) of windows.

    The score is the mean step at the lines of the grid over the mean step between them.
    """
    height, width = steps.shape
    rows = np.add.reduceat(steps, np.arange(0, height, apart), axis=0) / (2 * apart)
    rows[:-1] += rows[1:].copy()
    columns = -(-width // apart)
    best = np.zeros((len(rows), columns), np.float32)
    cell, phase = np.zeros(best.shape, np.int64), np.zeros(best.shape, np.int64)
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1, dtype=np.float64)], axis=1)
    for size in range(SMALLEST_CELL, LARGEST_CELL + 1):
        span = LINES * size
        count = width - span + 1
        if count < 1:
            break
        lines = rows[:, :count] + rows[:, size : size + count]
        for line in range(2, LINES):
            lines += rows[:, line * size : line * size + count]
        off = total[:, span:] - total[:, :count]
        off -= lines
        off /= LINES * (size - 1)
        off += 0.03
        lines /= LINES
        first = span // 2 % apart  # the middle of the first window need not begin a group
        padded = np.zeros((len(rows), -(-(first + count) // apart) * apart), np.float32)
        score = padded[:, first : first + count]
        np.divide(lines, off, out=score, casting="same_kind")
        if blocky and size % JPEG_BLOCK == 0:
            score[:, ::JPEG_BLOCK] = 0
        groups = padded.reshape(len(rows), -1, apart)
        inside = np.argmax(groups, axis=2)
        start = span // 2 // apart
        value = np.take_along_axis(groups, inside[..., None], axis=2)[:, : columns - start, 0]
        begin = (np.arange(groups.shape[1]) * apart + inside - first)[:, : columns - start]
        where = np.s_[:, start : start + value.shape[1]]
        better = value > best[where]
        best[where][better] = value[better]
        cell[where][better] = size
        phase[where][better] = begin[better] % size
    return best, cell, phase


def _examine(
    steps: tuple[Array, Array], grids: tuple[Grid, Grid], seed: _Box
) -> tuple[float, _Box, MosaicRegion] | None:
    """The mosaic with this grid around the seed: (weight, box, region), or None."""
    height, width = steps[0].shape
    middle = ((seed.top + seed.bottom) // 2, (seed.left + seed.right) // 2)
    middle = (min(middle[0], height - 1), min(middle[1], width - 1))
    box = _around(middle, grids, (height, width), seed)
    exact = False
    for _ in range(6):
        # In a picture stored without loss nothing at all changes inside a cell, and each border is found exactly.
        exact = exact or _levels(steps, grids, _core(box, grids), ROUNDING)[1] < 0.03
        largest = ROUNDING if exact else LARGEST_STEP
        on, off = _levels(steps, grids, box, largest)
        balance = 8.0 if exact else float(np.clip(np.sqrt(on / max(off, 1e-6)), 1.3, 2))
        y = _extent(steps[1], grids[1], (box.left, box.right), middle[0], largest, balance, 2 * grids[0][0])
        x = _extent(steps[0].T, grids[0], y, middle[1], largest, balance, 2 * grids[1][0])
        new = _Box(*y, *x)
        if new == box:
            break
        box = new
        if min(box.bottom - box.top, box.right - box.left) < SMALLEST_SIDE:
            return None
    grids = (
        _coarsest(steps[0][:, box.left : box.right].T, grids[0], box.top, box.bottom, exact),
        _coarsest(steps[1][box.top : box.bottom], grids[1], box.left, box.right, exact),
    )
    return _judge(steps, grids, box, exact)


def _core(box: _Box, grids: tuple[Grid, Grid]) -> _Box:
    """The box without a cell at each side, as far as four cells remain."""
    sides = []
    for (cell, _), low, high in zip(grids, (box.top, box.left), (box.bottom, box.right), strict=True):
        less = min(cell, max(0, (high - low - 4 * cell) // 2))
        sides.append((low + less, high - less))
    return _Box(*sides[0], *sides[1])


def _coarsest(steps: Array, grid: Grid, low: int, high: int, exact: bool) -> Grid:
    """The grid, or the one with a multiple of its cells when the lines in between carry no steps."""
    largest = ROUNDING if exact else LARGEST_STEP
    strength = _strength(steps[:, low + 1 : high], largest).mean(axis=0)
    positions = np.arange(low + 1, high)
    cell, phase = grid
    for factor in (2, 2, 2, 3, 3, 5, 7):
        if cell * factor > LARGEST_CELL or high - low < 3 * cell * factor:
            continue
        off = float(strength[(positions - phase) % cell != 0].mean())
        classes = [float(strength[(positions - phase - cell * k) % (cell * factor) == 0].mean()) for k in range(factor)]
        strongest = int(np.argmax(classes))
        rest = max(value for k, value in enumerate(classes) if k != strongest)
        if rest <= 1.5 * off + 0.05 * classes[strongest]:
            cell, phase = cell * factor, (phase + cell * strongest) % (cell * factor)
    return cell, phase


def _around(middle: tuple[int, int], grids: tuple[Grid, Grid], size: tuple[int, int], seed: _Box) -> _Box:
    """The seed, or LINES - 1 cells around its middle where it is smaller."""
    sides = []
    for centre, (cell, _), end, low, high in zip(
        middle, grids, size, (seed.top, seed.left), (seed.bottom, seed.right), strict=True
    ):
        half = (LINES - 1) * cell // 2
        sides += [max(min(low, centre - half), 0), min(max(high, centre + half), end)]
    return _Box(*sides)


def _lines(grid: Grid, low: int, high: int) -> NDArray[np.bool_]:
    """Whether each position in low + 1 .. high - 1 begins a cell; the step at low lies on the border."""
    return (np.arange(low + 1, high) - grid[1]) % grid[0] == 0


def _levels(steps: tuple[Array, Array], grids: tuple[Grid, Grid], box: _Box, largest: float) -> tuple[float, float]:
    """The mean step on the lines of the grid and between them, as a share of the largest step that counts."""
    on, off = [], []
    for part, grid, low, high in (
        (steps[0][box.top + 1 : box.bottom, box.left : box.right].T, grids[0], box.top, box.bottom),
        (steps[1][box.top : box.bottom, box.left + 1 : box.right], grids[1], box.left, box.right),
    ):
        lines = _lines(grid, low, high)
        if not lines.any() or lines.all():
            return 0.0, 1.0
        strength = _strength(part, largest).mean(axis=0)
        on.append(float(strength[lines].mean()))
        off.append(float(strength[~lines].mean()))
    return min(on), max(off)


def _strength(steps: Array, largest: float) -> Array:
    if largest == ROUNDING:
        return (steps > ROUNDING / 4).astype(np.float32)
    return (np.minimum(steps, largest) / largest).astype(np.float32)


def _extent(
    steps: Array, grid: Grid, across: tuple[int, int], middle: int, largest: float, balance: float, reach: int
) -> tuple[int, int]:
    """First row and end of the rows around the middle that show the grid in the columns across[0] to across[1]."""
    lines = _lines(grid, *across)
    if not lines.any() or lines.all():
        return middle, middle
    strength = _strength(steps[:, across[0] + 1 : across[1]], largest)
    on, off = strength[:, lines].mean(axis=1), balance * strength[:, ~lines].mean(axis=1)
    score = (on - off) / (on + off + 0.02) - 0.01
    first = middle - int(np.argmax(np.cumsum(score[middle::-1])))
    end = middle + int(np.argmax(np.cumsum(score[middle:]))) + 1
    if largest != ROUNDING:
        return first, end
    # Cells along the border may all have the same colour: a narrow band in which nothing changes belongs to them.
    flat = on + off == 0
    above, below = flat[:first][::-1], flat[end:]
    band_above = int(np.argmin(above)) if not above.all() else len(steps)
    band_below = int(np.argmin(below)) if not below.all() else len(steps)
    return first - (band_above if band_above <= reach else 0), end + (band_below if band_below <= reach else 0)


def _judge(
    steps: tuple[Array, Array], grids: tuple[Grid, Grid], box: _Box, exact: bool
) -> tuple[float, _Box, MosaicRegion] | None:
    on, off = _levels(steps, grids, box, LARGEST_STEP)
    on, off = on * LARGEST_STEP, off * LARGEST_STEP
    ratio = on / (off + 0.05)
    worst = _worst(steps, grids, box)
    cells = ((box.bottom - box.top) / grids[0][0], (box.right - box.left) / grids[1][0])
    if min(cells) < LEAST_CELLS or on < (0.3 if exact else 1.2) or worst < (4 if exact else 1.7):
        return None
    compressed = _blockiness(steps, box) > BLOCKY
    if compressed and min(box.bottom - box.top, box.right - box.left) < 3 * JPEG_BLOCK:
        return None  # the cosines of a few blocks
    if any(cell % JPEG_BLOCK == 0 and phase % JPEG_BLOCK == 0 for cell, phase in grids):
        # These may be the blocks of JPEG: then they are everywhere, and few of them are flat.
        everywhere = box.area() > 0.8 * steps[0].size
        told_apart = worst > 12 and not exact
        if (everywhere and ratio < 12) or (compressed and not everywhere and not told_apart):
            return None
    region = MosaicRegion(
        box.top,
        box.left,
        box.bottom - box.top,
        box.right - box.left,
        (grids[0][0], grids[1][0]),
        (grids[0][1], grids[1][1]),
        1 - 0.5 / ratio,
    )
    return box.area() * (1 - 1 / ratio), box, region


def _worst(steps: tuple[Array, Array], grids: tuple[Grid, Grid], box: _Box) -> float:
    """The least ratio of the steps on the lines of the grid to those at any one place between them.

    Pictures of regular things (windows, fences) have edges wider than one pixel.
    """
    ratios = []
    for part, (cell, phase), low, high in (
        (steps[0][box.top + 1 : box.bottom, box.left : box.right].T, grids[0], box.top, box.bottom),
        (steps[1][box.top : box.bottom, box.left + 1 : box.right], grids[1], box.left, box.right),
    ):
        strength = np.minimum(part, LARGEST_STEP).mean(axis=0)
        places = (np.arange(low + 1, high) - phase) % cell
        means = [float(strength[places == place].mean()) for place in range(cell) if (places == place).any()]
        if np.quantile(part[:, places == 0], 0.95) < LEAST_STEP:
            return 0.0
        ratios.append(means[0] / (max(means[1:]) + 0.05))
    return min(ratios)


def _blockiness(steps: tuple[Array, Array], box: _Box) -> float:
    """The mean step between blocks of JPEG over that inside them, outside the box: about 1 without compression."""
    ratios = []
    outside = np.ones(steps[0].shape, bool)
    outside[box.top : box.bottom, box.left : box.right] = False
    for part, mask in ((steps[0].T, outside.T), (steps[1], outside)):
        strength = np.minimum(part, LARGEST_STEP) * mask
        counts = mask.sum(axis=0)
        lines = np.arange(len(counts)) % JPEG_BLOCK == 0
        lines[0] = False
        on, off = counts[lines].sum(), counts[~lines].sum()
        if min(on, off) > 0:
            ratios.append(float(strength[:, lines].sum() / on / (strength[:, ~lines].sum() / off + 1e-6)))
    return max(ratios, default=1.0)

"""The filters that programs enlarge pictures with, as matrices along one direction, and their least squares inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]

# Added to the normal equations: samples that a filter hardly shows are not made up from rounding errors.
REGULARISATION = 1e-4


def _nearest(x: Array) -> Array:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _bilinear(x: Array) -> Array:
    return np.maximum(0.0, 1 - np.abs(x))


def _cubic(a: float) -> Callable[[Array], Array]:
    """Keys' cubic convolution (1981)."""

    def weights(x: Array) -> Array:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    return weights


def _lanczos(x: Array) -> Array:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


@dataclass(frozen=True)
class Filter:
    """weights: at distances in pixels of the small picture. radius: beyond which they are 0. offset: of all samples, in
    pixels of the large picture. repeats: whether pixels are repeated rather than interpolated. adds_up: whether places
    are sums of steps, as in Pillow, whose rounding errors choose between two pixels that are as near."""

    weights: Callable[[Array], Array]
    radius: int
    offset: float = 0.0
    repeats: bool = False
    adds_up: bool = False


FILTERS = {
    "nearest": Filter(_nearest, 1, repeats=True, adds_up=True),
    "nearest, rounded up": Filter(_nearest, 1, 1e-6, repeats=True),
    "nearest from the corner": Filter(_nearest, 1, 1e-6 - 0.5, repeats=True),  # as OpenCV does it
    "bilinear": Filter(_bilinear, 1),
    "bicubic": Filter(_cubic(-0.5), 2),
    "sharper bicubic": Filter(_cubic(-0.75), 2),  # as browsers, OpenCV and PyTorch do it
    "Lanczos": Filter(_lanczos, 3),
}


class Enlarging:
    """Of one direction: `count` samples from `first` on of a line that was enlarged, `step` small pixels for each.

    length: samples of the whole small line, whose ends are repeated beyond it; None for a piece of a line that goes on.
    """

    def __init__(self, name: str, step: float, first: int, count: int, length: int | None = None) -> None:
        chosen = FILTERS[name]
        taps = 2 * chosen.radius
        places = np.arange(first, first + count, dtype=np.float64)
        at = (places + 0.5 + chosen.offset) * step
        if chosen.adds_up:
            at = np.cumsum([step / 2, *[step] * (first + count - 1)], dtype=np.float64)[first:]
        at = at - 0.5
        index = np.floor(at).astype(int)[:, None] + np.arange(1 - chosen.radius, chosen.radius + 1)
        weights = chosen.weights(at[:, None] - index)
        weights /= weights.sum(1, keepdims=True)
        if length is None:
            index -= index.min()
            length = int(index.max()) + 1
        else:
            index = np.clip(index, 0, length - 1)
        rows = np.arange(0, count * taps + 1, taps)
        self._matrix = csr_matrix((weights.ravel(), index.ravel(), rows), shape=(count, length))
        self._matrix.sum_duplicates()
        self._bands = _bands(self._matrix, taps)

    def enlarged(self, small: Array) -> Array:
        """(length, N) to (count, N)."""
        return np.asarray(self._matrix @ small)

    def small(self, large: Array) -> Array:
        """(count, N) to the (length, N) that come nearest to it when enlarged."""
        bands = self._bands.copy()
        bands[0] += REGULARISATION
        seen: Array = np.asarray(self._matrix.T @ large)
        small: Array = solveh_banded(bands, seen, overwrite_ab=True, overwrite_b=True, lower=True, check_finite=False)
        return small


def _bands(matrix: csr_matrix, count: int) -> Array:
    """(count, length): the diagonal of the matrix's Gram matrix and those below it."""
    gram = (matrix.T @ matrix).tocoo()
    below = gram.row - gram.col
    kept = (below >= 0) & (below < count)
    bands = np.zeros((count, matrix.shape[1]))
    bands[below[kept], gram.col[kept]] = gram.data[kept]
    return bands

"""The only resampler: separable resizing with the semantics of MATLAB's imresize.

Pixel centres lie at half integers, both pictures share their top left corner, borders are
mirrored with the edge pixel repeated, kernels are widened when shrinking (antialiasing), and
the weights of every output pixel are normalised to sum to one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

Scale = tuple[Fraction, Fraction]
Size = tuple[int, int]

LARGEST_MATRIX = 128 * 128


def _box(x: Tensor, pixel: float) -> Tensor:
    """The share of a pixel's area that lies in the box, which keeps the centre of mass at every phase."""
    overlap = torch.minimum(x + pixel / 2, torch.tensor(0.5)) - torch.maximum(x - pixel / 2, torch.tensor(-0.5))
    return overlap.clamp(min=0) / pixel


def cubic(x: Tensor, pixel: float = 1.0) -> Tensor:
    """Keys' cubic convolution (1981) with a = -0.5, as MATLAB and the papers use it."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


def _lanczos(x: Tensor, pixel: float) -> Tensor:
    return torch.sinc(x) * torch.sinc(x / 3) * (x.abs() < 3)


# name -> (function of distance and pixel size, width of its support), both in pixels of the coarser grid
KERNELS: dict[str, tuple[Callable[[Tensor, float], Tensor], float]] = {
    "box": (_box, 1.0),
    "bicubic": (cubic, 4.0),
    "lanczos": (_lanczos, 6.0),
}


def size_of(x: Tensor) -> Size:
    """(height, width) of pictures (..., H, W)."""
    return x.shape[-2], x.shape[-1]


def mirrored(index: Tensor, length: int) -> Tensor:
    """Indices of any size as indices into `length` samples: ... c b a | a b c | c b a ..."""
    period = index % (2 * length)
    return torch.minimum(period, 2 * length - 1 - period)


def extended(x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Pictures (..., H, W) with (before, after) mirrored rows and columns around them."""
    for dimension, (before, after) in ((-2, rows), (-1, columns)):
        if before or after:
            length = x.shape[dimension]
            x = x.index_select(dimension, mirrored(torch.arange(-before, length + after, device=x.device), length))
    return x


@functools.lru_cache(maxsize=256)
def _taps(
    length: int, new_length: int, scale: Fraction, kernel: str, antialias: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Indices (P, new_length) into one dimension and their float32 weights (P, new_length)."""
    function, width = KERNELS[kernel]
    shrink = min(float(scale), 1.0) if antialias else 1.0
    # Centre of each output pixel on the input grid; exact for every rational scale.
    numerators = torch.arange(new_length, dtype=torch.float64) * 2 + 1
    centres = numerators * scale.denominator / (2 * scale.numerator) - 0.5
    count = math.ceil(width / shrink) + 2
    first = torch.floor(centres - width / shrink / 2)
    positions = first + torch.arange(count, dtype=torch.float64)[:, None]
    weights = function((centres - positions) * shrink, shrink)
    weights = weights / weights.sum(0)
    used = weights.abs().amax(1) > 0
    return mirrored(positions[used].long(), length).to(device), weights[used].float().to(device)


@functools.lru_cache(maxsize=64)
def _matrix(
    length: int, new_length: int, scale: Fraction, kernel: str, antialias: bool, device: torch.device
) -> Tensor:
    """The same as a dense (new_length, length) matrix, which is several times faster for training crops."""
    indices, weights = _taps(length, new_length, scale, kernel, antialias, device)
    rows = torch.arange(new_length, device=device).expand_as(indices)
    return torch.zeros(new_length, length, dtype=torch.float32, device=device).index_put(
        (rows, indices), weights, accumulate=True
    )


def _resize_dimension(x: Tensor, dimension: int, scale: Fraction, length: int, kernel: str, antialias: bool) -> Tensor:
    options = (x.shape[dimension], length, scale, kernel, antialias, x.device)
    if x.shape[dimension] * length <= LARGEST_MATRIX:
        matrix = _matrix(*options)
        return matrix @ x if dimension == -2 else x @ matrix.mT
    indices, weights = _taps(*options)
    if dimension == -2:
        weights = weights[..., None]
    out = x.index_select(dimension, indices[0]).mul_(weights[0])
    for index, weight in zip(indices[1:], weights[1:], strict=True):
        out.addcmul_(x.index_select(dimension, index), weight)
    return out


def resize(x: Tensor, scale: Scale, size: Size, kernel: str = "bicubic", antialias: bool = True) -> Tensor:
    """Resize pictures by an exact scale to an explicit size.

    x: (..., H, W) float32, any range. scale: (vertical, horizontal) output pixels per input
    pixel. size: (height, width) of the output; where it is not exactly scale times the input,
    the output is cut off or continued by mirroring at the bottom and right.
    kernel: a name in KERNELS. Returns (..., height, width), not clipped.
    """
    for dimension in (-2, -1):
        if scale[dimension] != 1 or size[dimension] != x.shape[dimension]:
            x = _resize_dimension(x, dimension, scale[dimension], size[dimension], kernel, antialias)
    return x


def ratio(size: Size, new_size: Size) -> Scale:
    """The exact scale that takes a whole picture of `size` to `new_size`."""
    return Fraction(new_size[0], size[0]), Fraction(new_size[1], size[1])


def fit(x: Tensor, size: Size, kernel: str = "bicubic") -> Tensor:
    """Resize whole pictures so that they exactly fill `size`."""
    return resize(x, ratio((x.shape[-2], x.shape[-1]), size), size, kernel)

"""Blur kernels as weights, and their geometry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.dihedral import ALL_EIGHT, dihedral
from zssr.errors import KernelError
from zssr.resample import cubic

MAX_KERNEL_SIZE = 255

# A name in resample.KERNELS, that of a Gaussian (see gaussian.py), or rows of weights.
Kernel = str | tuple[tuple[float, ...], ...]


def kernel_name(kernel: Kernel) -> str:
    """For people."""
    return kernel if isinstance(kernel, str) else "given"


def kernel_from_json(kernel: Any) -> Kernel:
    """JSON knows lists only."""
    return kernel if isinstance(kernel, str) else tuple(map(tuple, kernel))


def normalised(kernel: np.ndarray) -> Tensor:
    """A (h, w) array as float64 weights that sum to one, without empty borders. Raises KernelError."""
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise KernelError(f"a kernel of shape {kernel.shape}: it must be a table of rows and columns")
    if max(kernel.shape) > MAX_KERNEL_SIZE:
        raise KernelError(f"a kernel of {kernel.shape[0]}x{kernel.shape[1]}: at most {MAX_KERNEL_SIZE} a side")
    if not np.isfinite(kernel).all():
        raise KernelError("a kernel with values that are not finite numbers")
    if kernel.sum() <= 1e-9 * np.abs(kernel).sum():
        raise KernelError(f"a kernel that sums to {kernel.sum():g}: the sum must be positive")
    weights = torch.from_numpy(np.ascontiguousarray(kernel / kernel.sum()))
    if any(not -0.5 <= c <= n - 0.5 for c, n in zip(centre_of_mass(weights), weights.shape, strict=True)):
        raise KernelError("a kernel whose centre of mass lies outside it")
    return weights


def shifted(kernel: Tensor, dimension: int, offset: float) -> tuple[Tensor, int]:
    """The kernel to be applied from a whole pixel on, so that it acts as `kernel` applied from `offset` on.

    Between pixels the picture is read by cubic convolution, which the kernel absorbs.
    """
    whole = math.floor(offset)
    fraction = offset - whole
    if min(fraction, 1 - fraction) < 1e-6:
        return kernel, round(offset)
    taps = cubic(torch.arange(-1, 3, dtype=torch.float64) - fraction)
    rows = kernel.movedim(dimension, -1)[:, None]
    moved = functional.conv1d(rows, taps.flip(0)[None, None], padding=3)[:, 0]
    return moved.movedim(-1, dimension), whole - 1


def centre_of_mass(kernel: Tensor) -> list[float]:
    """(row, column) of weights that sum to one."""
    return [float((kernel.sum(1 - d) * torch.arange(kernel.shape[d], dtype=torch.float64)).sum()) for d in (0, 1)]


def _centred_to_odd(kernel: Tensor) -> Tensor:
    """The kernel on an odd square grid with its centre of mass on the middle, to be compared with its mirror."""
    for dimension in (0, 1):
        kernel, first = shifted(kernel, dimension, -centre_of_mass(kernel)[dimension])
        reach = max(-first, first + kernel.shape[dimension] - 1)
        before, after = reach + first, reach - (first + kernel.shape[dimension] - 1)
        kernel = functional.pad(kernel, [0, 0, before, after] if dimension == 0 else [before, after])
    side = max(kernel.shape)
    vertical, horizontal = (side - kernel.shape[0]) // 2, (side - kernel.shape[1]) // 2
    return functional.pad(kernel, [horizontal, horizontal, vertical, vertical])


def kernel_symmetries(kernel: Tensor) -> frozenset[int]:
    """The transforms of dihedral.py that leave weights (h, w) as they are."""
    kernel = _centred_to_odd(kernel)
    return frozenset(transform for transform in ALL_EIGHT if (dihedral(kernel, transform) - kernel).abs().sum() < 1e-3)

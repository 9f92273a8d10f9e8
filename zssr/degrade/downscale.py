"""Downscaling, with a kernel known by name, by formula or from a file."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as functional
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor

from zssr.errors import KernelError, SettingsError
from zssr.resample import KERNELS, Scale, Size, cubic, mirrored, resize

MAX_KERNEL_SIZE = 255
BASE_STEPS = 4
LARGE = 2048 * 2048
ROUNDING = 1 / math.sqrt(12) / 255  # root mean square error of rounding to 8 bits
SMALLEST_SIGMA, LARGEST_SIGMA = 0.05, 30.0


@dataclass(frozen=True)
class Downscale:
    """A smaller picture of the same scene: y = (x * kernel) sampled at the centres of y's pixels.

    scale: (vertical, horizontal), exact, each at most 1.
    kernel: a name in resample.KERNELS (antialiased, as imresize does it), "gaussian:SIGMA"
    (sigma in pixels of the large picture), or rows of weights on the large picture's grid. Weights
    are normalised, and their centre of mass is put on the centre of y's pixel, so that nothing
    shifts, whatever the kernel's parity or shape.
    """

    scale: Scale
    kernel: str | tuple[tuple[float, ...], ...] = "bicubic"
    noisy: bool = False
    fair_at: float = 1.0
    lead: tuple[int, int] = (0, 0)
    hinted: bool = False

    def __post_init__(self) -> None:
        if not all(0 < factor <= 1 for factor in self.scale):
            raise SettingsError(f"downscaling by {self.scale}: both factors must lie between 0 and 1")
        if self.kernel not in KERNELS:
            self.weights  # noqa: B018 - fails now rather than in the middle of the work

    @functools.cached_property
    def weights(self) -> Tensor | None:
        """(h, w) float64 summing to one, to be correlated with x; None for a separable resize kernel."""
        if isinstance(self.kernel, tuple):
            return normalised(np.array(self.kernel, np.float64))
        return None if self.kernel in KERNELS else gaussian(_gaussian_sigma(self.kernel))

    @property
    def symmetries(self) -> frozenset[int]:
        """The dihedral moves that may be done before or after with the same result."""
        moves = set(range(8)) if self.scale[0] == self.scale[1] else {0, 2, 4, 6}
        if self.weights is None:
            return frozenset(moves)
        kernel = _centred_to_odd(self.weights)
        return frozenset(move for move in moves if _same_after(kernel, move))

    def out_size(self, size: Size) -> Size:
        return math.ceil(size[0] * self.scale[0]), math.ceil(size[1] * self.scale[1])

    def drawn(self, size: Size, rng: torch.Generator) -> Downscale:
        return self

    def hints(self, y: Tensor, size: Size) -> Tensor:
        return y.new_empty(len(y), 0, *size)

    def damaged(self, size: Size) -> None:
        """Every pixel."""
        return

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to (N, C, *out_size); rng is not used."""
        size = self.out_size((x.shape[-2], x.shape[-1]))
        if isinstance(self.kernel, str) and self.kernel in KERNELS:
            return resize(x, self.scale, size, self.kernel)
        return self._blur_and_sample(x, size)

    def interpolate(self, y: Tensor, size: Size) -> Tensor:
        """Bicubic interpolation of (N, C, h, w) to (N, C, *size)."""
        return resize(y, (1 / self.scale[0], 1 / self.scale[1]), size)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Bicubic interpolation, sharpened by a few steps of back-projection.

        It undoes what a linear filter can, whatever the kernel, and leaves the rest to be learned.
        """
        if y.shape[1] > 1 and size[0] * size[1] > LARGE:  # channel by channel, as it needs memory for several copies
            return torch.cat([self.base(plane, size) for plane in y.split(1, 1)], 1)
        x = self.interpolate(y, size)
        for _ in range(BASE_STEPS):
            x = self.interpolate(y - self.degrade(x), size).add_(x)
        return x

    def project(self, x: Tensor, y: Tensor, steps: int = 50, tolerance: float = ROUNDING) -> Tensor:
        """Back-projection (Irani and Peleg 1991): add the interpolated misfit until x degrades to y.

        x, y: (N, C, H, W) and (N, C, h, w). Stops after `steps`, or when the root mean square misfit of a channel
        is below `tolerance`: the rounding error of 8-bit pixels. Agreeing better would fit that error, which a
        blurring kernel's inverse turns into visible texture. Channels are done one after the other, as large
        pictures need much memory.
        """
        size = (x.shape[-2], x.shape[-1])
        channels = []
        for channel in range(x.shape[1]):
            plane, target = x[:, channel : channel + 1], y[:, channel : channel + 1]
            for _ in range(steps):
                misfit = target - self.degrade(plane)
                if misfit.square().mean().sqrt() <= tolerance:
                    break
                plane = self.interpolate(misfit, size).add_(plane).clamp_(0, 1)
            channels.append(plane)
        return torch.cat(channels, 1)

    def rescaled(self, scale: Scale) -> Downscale:
        """The same damage for another factor: the kernel keeps its size in pixels of y."""
        if self.weights is None:
            return Downscale(scale, self.kernel)
        shrink = (self.scale[0] / scale[0], self.scale[1] / scale[1])
        if isinstance(self.kernel, str) and shrink[0] == shrink[1]:
            sigma = max(SMALLEST_SIGMA, _gaussian_sigma(self.kernel) * float(shrink[0]))
            return Downscale(scale, f"gaussian:{sigma!r}")
        # Pad by the reach of the antialiasing, so that no weight is folded back at the border.
        kernel = functional.pad(self.weights, [4 * math.ceil(1 / min(shrink))] * 4)
        height, width = (math.ceil(length * factor) for length, factor in zip(kernel.shape, shrink, strict=True))
        smaller = resize(kernel[None, None].float(), shrink, (height, width))[0, 0]
        return Downscale(scale, tuple(tuple(row) for row in smaller.double().tolist()))

    def to_json(self) -> dict[str, Any]:
        return {"name": "downscale", "scale": [str(factor) for factor in self.scale], "kernel": self.kernel}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Downscale:
        kernel = data["kernel"]
        vertical, horizontal = (Fraction(factor) for factor in data["scale"])
        return cls((vertical, horizontal), kernel if isinstance(kernel, str) else tuple(map(tuple, kernel)))

    def _blur_and_sample(self, x: Tensor, size: Size) -> Tensor:
        """Correlate with the kernel, then read at the centres of y's pixels, between x's if need be."""
        assert self.weights is not None
        centre = _centre_of_mass(self.weights)
        # Where y's first pixel lies on x's grid, and the kernel sample that belongs there.
        start = [float(1 / factor - 1) / 2 for factor in self.scale]
        offset = [begin - middle for begin, middle in zip(start, centre, strict=True)]
        if all(factor.numerator == 1 for factor in self.scale):
            # One phase for all pixels: shift the kernel by the fraction, then a strided correlation.
            kernel = self.weights
            whole = []
            for dimension in (0, 1):
                kernel, moved = _shifted(kernel, dimension, offset[dimension])
                whole.append(moved)
            stride = [factor.denominator for factor in self.scale]
            return _correlate(x, kernel, whole, stride, size)
        blurred = _correlate(x, self.weights, [-round(c) for c in centre], [1, 1], (x.shape[-2], x.shape[-1]))
        return _interpolate(blurred, self.scale, size, [c - round(c) for c in centre])


def _correlate(x: Tensor, kernel: Tensor, first: list[int], stride: list[int], size: Size) -> Tensor:
    """out[i, j] = sum over k, l of kernel[k, l] * x[first + stride * (i, j) + (k, l)], x mirrored outside."""
    rows, columns = (
        mirrored(
            torch.arange(first[d], first[d] + (size[d] - 1) * stride[d] + kernel.shape[d], device=x.device),
            x.shape[d - 2],
        )
        for d in (0, 1)
    )
    padded = x.index_select(-2, rows).index_select(-1, columns)
    planes = padded.reshape(-1, 1, *padded.shape[-2:])
    factors = _factors(kernel)
    if factors is None:
        out = functional.conv2d(planes, kernel.to(x)[None, None], stride=tuple(stride))
    else:
        column, row = (factor.to(x) for factor in factors)
        out = functional.conv2d(planes, column[None, None, :, None], stride=(stride[0], 1))
        out = functional.conv2d(out, row[None, None, None], stride=(1, stride[1]))
    return out.reshape(*x.shape[:-2], *out.shape[-2:])


def _factors(kernel: Tensor) -> tuple[Tensor, Tensor] | None:
    """(h,) and (w,) whose outer product the kernel is, as a Gaussian's, which saves most of the work; or None."""
    total = kernel.sum()
    column, row = kernel.sum(1), kernel.sum(0) / total
    same = torch.allclose(column[:, None] * row, kernel, rtol=0, atol=1e-9 * float(total))
    return (column, row) if same else None


def _interpolate(x: Tensor, scale: Scale, size: Size, offset: list[float]) -> Tensor:
    """Cubic interpolation at the centres of the smaller picture's pixels, moved back by `offset` pixels of x."""
    for d in (0, 1):
        centres = (torch.arange(size[d], dtype=torch.float64) + 0.5) / float(scale[d]) - 0.5 - offset[d]
        out = torch.zeros_like(x.narrow(d - 2, 0, 1)).repeat_interleave(size[d], d - 2)
        for tap in range(-1, 3):
            position = centres.floor() + tap
            weight = cubic(centres - position).to(x)
            index = mirrored(position.long().to(x.device), x.shape[d - 2])
            out.addcmul_(x.index_select(d - 2, index), weight[:, None] if d == 0 else weight)
        x = out
    return x


def _shifted(kernel: Tensor, dimension: int, offset: float) -> tuple[Tensor, int]:
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


def _centre_of_mass(kernel: Tensor) -> list[float]:
    return [float((kernel.sum(1 - d) * torch.arange(kernel.shape[d], dtype=torch.float64)).sum()) for d in (0, 1)]


def _centred_to_odd(kernel: Tensor) -> Tensor:
    """The kernel on an odd square grid with its centre of mass on the middle, to be compared with its mirror."""
    for dimension in (0, 1):
        kernel, first = _shifted(kernel, dimension, -_centre_of_mass(kernel)[dimension])
        reach = max(-first, first + kernel.shape[dimension] - 1)
        before, after = reach + first, reach - (first + kernel.shape[dimension] - 1)
        kernel = functional.pad(kernel, [0, 0, before, after] if dimension == 0 else [before, after])
    side = max(kernel.shape)
    vertical, horizontal = (side - kernel.shape[0]) // 2, (side - kernel.shape[1]) // 2
    return functional.pad(kernel, [horizontal, horizontal, vertical, vertical])


def _same_after(kernel: Tensor, move: int) -> bool:
    moved = torch.rot90(kernel.flip(-1) if move & 4 else kernel, move & 3)
    return bool((moved - kernel).abs().sum() < 1e-3)


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
    if any(not -0.5 <= c <= n - 0.5 for c, n in zip(_centre_of_mass(weights), weights.shape, strict=True)):
        raise KernelError("a kernel whose centre of mass lies outside it")
    return weights


def gaussian(sigma: float) -> Tensor:
    """(n, n) float64 Gaussian weights, four standard deviations wide to each side, n odd."""
    reach = max(1, math.ceil(4 * sigma))
    line = torch.exp(-(torch.arange(-reach, reach + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    kernel = line[:, None] * line
    return kernel / kernel.sum()


def _gaussian_sigma(name: str) -> float:
    kind, _, value = name.partition(":")
    try:
        sigma = float(value)
    except ValueError:
        sigma = math.nan
    if kind != "gaussian" or not SMALLEST_SIGMA <= sigma <= LARGEST_SIGMA:
        raise KernelError(
            f"kernel '{name}': use a file, {', '.join(KERNELS)}, or gaussian:SIGMA with SIGMA"
            f" {SMALLEST_SIGMA:g} to {LARGEST_SIGMA:g}"
        )
    return sigma


def read_kernel(source: str) -> str | tuple[tuple[float, ...], ...]:
    """A kernel by name or from a file: .mat (key Kernel or kernel), .npy, .txt, .png (grey levels are weights).

    Returns what Downscale takes. Raises KernelError when there is none in it.
    """
    path = Path(source)
    if source in KERNELS:
        return source
    if path.suffix.lower() not in _READERS:
        _gaussian_sigma(source)
        return source
    if not path.is_file():
        raise KernelError(f"{source}: no such kernel file")
    try:
        table = _READERS[path.suffix.lower()](path)
    except KernelError as error:
        raise KernelError(f"{source}: {error}") from None
    except (OSError, ValueError, TypeError, MatReadError, SyntaxError, EOFError, NotImplementedError) as error:
        raise KernelError(f"{source}: not a kernel ({' '.join(str(error).split())[:100]})") from None
    try:
        normalised(table)
    except KernelError as error:
        raise KernelError(f"{source}: {error}") from None
    return tuple(tuple(row) for row in table.tolist())


def _read_mat(path: Path) -> np.ndarray:
    content = loadmat(path)
    for key in ("Kernel", "kernel"):
        if key in content:
            return np.asarray(content[key], np.float64)
    keys = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
    raise KernelError(f"no key 'Kernel' or 'kernel' (it holds {keys})")


def _read_png(path: Path) -> np.ndarray:
    with PIL.Image.open(path, formats=["PNG"]) as opened:
        return np.array(opened.convert("L") if not opened.mode.startswith("I") else opened, np.float64)


_READERS = {
    ".mat": _read_mat,
    ".npy": lambda path: np.asarray(np.load(path, allow_pickle=False), np.float64),
    ".txt": lambda path: np.loadtxt(path, dtype=np.float64, ndmin=2),
    ".png": _read_png,
}

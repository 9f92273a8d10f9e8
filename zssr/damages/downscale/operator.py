"""Downscaling, with a kernel known by name, by formula or from a file."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.damages.downscale.gaussian import Gaussian
from zssr.damages.downscale.kernel import (
    Kernel,
    centre_of_mass,
    kernel_from_json,
    kernel_name,
    kernel_symmetries,
    normalised,
    shifted,
)
from zssr.dihedral import ALL_EIGHT, FLIPS
from zssr.errors import SettingsError
from zssr.resample import KERNELS, Scale, Size, cubic, mirrored, resize

BASE_STEPS = 4
LARGE = 2048 * 2048  # pixels
ROUNDING = 1 / math.sqrt(12) / 255  # root mean square error of rounding to 8 bits


@dataclass(frozen=True)
class Downscale(Degradation):
    """A smaller picture of the same scene: y = (x * kernel) sampled at the centres of y's pixels.

    factors: (vertical, horizontal) size of y over that of x, exact, each at most 1.
    kernel: a name in resample.KERNELS (antialiased, as imresize does it), that of a Gaussian in
    pixels of the large picture (gaussian.py), or rows of weights on the large picture's grid. Weights
    are normalised, and their centre of mass is put on the centre of y's pixel, so that nothing
    shifts, whatever the kernel's parity or shape.
    """

    kind: ClassVar[str] = "downscale"
    lost: ClassVar[str] = ""  # is said of every enlargement; see Result.unknown
    factors: Scale
    kernel: Kernel = "bicubic"

    def __post_init__(self) -> None:
        if not all(0 < factor <= 1 for factor in self.factors):
            raise SettingsError(f"downscaling by {self.factors}: both factors must lie between 0 and 1")
        if self.kernel not in KERNELS:
            self.weights  # noqa: B018 - fails now rather than in the middle of the work

    @functools.cached_property
    def weights(self) -> Tensor | None:
        """(h, w) float64 summing to one, to be correlated with x; None for a separable resize kernel."""
        if isinstance(self.kernel, tuple):
            return normalised(np.array(self.kernel, np.float64))
        return None if self.kernel in KERNELS else Gaussian.named(self.kernel).weights()

    @property
    def point_spread(self) -> Tensor:
        """(h, w) float64 summing to one, of any kernel, on the large picture's grid."""
        if self.weights is not None:
            return self.weights
        function, width = KERNELS[str(self.kernel)]
        lines = []
        for factor in self.factors:
            # Between pixels for even factors, on one for odd ones.
            count = 2 * math.ceil(width / factor / 2) + factor.denominator % 2 * (factor.numerator == 1)
            line = function((torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * float(factor), float(factor))
            lines.append(line / line.sum())
        return lines[0][:, None] * lines[1]

    @property
    def scale(self) -> Scale:
        return self.factors

    @property
    def symmetries(self) -> frozenset[int]:
        transforms = ALL_EIGHT if self.scale[0] == self.scale[1] else FLIPS
        return transforms if self.weights is None else transforms & kernel_symmetries(self.weights)

    def out_size(self, size: Size) -> Size:
        return math.ceil(size[0] * self.scale[0]), math.ceil(size[1] * self.scale[1])

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to (N, C, *out_size); rng is not used."""
        size = self.out_size((x.shape[-2], x.shape[-1]))
        if isinstance(self.kernel, str) and self.kernel in KERNELS:
            return resize(x, self.scale, size, self.kernel)
        return self._blur_and_sample(x, size)

    def plain(self, y: Tensor, size: Size) -> Tensor:
        """Bicubic interpolation of (N, C, h, w) to (N, C, *size)."""
        return resize(y, (1 / self.scale[0], 1 / self.scale[1]), size)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Bicubic interpolation, sharpened by a few steps of back-projection.

        It undoes what a linear filter can, whatever the kernel, and leaves the rest to be learned.
        """
        if y.shape[1] > 1 and size[0] * size[1] > LARGE:  # channel by channel, as it needs memory for several copies
            return torch.cat([self.base(plane, size) for plane in y.split(1, 1)], 1)
        x = self.plain(y, size)
        for _ in range(BASE_STEPS):
            x = self.plain(y - self.degrade(x), size).add_(x)
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
                plane = self.plain(misfit, size).add_(plane).clamp_(0, 1)
            channels.append(plane)
        return torch.cat(channels, 1)

    def rescaled(self, scale: Scale) -> Downscale:
        """The same damage for another factor: the kernel keeps its size in pixels of y."""
        if self.weights is None:
            return Downscale(scale, self.kernel)
        shrink = (self.scale[0] / scale[0], self.scale[1] / scale[1])
        if isinstance(self.kernel, str):
            return Downscale(scale, Gaussian.named(self.kernel).scaled(*map(float, shrink)).name)
        # Pad by the reach of the antialiasing, so that no weight is folded back at the border.
        kernel = functional.pad(self.weights, [4 * math.ceil(1 / min(shrink))] * 4)
        height, width = (math.ceil(length * factor) for length, factor in zip(kernel.shape, shrink, strict=True))
        smaller = resize(kernel[None, None].float(), shrink, (height, width))[0, 0]
        return Downscale(scale, tuple(tuple(row) for row in smaller.double().tolist()))

    def describe(self) -> str:
        vertical, horizontal = (float(1 / factor) for factor in self.scale)
        return f"downscaling by {vertical:.4g} (vertical) and {horizontal:.4g}, {kernel_name(self.kernel)} kernel"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.kind, "scale": [str(factor) for factor in self.scale], "kernel": self.kernel}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Downscale:
        vertical, horizontal = (Fraction(factor) for factor in data["scale"])
        return cls((vertical, horizontal), kernel_from_json(data["kernel"]))

    def _blur_and_sample(self, x: Tensor, size: Size) -> Tensor:
        """Correlate with the kernel, then read at the centres of y's pixels, between x's if need be."""
        assert self.weights is not None
        centre = centre_of_mass(self.weights)
        # Where y's first pixel lies on x's grid, and the kernel sample that belongs there.
        start = [float(1 / factor - 1) / 2 for factor in self.scale]
        offset = [begin - middle for begin, middle in zip(start, centre, strict=True)]
        if all(factor.numerator == 1 for factor in self.scale):
            # One phase for all pixels: shift the kernel by the fraction, then a strided correlation.
            kernel = self.weights
            whole = []
            for dimension in (0, 1):
                kernel, moved = shifted(kernel, dimension, offset[dimension])
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

"""Noise of any spectrum: how strong it is in each DCT coefficient of an 8x8 patch; drawn, and at half the size."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.dct_shrinkage import DCT_SIDE, dct_matrix

# Of each plane, the standard deviations of its 64 coefficients, in row-major order of (vertical, horizontal) frequency.
Spectrum = tuple[tuple[float, ...], ...]

PERIOD = 2 * DCT_SIDE  # pixels; the cosines of a patch are those of this period's Fourier transform
ROUNDS = 5


@functools.lru_cache(maxsize=16)
def kernels(spectrum: Spectrum) -> Tensor:
    """(planes, 1, 16, 16): filters that give white noise of unit variance this spectrum."""
    index = torch.arange(PERIOD)
    nearest = torch.minimum(index, PERIOD - index).clamp(max=DCT_SIDE - 1)
    wanted = torch.tensor(spectrum)
    gains = wanted
    for _ in range(ROUNDS):  # a patch sees a coefficient's neighbours too
        transfer = gains.view(-1, DCT_SIDE, DCT_SIDE)[:, nearest][:, :, nearest]
        filters = torch.fft.fftshift(torch.fft.ifft2(transfer).real, dim=(-2, -1))[:, None]
        gains = gains * (wanted / _deviations(filters, _patches()).clamp(min=1e-6))
    return filters


def drawn(spectrum: Spectrum, shape: torch.Size, rng: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Noise of this spectrum, (N, planes, H, W), on the generator's device."""
    count, planes, height, width = shape
    around = (count, planes, height + PERIOD - 1, width + PERIOD - 1)
    white = torch.randn(around, generator=rng, device=rng.device, dtype=dtype)
    return functional.conv2d(white, kernels(spectrum).to(white), groups=planes)


@functools.lru_cache(maxsize=16)
def halved(spectrum: Spectrum) -> Spectrum:
    """That of the means of 2x2 pixels."""
    # A coefficient of the smaller picture is a weighted sum over the larger one.
    deviations = _deviations(kernels(spectrum), functional.interpolate(_patches(), scale_factor=2) / 4)
    return tuple(map(tuple, deviations.tolist()))


def _patches() -> Tensor:
    """(64, 1, 8, 8): the pixels' weights in each coefficient."""
    matrix = dct_matrix()
    return torch.einsum("ux,vy->uvxy", matrix, matrix).reshape(-1, 1, DCT_SIDE, DCT_SIDE)


def _deviations(filters: Tensor, weights: Tensor) -> Tensor:
    """(planes, 64), of weighted sums over filtered white noise of unit variance."""
    return functional.conv2d(weights, filters, padding=PERIOD - 1).square().sum((-2, -1)).sqrt().T

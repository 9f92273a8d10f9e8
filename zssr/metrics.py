"""Image quality, with the protocol in the name: channel, range and border."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def to_8_bit(x: Tensor) -> Tensor:
    """(C, H, W) in [0, 1] as float64 whole numbers 0 to 255."""
    return x.double().clamp(0, 1).mul(255).round()


def luma(x: Tensor) -> Tensor:
    """(C, H, W) whole numbers 0 to 255 to (H, W) luma as MATLAB's rgb2ycbcr: BT.601, 16 to 235, not rounded.

    Grey pictures are already luma and stay as they are.
    """
    if len(x) == 1:
        return x[0]
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64) / 255
    return (x * weights[:, None, None]).sum(0) + 16


def psnr_y(result: Tensor, truth: Tensor, border: int) -> float:
    """Peak signal to noise ratio in dB on luma, after rounding to 8 bits and cutting `border` pixels off each side.

    result, truth: (C, H, W) in [0, 1]. Infinite for equal pictures.
    """
    error = (_cut(luma(to_8_bit(result)), border) - _cut(luma(to_8_bit(truth)), border)).square().mean().item()
    return _decibels(error)


def psnr(result: Tensor, truth: Tensor, inside: Tensor | None = None) -> float:
    """As psnr_y, over all channels together and without a border; inside: (1, H, W) bool, the pixels that count."""
    error = (to_8_bit(result) - to_8_bit(truth)).square()
    if inside is not None:
        error = error[inside.expand_as(error)]
    return _decibels(error.mean().item())


def psnr_b(result: Tensor, truth: Tensor, block: int = 8) -> float:
    """PSNR with blocking effect (Yim and Bovik 2011): the mean squared error plus what steps at the borders of
    blocks, counted from the corner, exceed those elsewhere. Mean over channels, 8-bit rounding."""
    x = to_8_bit(result)
    error = (x - to_8_bit(truth)).square().mean().item()
    blocking = 0.0
    for plane in x:
        at_borders, elsewhere = [], []
        for z in (plane, plane.T):
            steps = (z[:, 1:] - z[:, :-1]).square()
            border = torch.arange(1, z.shape[1]) % block == 0
            at_borders.append(steps[:, border].flatten())
            elsewhere.append(steps[:, ~border].flatten())
        excess = torch.cat(at_borders).mean() - torch.cat(elsewhere).mean()
        if excess > 0:
            blocking += float(excess) * math.log2(block) / math.log2(min(plane.shape)) / len(x)
    return _decibels(error + blocking)


def _decibels(error: float) -> float:
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(result: Tensor, truth: Tensor) -> float:
    """As ssim_y, the mean over all channels, without a border."""
    planes = zip(to_8_bit(result), to_8_bit(truth), strict=True)
    return sum(_similarity(x, y) for x, y in planes) / len(result)


def ssim_y(result: Tensor, truth: Tensor, border: int) -> float:
    """Mean structural similarity (Wang et al. 2004) on luma: Gaussian window of 11, sigma 1.5, range 255,
    population variances, only windows that lie inside; rounding and border as psnr_y. NaN where none fits."""
    x, y = (_cut(luma(to_8_bit(picture)), border) for picture in (result, truth))
    return _similarity(x, y)


def _similarity(x: Tensor, y: Tensor) -> float:
    if min(x.shape) < 11:
        return math.nan
    means = [_windowed(z) for z in (x, y, x * x, y * y, x * y)]
    mean_x, mean_y, square_x, square_y, product = means
    variance_x, variance_y, covariance = square_x - mean_x**2, square_y - mean_y**2, product - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return similarity.mean().item()


def _windowed(x: Tensor) -> Tensor:
    """Means under a Gaussian window of 11 with sigma 1.5, tap by tap, as a convolution would need much memory."""
    line = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    for dimension in (0, 1):
        length = x.shape[dimension] - 10
        x = sum(
            (weight * x.narrow(dimension, i, length) for i, weight in enumerate(line / line.sum())), torch.zeros(())
        )
    return x


def _cut(x: Tensor, border: int) -> Tensor:
    return x[border : x.shape[0] - border, border : x.shape[1] - border]

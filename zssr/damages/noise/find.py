"""Finding noise: how strong it is, and whether it grows with the brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from zssr.damages.noise.spectrum import Spectrum

Array = NDArray[np.float64]

PATCH = 8
HIGH = 9  # cosines whose two indices sum to this or more measure the noise
MOST_PATCHES = 60_000
SMOOTHEST = 0.04  # share of the patches of one brightness that is trusted to show no texture
FEWEST = 40  # patches needed to judge one brightness
BINS = 16
LEAST_CHANGING = 0.7  # share of patches that are not constant; with fewer a picture is drawn or written
LEAST_SPAN = 48  # grey levels of brightness over which a growth can be seen
LEAST_CONFIDENCE = 0.5  # below, the whole picture is texture, and the noise on it cannot be measured
LEAST_SIGMA = 3.5  # grey levels; the grain of film and the noise of good cameras stay below


_ORDER = np.arange(PATCH)[:, None] + np.arange(PATCH)[None, :]
_HIGH = _ORDER >= HIGH
_LOW = (_ORDER > 0) & (_ORDER < HIGH - 2)


@dataclass(frozen=True)
class NoiseTraces:
    """What is known of the noise, in grey levels of 255.

    sigma: standard deviation before clipping to [0, 255], mean over the picture and its channels.
    slope, offset: its variance is offset + slope * brightness; slope is 0 where it does not grow significantly.
    confidence: 0 to 1. spectrum: of noise that is not white, see Noise.
    """

    sigma: float
    slope: float
    offset: float
    confidence: float
    spectrum: Spectrum | None = None


def find_noise(pixels: Tensor) -> NoiseTraces | None:
    """The noise of a picture, or None if there is none worth removing.

    pixels: (C, H, W) in [0, 1]. The noise is measured in the highest cosines of 8x8 patches, of those
    patches whose lower cosines are weakest (after Ponomarenko et al., 2007): as the cosines of white noise
    are independent, this choice favours smooth content without favouring weak noise.
    """
    if min(pixels.shape[-2:]) < 2 * PATCH:
        return None
    line = by_brightness(*_patches(pixels), int(_HIGH.sum()))
    if line is None:
        return None
    offset, slope, misfit, textured = line
    variance = offset + slope * float(pixels.double().mean()) * 255
    confidence = (1 - misfit) / textured
    if variance < LEAST_SIGMA**2 or confidence < LEAST_CONFIDENCE:
        return None
    return NoiseTraces(math.sqrt(variance), slope, offset, confidence)


def _patches(pixels: Tensor) -> tuple[Array, Array, Array]:
    """Of patches all over: mean, and mean square of the lower and of the highest cosines, in grey levels."""
    channels, height, width = pixels.shape
    index = np.arange(PATCH)
    cosines = np.cos(np.pi * (2 * index[None, :] + 1) * index[:, None] / (2 * PATCH)) * np.sqrt(2 / PATCH)
    cosines[0] /= np.sqrt(2)
    step = max(PATCH // 2, math.ceil(math.sqrt(channels * height * width / MOST_PATCHES)))
    windows = pixels.detach().cpu().unfold(1, PATCH, step).unfold(2, PATCH, step).reshape(-1, PATCH, PATCH) * 255
    basis = torch.from_numpy(cosines).to(windows.dtype)
    energy = ((basis @ windows @ basis.T) ** 2).double().numpy()
    means = windows.mean(dim=(1, 2)).double().numpy()
    low, high = energy[:, _LOW].mean(axis=1), energy[:, _HIGH].mean(axis=1)
    changing = high > 1e-3  # constant patches are drawn or saturated and tell nothing of noise
    if changing.mean() < LEAST_CHANGING:
        changing[:] = False
    return means[changing], low[changing], high[changing]


def by_brightness(means: Array, low: Array, high: Array, freedom: int) -> tuple[float, float, float, float] | None:
    """(offset, slope, misfit, texture) of the variance of noise before clipping, as it grows with the brightness; None
    where there is too little to judge by.

    means, low, high: of each patch, (N,), its mean, what shows whether it is calm, and a mean of `freedom` squares,
    the noise's variance in a calm one. texture: low over high in calm patches.
    """
    centres, variances, weights, texture = _bins(means, low, high, freedom)
    if weights.sum() <= 0:
        return None
    return *_fit(centres, variances, weights), float(np.average(texture, weights=weights))


def _bins(means: Array, low: Array, high: Array, freedom: int) -> tuple[Array, Array, Array, Array]:
    """For the brightnesses that occur: (brightness, variance of the noise before clipping, weight, texture), each (N,).

    texture: mean square of the lower cosines over that of the highest ones; 1 for white noise on a smooth ground.
    """
    median = 2 * float(special.gammaincinv(freedom / 2, 0.5)) / freedom  # of a mean of squares, whose mean is 1
    rows = []
    bins = np.clip((means / 256 * BINS).astype(int), 0, BINS - 1)
    for number in range(BINS):
        inside = bins == number
        count = int(inside.sum())
        if count < 2 * FEWEST:
            continue
        calm = np.argsort(low[inside])[: max(FEWEST, round(SMOOTHEST * count))]
        variance = float(np.median(high[inside][calm])) / median
        # White noise is as strong in the lower cosines as in the highest ones, texture is stronger there.
        texture = max(1.0, float(np.median(low[inside][calm])) / max(variance, 1e-6))
        mean, variance, kept = _unclipped(float(np.mean(means[inside][calm])), variance)
        rows.append((mean, variance, math.sqrt(count) * (kept / texture) ** 4, texture))
    table = np.array(rows).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def _unclipped(mean: float, variance: float) -> tuple[float, float, float]:
    """Mean and variance of the normal distribution that, clipped to [0, 255], has these; and how far to trust them."""
    guess_mean, guess = mean, math.sqrt(max(variance, 1e-6))
    for _ in range(30):
        clipped_mean, clipped_variance = _clipped(guess_mean, guess)
        guess *= math.sqrt(max(variance, 1e-6) / max(clipped_variance, 1e-6)) if clipped_variance > 0 else 1
        guess = min(guess, 128.0)
        guess_mean += mean - clipped_mean
    kept = float(special.ndtr((255 - guess_mean) / guess) - special.ndtr(-guess_mean / guess))
    return guess_mean, guess**2, kept


def _clipped(mean: float, sigma: float) -> tuple[float, float]:
    """Mean and variance of a normal variable after clipping to [0, 255]."""
    a, b = -mean / sigma, (255 - mean) / sigma
    density_a, density_b = (math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) for t in (a, b))
    below, above = float(special.ndtr(a)), float(special.ndtr(-b))
    middle = 1 - below - above
    first = mean * middle + sigma * (density_a - density_b) + 255 * above
    second = (
        (mean**2 + sigma**2) * middle
        + 2 * mean * sigma * (density_a - density_b)
        + sigma**2 * (a * density_a - b * density_b)
        + 255**2 * above
    )
    return first, max(second - first**2, 0.0)


def _fit(centres: Array, variances: Array, weights: Array) -> tuple[float, float, float]:
    """(offset, slope, misfit) of the line through the variances; slope 0 unless a line explains them much better."""
    (constant, _), misfit = _line(centres, variances, weights, 0)
    span = float(np.ptp(centres[weights > 0.05 * weights.max()]))
    if len(centres) >= 4 and span > LEAST_SPAN:
        (offset, slope), line_misfit = _line(centres, variances, weights, 1)
        grows = offset + slope * centres.max() > 1.5 * max(offset + slope * centres.min(), 0)
        if slope > 0 and grows and line_misfit < 0.5 * misfit:
            return offset, slope, line_misfit
    return constant, 0.0, misfit


def _line(centres: Array, variances: Array, weights: Array, degree: int) -> tuple[tuple[float, float], float]:
    """((offset, slope), relative misfit) of the variances against the brightness.

    Texture only adds to the variance, so what lies above the line counts less at every turn.
    """
    order = np.argsort(variances)
    calm = min(int(np.searchsorted(np.cumsum(weights[order]), 0.35 * weights.sum())), len(order) - 1)
    model = np.full(len(centres), variances[order][calm])
    powers = np.stack([np.ones(len(centres)), centres / 255])[: degree + 1]
    misfit = 0.0
    for _ in range(20):
        excess = variances / np.maximum(model, 1e-3) - 1
        trust = weights / (1 + (excess / np.where(excess > 0, 0.1, 0.3)) ** 2)
        misfit = float(np.sqrt((np.minimum(excess**2, 1) * trust).sum() / trust.sum()))
        scale = np.sqrt(trust) / np.maximum(model, 1e-3)
        found = np.linalg.lstsq((powers * scale).T, variances * scale, rcond=None)[0]
        model = np.maximum(found @ powers, 0.05 * variances.max())
    return (float(found[0]), float(found[1]) / 255 if degree else 0.0), misfit

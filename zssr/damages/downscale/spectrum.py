"""What a picture's power spectrum says of its point spread function."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor

Array = NDArray[np.float64]

LUMA = (0.299, 0.587, 0.114)
WINDOW = 64  # pixels: side of the windows whose spectra are averaged
FEWEST_WINDOWS, MOST_WINDOWS = 4, 400  # too few say nothing; more would change nothing
SATURATED = 0.05  # share of black or white pixels in a window from which it is left out
CONTRAST_SHARE = 0.25  # power of a window's contrast by which it counts more than its own power spectrum makes it
# Bins of the half plane of frequencies: rings, in cycles a pixel, and sectors.
RINGS = np.array([*np.arange(0.03, 0.5, 0.02), 0.5, 0.56])
SECTORS = 12
# The parameters: logarithm of the power at a frequency of exp(-1.5), exponent of its fall, covariance (vertical, mixed,
# horizontal, in pixels²) of the spread, logarithm of the noise's power, two harmonics of the angle. What is expected of
# photographs, and how far they stray.
EXPECTED = np.array([2.0, 2.4, 0.6, 0.0, 0.6, -3.0, 0.0, 0.0, 0.0, 0.0])
DEVIATION = np.array([6.0, 0.4, 2.0, 1.0, 2.0, 2.5, 0.25, 0.25, 0.25, 0.25])
MISFIT, MISFIT_A_SAMPLE = 0.2, 4.0  # of a bin's logarithm: the model's own error, and a variance over its samples
BINS_AS_MANY_AS = 300  # the bins are not independent: together they count as so many
SMALLEST_POWER = 1e-3  # grey levels²


@dataclass(frozen=True)
class SpectralFit:
    """covariance: (vertical, mixed, horizontal) variance of the spread in pixels², as the model has it. deviation: how
    uncertain each of them is, as far as the spectrum tells. exponent: of the scene's power. noise: its power over the
    scene's at a frequency of exp(-1.5). windows: how many were used."""

    covariance: Array
    deviation: Array
    exponent: float
    noise: float
    windows: int


def fit_spectrum(pixels: Tensor) -> SpectralFit | None:
    """The Gaussian whose spread explains the spectrum of a picture (C, H, W) in [0, 1]; None for pictures that are too
    small, or drawn in black and white.

    The mean periodogram of windows is explained by a scene whose power falls with a power of the frequency (Field
    1987), more in some directions than in others, spread by a Gaussian, sampled with its aliases, with white noise. The
    most likely parameters are found by robust least squares of the logarithms.
    """
    mean, windows = _mean_periodogram(pixels)
    if not windows:
        return None
    bins = _bins()
    measured = np.log(bins.average @ mean.ravel() + SMALLEST_POWER)
    weight = np.sqrt(BINS_AS_MANY_AS / len(measured) / (MISFIT**2 + MISFIT_A_SAMPLE / bins.samples))
    start = EXPECTED.copy()
    start[0] = np.average(measured, weights=weight) + 1

    def misfit(parameters: Array) -> Array:
        explained, _ = bins.model(parameters)
        return np.concatenate([(explained - measured) * weight, (parameters - EXPECTED) / DEVIATION])

    def jacobian(parameters: Array) -> Array:
        _, gradient = bins.model(parameters)
        return np.concatenate([gradient * weight[:, None], np.diag(1 / DEVIATION)])

    found = optimize.least_squares(misfit, start, jacobian, loss="soft_l1", max_nfev=60)
    gradient = np.asarray(found.jac)
    variances = np.diag(np.linalg.pinv(gradient.T @ gradient))
    power, exponent, *covariance, noise = found.x[:6].tolist()
    return SpectralFit(np.array(covariance), np.sqrt(variances[2:5]), exponent, noise - power, windows)


def _mean_periodogram(pixels: Tensor) -> tuple[Array, int]:
    """(WINDOW, WINDOW) of grey levels², and of how many windows."""
    shares = LUMA if len(pixels) == 3 else [1 / len(pixels)] * len(pixels)
    grey = sum(share * 255 * plane.detach().cpu() for share, plane in zip(shares, pixels, strict=True)).numpy()
    grey = grey.round()  # the calibration is of whole grey levels, whatever the picture holds
    if min(grey.shape) < WINDOW:
        return np.zeros((WINDOW, WINDOW)), 0
    step = max(WINDOW // 2, math.ceil(math.sqrt(grey.size / MOST_WINDOWS)))
    windows = np.lib.stride_tricks.sliding_window_view(grey, (WINDOW, WINDOW))[::step, ::step]
    windows = windows.reshape(-1, WINDOW, WINDOW)
    used = ((windows >= 254.5) | (windows <= 0.5)).mean((1, 2)) <= SATURATED
    if used.sum() < FEWEST_WINDOWS:
        return np.zeros((WINDOW, WINDOW)), 0
    hann = np.hanning(WINDOW + 2)[1:-1]
    taper = hann[:, None] * hann
    frequency = np.hypot(np.fft.fftfreq(WINDOW)[:, None], np.fft.fftfreq(WINDOW))
    coarse = (frequency > 0.05) & (frequency < 0.12)
    total, weights = np.zeros((WINDOW, WINDOW)), 0.0
    for window in windows[used].astype(np.float64):
        mean = np.average(window, weights=taper)
        power = np.abs(np.fft.fft2((window - mean) * taper)) ** 2 / (taper**2).sum()
        weight = (power[coarse].mean() + 1) ** CONTRAST_SHARE
        total, weights = total + weight * power, weights + weight
    return total / weights, int(used.sum())


@dataclass(frozen=True)
class _Bins:
    """average: (bins, WINDOW²), which makes means of bins of a periodogram. samples: (bins,), of frequencies in each.

    distance, squares, harmonics: of each alias of each bin's middle: (9, bins) logarithm of the frequency, (3, 9, bins)
    what the covariance is multiplied with, (4, 9, bins).
    """

    average: Array
    samples: Array
    distance: Array
    squares: Array
    harmonics: Array

    def model(self, parameters: Array) -> tuple[Array, Array]:
        """(bins,) logarithms of the power, and their gradient (bins, parameters)."""
        power, exponent, noise = parameters[0], parameters[1], parameters[5]
        terms = power - exponent * self.distance - 4 * math.pi**2 * np.tensordot(parameters[2:5], self.squares, 1)
        terms += np.tensordot(parameters[6:], self.harmonics, 1)
        terms = np.concatenate([terms, np.full((1, terms.shape[1]), noise)])
        explained = special.logsumexp(terms, axis=0)
        shares = np.exp(terms - explained)
        scene = shares[:-1]
        gradient = [
            scene.sum(0), -(scene * self.distance).sum(0), *(-4 * math.pi**2 * (scene * self.squares).sum(1)),
            shares[-1], *(scene * self.harmonics).sum(1),
        ]  # fmt: skip
        return explained, np.stack(gradient, 1)


@functools.cache
def _bins() -> _Bins:
    line = np.fft.fftfreq(WINDOW)
    rows, columns = (x.ravel() for x in np.meshgrid(line, line, indexing="ij"))
    distance, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    half = (rows > 0) | ((rows == 0) & (columns > 0))
    # Not on the axes, where the borders of the picture and of JPEG blocks lie.
    inner = (np.minimum(abs(rows), abs(columns)) > 1.5 / WINDOW) & (
        np.maximum(abs(rows), abs(columns)) < 0.5 - 0.5 / WINDOW
    )
    used = half & inner & (distance >= RINGS[0]) & (distance < RINGS[-1])
    ring = np.digitize(distance, RINGS) - 1
    sector = np.minimum((angle % math.pi / (math.pi / SECTORS)).astype(int), SECTORS - 1)
    label = np.where(used, ring * SECTORS + sector, -1)
    average = np.stack([(label == value) / (label == value).sum() for value in np.unique(label[used])])
    middle_distance, middle_angle = average @ distance, average @ (angle % math.pi)
    v, u = middle_distance * np.sin(middle_angle), middle_distance * np.cos(middle_angle)
    v, u = (np.stack([x + n for n in shifts]) for x, shifts in ((v, [-1] * 3 + [0] * 3 + [1] * 3), (u, [-1, 0, 1] * 3)))
    angles = np.arctan2(v, u)
    return _Bins(
        average, 1 / (average**2).sum(1), np.log(np.hypot(u, v)) + 1.5, np.stack([v * v, 2 * u * v, u * u]),
        np.stack([np.cos(2 * angles), np.sin(2 * angles), np.cos(4 * angles), np.sin(4 * angles)]),
    )  # fmt: skip

"""Finding defocus: the rings of frequencies that a disc takes out of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

Array = NDArray[np.float64]

WINDOW = 128  # pixels: side of the windows whose spectra are averaged
MOST_WINDOWS = 200
BINS = 96  # of frequency, from 0 to half a cycle a pixel
SMALLEST_RADIUS, LARGEST_RADIUS = 1.5, 16.0  # pixels: the first ring lies at 0.61 cycles over the radius
LOWEST_FREQUENCY = 0.03  # cycles a pixel; below, a window holds too few cycles
RADII = np.geomspace(SMALLEST_RADIUS, LARGEST_RADIUS, 160)
FLOORS = np.array([1e-5, 1e-4, 1e-3, 1e-2])  # power of what is not blurred, as rounding errors, over the blurred at 0
# Of what other blurs leave unexplained, the share that a disc explains. No picture of the training photographs, as they
# are, enlarged, compressed, or blurred by Gaussians and squares, showed more than none.
LEAST_SHARE = 0.25
HALF_SURE = 0.15  # the share at which the confidence is a half; at three and a third times as much it is 0.9
# Blurs of other shapes, which a disc has to beat: Gaussians, and squares as seen in these directions.
SIGMAS = np.geomspace(0.4, 8, 32)  # pixels
SIDES = np.arange(2, 17)  # pixels
_ANGLES = np.linspace(0, math.pi / 4, 8)
DIRECTIONS = (np.cos(_ANGLES), np.sin(_ANGLES))


@dataclass(frozen=True)
class DefocusTraces:
    """radius: of the disc, in pixels. confidence: 0 to 1."""

    radius: float
    confidence: float


def find_defocus(pixels: Tensor) -> DefocusTraces | None:
    """The disc that a whole picture was spread over, or None where its spectrum shows no rings clearly.

    pixels: (C, H, W) in [0, 1]. The logarithm of the power, averaged over windows and directions, is explained by a
    smooth curve alone, and by one with the rings of a disc, whose zeros lie at fixed ratios (Cannon 1976).
    """
    if min(pixels.shape[-2:]) < WINDOW:
        return None
    frequency, power = _radial_power(pixels)
    smooth = np.stack([np.ones_like(frequency), np.log(frequency), frequency, frequency**2], axis=1)
    # Whatever curve explains the smooth part, this takes it away.
    rest = np.eye(len(frequency)) - smooth @ np.linalg.pinv(smooth)

    def misfits(gains: Array) -> Array:
        """(blurs,): mean square of what each of the blurs' gains (blurs, directions, frequencies), with the best floor
        under it, leaves over."""
        floors = FLOORS[:, None, None, None] * (frequency / 0.5) ** 2
        return np.mean(((power - np.log(gains**2 + floors).mean(2)) @ rest) ** 2, axis=2).min(0)

    discs = misfits(_disc(RADII[:, None, None] * frequency))
    best = int(discs.argmin())
    others = [
        np.ones((1, 1, len(frequency))),
        np.exp(-2 * (math.pi * SIGMAS[:, None, None] * frequency) ** 2),
        np.prod([np.sinc(SIDES[:, None, None] * frequency * part[:, None]) for part in DIRECTIONS], axis=0),
    ]
    unexplained = min(float(misfits(gains).min()) for gains in others)
    share = 1 - float(discs[best]) / max(unexplained, 1e-12)
    return DefocusTraces(float(RADII[best]), 1 - 2 ** (-share / HALF_SURE)) if share > LEAST_SHARE else None


def _disc(cycles: Array) -> Array:
    """What a disc leaves of waves of so many cycles a radius."""
    x = 2 * math.pi * cycles
    return 2 * special.j1(x) / x


def _radial_power(pixels: Tensor) -> tuple[Array, Array]:
    """Frequencies in cycles a pixel, and the logarithm of the power there, mean over directions."""
    grey = (pixels.detach().cpu().mean(0) * 255).double()
    step = max(WINDOW // 2, math.ceil(math.sqrt(grey.numel() / MOST_WINDOWS)))
    windows = grey.unfold(0, WINDOW, step).unfold(1, WINDOW, step).reshape(-1, WINDOW, WINDOW).numpy()
    hann = np.hanning(WINDOW + 2)[1:-1]
    windows = (windows - windows.mean((1, 2), keepdims=True)) * hann[:, None] * hann
    power = np.log((np.abs(np.fft.rfft2(windows)) ** 2).mean(0) + 1e-6)
    radius = np.hypot(np.fft.fftfreq(WINDOW)[:, None], np.fft.rfftfreq(WINDOW))
    bins = np.rint(radius * 2 * BINS).astype(int)
    used = (radius > LOWEST_FREQUENCY) & (radius <= 0.5)
    counts = np.bincount(bins[used], minlength=BINS + 1)
    here = counts > 0
    frequency = np.bincount(bins[used], radius[used], BINS + 1)[here] / counts[here]
    return frequency, np.bincount(bins[used], power[used], BINS + 1)[here] / counts[here]

"""Finding the point spread function of a picture: of its lens and of what made it smaller."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zssr.damages.downscale.gaussian import SMALLEST_SIGMA, Gaussian
from zssr.damages.downscale.spectrum import SpectralFit, fit_spectrum

Array = NDArray[np.float64]

_ANGLES = np.arange(8) * math.pi / 8
# (8, 3): what a covariance (vertical, mixed, horizontal) is multiplied with for the variance along eight directions.
DIRECTIONS = np.stack([np.sin(_ANGLES) ** 2, 2 * np.sin(_ANGLES) * np.cos(_ANGLES), np.cos(_ANGLES) ** 2], 1)


@dataclass(frozen=True)
class Calibration:
    """What a fit is multiplied with to be right on the average of photographs; see `features`.

    widths: for the standard deviation along a direction. error: for the logarithm of the relative error of the widths.
    """

    widths: tuple[float, ...]
    error: tuple[float, ...]


# Measured by tests/calibrate_kernel.py on photographs: made smaller by kernels of their own, or blurred as they are.
SMALL = Calibration(
    widths=(0.1647, 0.5645, 0.0499, 0.0643, -0.1286, 0.1932, -0.0212, -0.0129, 0.0444),
    error=(0.245, -1.348, 0.031, 0.035, -2.233),
)
OWN_SIZE = Calibration(
    widths=(0.3166, -0.8403, 0.1056, -0.2029, -0.0367, 0.3341, -0.002, 0.05, 1.2112),
    error=(-0.28, -0.144, 0.201, -0.058, -0.7),
)
# An error of the widths by so many pixels, or such a share, whichever is more, does little harm.
HARMLESS, HARMLESS_SHARE = 0.12, 0.2
# Pixels. Photographs that bicubic interpolation had made smaller showed less, but for three of a hundred; those that
# nothing had blurred showed less, but for one of a hundred.
LEAST_OF_SMALL, LEAST_OF_OWN_SIZE = 0.55, 0.82
TOLD_BICUBIC = 0.97


@dataclass(frozen=True)
class Spread:
    """The point spread function of a picture. gaussian: in its own pixels. error: expected of its widths, relative."""

    gaussian: Gaussian
    error: float

    @property
    def confidence(self) -> float:
        """How likely the widths are right, but for what does little harm."""
        harmless = max(HARMLESS / self.gaussian.minor, HARMLESS_SHARE)
        return math.erf(harmless / self.error / math.sqrt(2))

    def exceeds(self, pixels: float, width: float) -> bool:
        """Whether a width is larger than so many pixels, by more than its error."""
        return width * (1 - self.error) > pixels


def features(fit: SpectralFit) -> Array:
    """(8, 9): what the spread along each of DIRECTIONS is told from."""
    along = DIRECTIONS @ fit.covariance
    first = np.stack(
        [along, np.sqrt(np.maximum(along, 0)), np.full(8, fit.covariance[[0, 2]].sum()), np.full(8, fit.exponent)], 1
    )
    return np.concatenate([first, first**2, np.ones((8, 1))], 1)


def error_features(fit: SpectralFit, gaussian: Gaussian) -> Array:
    """(5,): what the error of the calibrated widths is told from."""
    deviation = float(fit.deviation[[0, 2]].mean())
    return np.array([math.log(deviation), math.log(gaussian.minor), fit.noise, math.log(fit.windows), 1])


def spread_of(fit: SpectralFit, calibration: Calibration) -> Spread:
    """The fit, calibrated."""
    widths = np.maximum(features(fit) @ calibration.widths, SMALLEST_SIGMA)
    covariance, *_ = np.linalg.lstsq(DIRECTIONS, widths**2, rcond=None)
    gaussian = Gaussian.of_covariance(*covariance.tolist())
    return Spread(gaussian, math.exp(float(error_features(fit, gaussian) @ calibration.error)))


def find_spread(pixels: Tensor, calibration: Calibration) -> Spread | None:
    """That of a picture (C, H, W) in [0, 1]; None where it is too small to tell."""
    fit = fit_spectrum(pixels)
    return None if fit is None else spread_of(fit, calibration)

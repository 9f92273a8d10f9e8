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
    widths=(0.579, -0.1796, 0.0072, 0.0589, -0.0094, -0.3783, 0.6223, -0.0057, -0.0118, -0.0008, 0.2047),
    error=(0.087, -1.002, 0.067, 0.04, -2.279),
)
OWN_SIZE = Calibration(
    widths=(0.101, 0.2528, 0.0945, -0.0283, 0.1568, -0.0194, 0.11, -0.0013, 0.005, 0.0101, 0.9546),
    error=(0.065, -0.22, 0.167, -0.071, -0.542),
)
# An error of the widths by so many pixels, or such a share, whichever is more, does little harm.
HARMLESS, HARMLESS_SHARE = 0.12, 0.2
# Pixels. Photographs that bicubic interpolation had made smaller showed less, but for three of a hundred; those that
# nothing had blurred showed less, but for one of a hundred.
LEAST_OF_SMALL, LEAST_OF_OWN_SIZE = 0.55, 0.72
TOLD_BICUBIC = 0.97


@dataclass(frozen=True)
class PointSpread:
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
    """(8, 11): what the spread along each of DIRECTIONS is told from."""
    along = DIRECTIONS @ fit.covariance
    same = [fit.covariance[[0, 2]].sum(), fit.exponent, fit.noise]
    first = np.column_stack([along, np.sqrt(np.maximum(along, 0)), np.tile(same, (8, 1))])
    return np.concatenate([first, first**2, np.ones((8, 1))], 1)


def error_features(fit: SpectralFit, gaussian: Gaussian) -> Array:
    """(5,): what the error of the calibrated widths is told from."""
    deviation = float(fit.deviation[[0, 2]].mean())
    return np.array([math.log(deviation), math.log(gaussian.minor), fit.noise, math.log(fit.windows), 1])


def point_spread_of(fit: SpectralFit, calibration: Calibration) -> PointSpread:
    """The fit, calibrated."""
    widths = np.maximum(features(fit) @ calibration.widths, SMALLEST_SIGMA)
    covariance, *_ = np.linalg.lstsq(DIRECTIONS, widths**2, rcond=None)
    gaussian = Gaussian.of_covariance(*covariance.tolist())
    return PointSpread(gaussian, math.exp(float(error_features(fit, gaussian) @ calibration.error)))


def find_point_spread(pixels: Tensor, calibration: Calibration) -> PointSpread | None:
    """That of a picture (C, H, W) in [0, 1]; None where it is too small to tell."""
    fit = fit_spectrum(pixels)
    return None if fit is None else point_spread_of(fit, calibration)

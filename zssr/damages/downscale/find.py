"""Finding the point spread function of a picture: of its lens and of what made it smaller."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zssr.damages.downscale.gaussian import SMALLEST_SIGMA, Gaussian
from zssr.damages.downscale.operator import Downscale
from zssr.damages.downscale.spectrum import SpectralFit, fit_spectrum

Array = NDArray[np.float64]

_ANGLES = np.arange(8) * math.pi / 8
# (8, 3): what a covariance (vertical, mixed, horizontal) is multiplied with for the variance along eight directions.
DIRECTIONS = np.stack([np.sin(_ANGLES) ** 2, 2 * np.sin(_ANGLES) * np.cos(_ANGLES), np.cos(_ANGLES) ** 2], 1)


@dataclass(frozen=True)
class Calibration:
    """What a fit is multiplied with to be right on the average of photographs; see `features`.

    widths: for the standard deviation along a direction. error: for the logarithm of the relative error of the widths.
    widest: the largest width of a fit, in pixels, that it was measured for.
    """

    widths: tuple[float, ...]
    error: tuple[float, ...]
    widest: float = math.inf


# Measured by tests/calibrate_kernel.py on photographs: made smaller by kernels of their own, or blurred as they are.
SMALL = Calibration(
    widths=(0.5847, -0.1814, 0.0073, 0.0594, -0.0095, -0.3821, 0.6285, -0.0057, -0.0119, -0.0008, 0.2067),
    error=(0.209, -1.071, 0.045, 0.027, -2.132),
    widest=1.1,
)
OWN_SIZE = Calibration(
    widths=(0.1034, 0.2589, 0.0968, -0.0289, 0.1606, -0.0199, 0.1126, -0.0013, 0.0051, 0.0103, 0.9774),
    error=(0.403, -0.99, 0.108, -0.062, -0.34),
    widest=2.8,
)
# An error of the widths by so many pixels, or such a share, whichever is more, does little harm.
HARMLESS, HARMLESS_SHARE = 0.12, 0.2
# Pixels. Photographs that bicubic interpolation had made smaller showed less, but for three of a hundred; those that
# nothing had blurred showed less, but for one of a hundred. MOST_OF_SHARP: surely not more than as sharp as bicubic.
LEAST_OF_SMALL, LEAST_OF_OWN_SIZE, MOST_OF_SHARP = 0.55, 0.72, 0.9
MOST_NOISE_OF_SHARP = -6.5  # see SpectralFit; photographs have -7.7 and less, noise of three grey levels makes it -5
TOLD_BICUBIC = 0.97
# Grey levels. Photographs, with noise of up to 4 grey levels, differed by less than 1.8 from what the kernel read from
# them can have left; drawings and text by more than 6.
LARGEST_MISFIT = 2.0
PROBES, PROBE_SIDE, PROBE_BORDER, PROBE_STEPS = 4, 64, 8, 15


@dataclass(frozen=True)
class PointSpread:
    """The point spread function of a picture. gaussian: in its own pixels. error: expected of its widths, relative;
    infinite where it is wider than what the calibration was measured for. noise: see SpectralFit."""

    gaussian: Gaussian
    error: float
    noise: float

    @property
    def confidence(self) -> float:
        """How likely the widths are right, but for what does little harm."""
        harmless = max(HARMLESS / self.gaussian.minor, HARMLESS_SHARE)
        return math.erf(harmless / self.error / math.sqrt(2))

    def exceeds(self, pixels: float, width: float) -> bool:
        """Whether a width is larger than so many pixels, by more than its error."""
        return math.isinf(self.error) or width * (1 - self.error) > pixels

    @property
    def is_sharp(self) -> bool:
        """Whether no width can be much more than what bicubic interpolation leaves, and no noise hides it."""
        return self.gaussian.major * (1 + self.error) < MOST_OF_SHARP and self.noise < MOST_NOISE_OF_SHARP

    @property
    def simplest(self) -> Gaussian:
        """Round, if one axis may be longer by chance alone: a round kernel keeps all flips and rotations."""
        gaussian = self.gaussian
        if math.isinf(self.error) or gaussian.major > gaussian.minor * (1 + 2 * self.error):
            return gaussian
        sigma = math.sqrt(gaussian.major * gaussian.minor)
        return Gaussian(sigma, sigma)


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
    return PointSpread(gaussian, math.exp(float(error_features(fit, gaussian) @ calibration.error)), fit.noise)


def find_point_spread(pixels: Tensor, *calibrations: Calibration) -> PointSpread | None:
    """That of a picture (C, H, W) in [0, 1]; None where too little of it says anything, see `fit_spectrum`.

    calibrations: the first that was measured for so wide a fit is taken; of wider ones nothing sure is known.
    """
    fit = fit_spectrum(pixels)
    if fit is None:
        return None
    width = math.sqrt(max(0.0, float(fit.covariance[[0, 2]].mean())))
    fitting = [calibration for calibration in calibrations if width <= calibration.widest]
    if fitting:
        return point_spread_of(fit, fitting[0])
    return PointSpread(Gaussian.of_covariance(*fit.covariance.tolist()), math.inf, fit.noise)


def consistent_gaussian(pixels: Tensor, spread: PointSpread, factor: int) -> Gaussian | None:
    """The Gaussian that was read, or 0.8 times as wide, if the picture is too sharp for it; None if for that too.

    See `_contradict`. Too narrow a kernel costs less than too wide a one.
    """
    probes = _sharpest(pixels.mean(0)[None, None])
    for share in (1.0, 0.8):
        gaussian = spread.simplest.scaled(share, share)
        if not _contradict(probes, gaussian, factor):
            return gaussian
    return None


def _contradict(probes: Tensor, gaussian: Gaussian, factor: int) -> bool:
    """Whether pieces (n, 1, H, W) have edges that are too sharp to be what a Gaussian left of anything.

    gaussian: in pixels of the picture. factor: how many times larger the picture before may be; 1 or 2.
    """
    scale = (Fraction(1, factor), Fraction(1, factor))
    damage = Downscale(scale, gaussian.scaled(factor, factor).name)
    size = (factor * probes.shape[-2], factor * probes.shape[-1])
    estimate = damage.base(probes, size).clamp_(0, 1)
    for _ in range(PROBE_STEPS):
        estimate = damage.plain(probes - damage.degrade(estimate), size).add_(estimate).clamp_(0, 1)
    misfit = (damage.degrade(estimate) - probes)[..., PROBE_BORDER:-PROBE_BORDER, PROBE_BORDER:-PROBE_BORDER]
    return float(misfit.square().mean((1, 2, 3)).sqrt().max()) * 255 > LARGEST_MISFIT


def _sharpest(grey: Tensor) -> Tensor:
    """(n, 1, side, side) pieces of a picture (1, 1, H, W) with the largest second differences."""
    side = min(PROBE_SIDE, *grey.shape[-2:])
    rows, columns = (range(0, length - side + 1, side) for length in grey.shape[-2:])
    pieces = torch.cat([grey[..., y : y + side, x : x + side] for y in rows for x in columns])
    sharpness = pieces.diff(n=2, dim=-1).square().mean((1, 2, 3)) + pieces.diff(n=2, dim=-2).square().mean((1, 2, 3))
    return pieces[sharpness.topk(min(PROBES, len(pieces))).indices]

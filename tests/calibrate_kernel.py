"""Calibrates what damages/downscale/find.py makes of a spectral fit, on photographs that are blurred by known kernels.

python -m tests.calibrate_kernel PHOTOGRAPHS prints the numbers of Calibration for SMALL and OWN_SIZE, and how far off
they are on photographs kept apart from them. PHOTOGRAPHS: a folder; of its pictures, in the order of their names, every
fifth is kept apart.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from zssr import files
from zssr.damages.downscale import Downscale
from zssr.damages.downscale.find import DIRECTIONS, Calibration, error_features, features, point_spread_of
from zssr.damages.downscale.gaussian import Gaussian
from zssr.damages.downscale.spectrum import LUMA, SpectralFit, fit_spectrum
from zssr.image import as_stored

SAMPLES = 4  # of each photograph
SIDES = (160, 1024)  # pixels, of the blurred pictures
RIDGE = 5.0

Truth = np.ndarray  # (vertical, mixed, horizontal) variance in pixels² of the blurred picture


def noisy_gaussian(rng: np.random.Generator, factor: int, noise: float = 0.25) -> np.ndarray:
    """As of DIV2KRK: variances of 0.35 to 5 for a factor of 2, any direction, weights that vary by up to `noise`."""
    share = (factor / 2) ** 2
    widths = np.sqrt(rng.uniform(0.35, 5, 2) * share)
    gaussian = Gaussian(float(widths.max()), float(widths.min()), float(rng.uniform(0, 180)))
    reach = 5 if factor == 2 else round(7 * factor / 3)
    weights = gaussian.weights().numpy()
    middle = len(weights) // 2
    weights = np.pad(weights, max(0, reach - middle))
    middle = len(weights) // 2
    weights = weights[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    weights = weights * (1 + rng.uniform(-noise, noise, weights.shape))
    return weights / weights.sum()


def moments(weights: np.ndarray) -> Truth:
    """Of weights that sum to one."""
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    rows = rows - (weights * rows).sum()
    columns = columns - (weights * columns).sum()
    return np.array([(weights * part).sum() for part in (rows * rows, rows * columns, columns * columns)])


def smaller(x: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, Truth]:
    """Made smaller by a kernel of its own."""
    factor = int(rng.choice([2, 2, 3, 4]))
    kernel = noisy_gaussian(rng, factor)
    scale = (Fraction(1, factor), Fraction(1, factor))
    return Downscale(scale, tuple(map(tuple, kernel.tolist()))).degrade(x), moments(kernel) / factor**2


def blurred(x: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, Truth]:
    """At its own size, half of them by round Gaussians."""
    widths = np.exp(rng.uniform(math.log(0.7), math.log(2.8))) * np.array([1, rng.choice([1, rng.uniform(0.7, 1)])])
    gaussian = Gaussian(float(widths.max()), float(widths.min()), float(rng.uniform(0, 180)))
    return Downscale((Fraction(1), Fraction(1)), gaussian.name).degrade(x), np.array(gaussian.covariance)


def samples(paths: list[Path], make, rng: np.random.Generator) -> list[tuple[SpectralFit, Truth]]:
    """The fits of blurred photographs, and the truth."""
    found = []
    for path in paths:
        whole = files.load(path).pixels
        grey = torch.tensordot(torch.tensor(LUMA), whole, 1)[None, None]
        for _ in range(SAMPLES):
            y, truth = make(grey, rng)
            side = int(np.exp(rng.uniform(*np.log(SIDES))))
            height, width = (min(side, length) for length in y.shape[-2:])
            top, left = (int(rng.integers(a - b + 1)) for a, b in zip(y.shape[-2:], (height, width), strict=True))
            fit = fit_spectrum(as_stored(y, 255)[0, :, top : top + height, left : left + width])
            if fit is not None:
                found.append((fit, truth))
    return found


def calibrated(found: list[tuple[SpectralFit, Truth]]) -> Calibration:
    """By least squares of the relative errors of the standard deviations along DIRECTIONS; then of the logarithms of
    what they are off by."""
    seen = np.concatenate([features(fit) for fit, _ in found])
    true = np.concatenate([np.sqrt(DIRECTIONS @ truth) for _, truth in found])
    spread = seen.std(0)
    spread[-1] = 1  # the constant
    scaled = seen / spread / true[:, None]
    widths = np.linalg.solve(scaled.T @ scaled + RIDGE * np.eye(len(spread)), scaled.sum(0)) / spread
    calibration = Calibration(tuple(widths.tolist()), (0.0,) * 5)
    # Least squares of relative errors read a little too narrow; the mean of the logarithms is to be right.
    widths /= np.exp(np.mean([error_of(fit, truth, calibration) for fit, truth in found]))
    calibration = Calibration(tuple(widths.round(4).tolist()), (0.0,) * 5)
    errors = [np.log(np.sqrt(np.mean(error_of(fit, truth, calibration) ** 2)) + 1e-3) for fit, truth in found]
    known = np.array([error_features(fit, point_spread_of(fit, calibration).gaussian) for fit, _ in found])
    error, *_ = np.linalg.lstsq(known, np.array(errors), rcond=None)
    error[-1] += 0.5  # from a mean of logarithms to a root mean square
    return Calibration(calibration.widths, tuple(error.round(3).tolist()))


def error_of(fit: SpectralFit, truth: Truth, calibration: Calibration) -> np.ndarray:
    """Of the logarithms of both widths."""
    spread = point_spread_of(fit, calibration).gaussian
    true = Gaussian.of_covariance(*truth)
    return np.array([math.log(spread.major / true.major), math.log(spread.minor / true.minor)])


def report(found: list[tuple[SpectralFit, Truth]], calibration: Calibration) -> None:
    errors = np.array([error_of(fit, truth, calibration) for fit, truth in found])
    told = np.array([point_spread_of(fit, calibration).error for fit, _ in found])
    print(f"  {len(found)} apart: root mean square of the logarithms {np.sqrt((errors**2).mean(0)).round(3)} (major,"
          f" minor), median {np.median(abs(errors), 0).round(3)}, mean {errors.mean(0).round(3)}")  # fmt: skip
    for low, high in ((0, 0.06), (0.06, 0.09), (0.09, 0.14), (0.14, 9)):
        part = errors[(told >= low) & (told < high)]
        if len(part):
            print(f"    error foreseen {low:g} to {high:g}: {len(part)}, found {np.sqrt((part**2).mean()):.3f}")


def main() -> None:
    paths = sorted(Path(sys.argv[1]).iterdir())
    apart = paths[::5]
    for name, make in (("SMALL", smaller), ("OWN_SIZE", blurred)):
        learned = calibrated(samples([path for path in paths if path not in apart], make, np.random.default_rng(0)))
        print(f"{name} = {learned}")
        report(samples(apart, make, np.random.default_rng(1)), learned)


if __name__ == "__main__":
    main()

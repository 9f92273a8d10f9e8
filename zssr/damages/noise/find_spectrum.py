"""Finding noise that is not white: cameras, resizing and compression shape it, in luma another way than in colour."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zssr.damages.noise.find import LEAST_SIGMA, NoiseTraces, by_brightness
from zssr.damages.noise.planes import RGB, planes_of
from zssr.dct_shrinkage import DCT_SIDE, dct_matrix

Array = NDArray[np.float64]

SMALLEST_SIDE = 4 * DCT_SIDE
FINE_SIDE, LARGEST_SIDE = 768, 2048  # of the part that is looked at: patches overlap by half up to the first
CALMEST = 0.01  # share of the patches that is measured
CALM = 0.04  # share of the patches that is as strong if it shows noise, and not if it shows texture
FEWEST = 200  # patches
ROUNDS = 4
WORST = 3  # of the eight patches around one, by which it is judged
CLIPPED = 2.5  # standard deviations from black and white within which noise is clipped
LEAST_CLEAR = 0.3  # share of the patches
STEADY_GROWTH = 1.1  # towards low frequencies, of a spectrum that falls there
WHITE = 1.3  # the strongest part of a white spectrum over the weakest
LEAST_PLANE = 1e-3  # share of the strongest plane's variance; a plane with less holds no noise
UNEVEN = 0.43  # deviation of the logarithm of calm patches' strength that texture has, and noise does not
LEAST_CONFIDENCE = 0.85  # below, the calmest parts may be texture

_ORDER = np.add.outer(np.arange(DCT_SIDE), np.arange(DCT_SIDE)).ravel()
_LOWEST, _LOW, _NEXT, _MIDDLE, _HIGH = (
    np.isin(_ORDER, some) for some in ((1, 2), (3, 4), (5, 6), (7, 8), range(9, 15))
)
_TELLING = _ORDER >= 3  # lower ones hold shading too
_SURVIVING = _TELLING & (_ORDER <= 5)  # most compression
_NEVER = 1e9  # strength around a patch that is not to be looked at
_MEDIAN = 0.455  # of the square of a normal variable


def find_spectrum(pixels: Tensor) -> NoiseTraces | None:
    """Noise of which some frequencies are stronger than others, or None where there is none or it is white.

    pixels: (C, H, W) in [0, 1]. The spectrum is that of the calmest patches. A patch is judged by those around it: its
    own coefficients, chosen for being small, would measure too little.
    """
    if min(pixels.shape[-2:]) < SMALLEST_SIDE:
        return None
    coefficients, apart = _coefficients(pixels)
    means = coefficients[..., 0, 0] / (DCT_SIDE * len(pixels) ** 0.5)
    squares = _without_shading(coefficients, apart) ** 2
    power = np.ones(squares.shape[2:])
    for _ in range(ROUNDS):
        around = _around((squares / power)[..., 1:].mean((2, 3)), apart)
        reach = CLIPPED * math.sqrt(power.mean())
        clipped = (means < reach) | (means > 255 - reach)
        around[clipped] = _NEVER
        clear = int((~clipped).sum())
        if clear < max(FEWEST, LEAST_CLEAR * around.size):
            return None
        calmest = np.argsort(around, axis=None)[: max(FEWEST, round(CALMEST * clear))]
        power = _power(squares.reshape(-1, *power.shape)[calmest])
    if _is_white(power):
        return None
    offset, slope = _line(means, around, squares, power)
    variance = offset + slope * float(pixels.double().mean()) * 255
    surviving = squares[..., _SURVIVING].sum((2, 3)) / np.maximum(offset + slope * means, 0.05 * variance)
    calm = np.argsort(around, axis=None)[: max(FEWEST, round(CALM * clear))]
    uneven = _unevenness(surviving, calm, apart)
    confidence = 1 - (uneven / UNEVEN) ** 3
    # The growth of noise that is weak where it was measured may be that of texture.
    if min(variance, power.mean()) < LEAST_SIGMA**2 or confidence < LEAST_CONFIDENCE:
        return None
    spectrum = np.sqrt(power / power.mean())
    return NoiseTraces(math.sqrt(variance), slope, offset, confidence, tuple(map(tuple, spectrum.round(3).tolist())))


def _coefficients(pixels: Tensor) -> tuple[Array, int]:
    """(rows, columns, planes, 64) of patches in the middle of the picture, in grey levels; and how many rows or columns
    lie between patches that do not overlap."""
    fine = max(pixels.shape[-2:]) <= FINE_SIDE
    top, left = (max(0, length - LARGEST_SIDE) // 2 for length in pixels.shape[-2:])
    planes = pixels[:, top : top + LARGEST_SIDE, left : left + LARGEST_SIDE].detach().cpu() * 255
    if len(planes) == RGB:
        planes = torch.einsum("kc,chw->khw", planes_of(None, planes.device)[0], planes)
    step = DCT_SIDE // 2 if fine else DCT_SIDE
    patches = planes.unfold(1, DCT_SIDE, step).unfold(2, DCT_SIDE, step)
    coefficients = (dct_matrix() @ patches @ dct_matrix().T).flatten(3).permute(1, 2, 0, 3)
    return coefficients.double().numpy(), DCT_SIDE // step


def _without_shading(coefficients: Array, apart: int) -> Array:
    """Without the gradient that the means of a patch's neighbours show."""
    ramp = float((dct_matrix()[1] * torch.arange(DCT_SIDE)).sum()) / (2 * DCT_SIDE * math.sqrt(DCT_SIDE))
    means = np.pad(coefficients[..., 0], ((apart, apart), (apart, apart), (0, 0)), mode="edge")
    flat = coefficients.copy()
    flat[..., 1] -= ramp * (means[apart:-apart, 2 * apart :] - means[apart:-apart, : -2 * apart])
    flat[..., DCT_SIDE] -= ramp * (means[2 * apart :, apart:-apart] - means[: -2 * apart, apart:-apart])
    return flat


def _neighbours(strengths: Array, apart: int) -> Array:
    """(9, rows, columns): of each patch, itself in the middle, those around it, mirrored at the borders."""
    rows, columns = strengths.shape
    padded = np.pad(strengths, apart, mode="reflect")
    shifts = (0, apart, 2 * apart)
    return np.stack([padded[down : down + rows, right : right + columns] for down in shifts for right in shifts])


def _around(strengths: Array, apart: int) -> Array:
    """(rows, columns): how strong the strongest of the patches around each one are."""
    return np.sort(np.delete(_neighbours(strengths, apart), 4, 0), 0)[-WORST:].mean(0)


def _power(squares: Array) -> Array:
    """(planes, 64), the variance of each coefficient, from (N, planes, 64) of calm patches."""
    telling = squares[..., _TELLING].sum((1, 2))
    squares = squares[telling <= np.quantile(telling, 0.95)]
    power: Array = squares.mean(0) + 0.01
    power[:, _LOWEST] = np.minimum(power, np.median(squares, 0) / _MEDIAN + 0.01)[:, _LOWEST]  # some show shading
    # Brightness is shaded most. The spectrum of noise flattens towards low frequencies.
    low, following = power[0, _LOW].mean(), power[0, _NEXT].mean()
    power[0, _LOWEST] = np.minimum(power[0, _LOWEST], low * max(low / following, STEADY_GROWTH))
    power[:, 0] = power[:, [1, DCT_SIDE]].mean(1)
    return power


def _is_white(power: Array) -> bool:
    """Whether all frequencies are as strong, in the differences of colour, where there is little texture."""
    strong = power[power.mean(1) > LEAST_PLANE * power.mean(1).max()]
    groups = np.stack([strong[:, group].mean(1) for group in (_LOW, _NEXT, _MIDDLE, _HIGH)])
    ratios = groups.max(0) / groups.min(0)
    return bool(ratios[1 if len(ratios) > 1 else 0 :].max() < WHITE**2)


def _line(means: Array, around: Array, squares: Array, power: Array) -> tuple[float, float]:
    """(offset, slope) of the variance, as in NoiseTraces."""
    variance = float(power.mean())
    telling = power[:, _TELLING]
    energy = squares[..., _TELLING].sum((2, 3)) * (variance / telling.sum())
    freedom = round(telling.sum() ** 2 / (telling**2).sum())
    line = by_brightness(means.ravel(), around.ravel() * variance, energy.ravel(), freedom)
    return (variance, 0.0) if line is None or not line[1] else line[:2]


def _unevenness(energy: Array, calm: NDArray[np.intp], apart: int) -> float:
    """Deviation of the logarithm of how strong the calm patches are, each with those around it, below their median."""
    logarithms = np.log(_neighbours(energy, apart).mean(0).ravel()[calm] + 1e-6)
    low, middle = np.quantile(logarithms, (0.1, 0.5))
    return float(middle - low) / 1.28

"""Finding by which factor, and with which filter, a picture was enlarged.

Interpolation leaves neighbouring pixels alike in a way that repeats with the small picture's grid (Gallagher 2005): the
spectrum of their differences has peaks there, which say what factors are possible. Each of these is then tried: only at
the right one is the picture what enlarging anything by it could have made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from zssr.damages.enlarged.filters import FILTERS, Array, Enlarging
from zssr.resample import Size

SMALLEST_FACTOR, LARGEST_FACTOR = 1.15, 6.0
SIDE = 512  # pixels of the part that is looked at, a multiple of a JPEG grid's 16
SMALLEST_SIDE = 128  # of a picture that is looked at
# How many peaks of a spectrum are tried with which filter: bicubic comes near enough to all that are smooth; repeated
# pixels make the highest peaks.
PEAKS = {"bicubic": 16, **{name: 3 for name, filter in FILTERS.items() if filter.repeats}}
LOWEST_FREQUENCY = 0.04  # cycles a pixel, of a peak
SMOOTH = 15  # pixels to each side, over which differences are averaged to be compared with
PADDED = 4096  # samples of a spectrum
BLOCK = 16  # pixels along a line, over which errors are averaged
ROUNDING = 0.1  # grey levels squared, of errors that say nothing
BORDER = 16  # pixels at the ends of a piece of a line, where less is known
FEW_LINES, LINES = 32, 192
PROMISING = 2.5  # standard deviations by which few lines have to stand out for more to be looked at
NEIGHBOURS = (-6, -5, -4, -3, 3, 4, 5, 6)  # half pixels of the small part: too far away to fit at all
BLOCK_SIDE = 8  # of JPEG compression, and twice that of colour filters in cameras: their grids leave traces too
NEAR_BLOCKS = 0.006
SURE_GAIN = 0.2
SURE_GAIN_OF_BLOCKS = (1.3, 0.42)  # JPEG's, and cameras'
REPEATED = 2  # times as much is seen where pixels were repeated
MOST_TRIED = 6
LEAST_DEVIATIONS = 6.0  # of what the sizes near it leave over, by which the right one stands out
LEAST_SPREAD = 0.003  # of the neighbours' errors, in logarithms


@dataclass(frozen=True)
class EnlargedTraces:
    """size: (height, width) of the picture before. share: how much better it explains the picture than sizes near it
    do, over what is enough to be sure."""

    size: Size
    share: float


def find_enlarged(luma: Tensor, size: Size, corner: Size) -> EnlargedTraces | None:
    """What stands out most; None where nothing does.

    luma: (H, W) in grey levels of 255, the part that begins at `corner` of a picture of `size` (height, width).
    """
    if min(luma.shape) < SMALLEST_SIDE:
        return None
    directions = _directions(luma, size, corner)
    tried = [
        (fit.gain, name, fit.factor)
        for direction in directions
        for name, count in PEAKS.items()
        for factor in direction.candidates(count)
        if (fit := direction.fit(name, factor, FEW_LINES)).deviations > _enough(name, PROMISING)
    ]
    best = None
    for _, name, factor in sorted(tried, reverse=True)[:MOST_TRIED]:
        fits = [direction.fit(name, factor, LINES) for direction in directions]
        gain = sum(fit.gain for fit in fits)
        deviations = gain / math.hypot(*(fit.spread for fit in fits))
        share = gain / _needed(name, fits[0].factor)
        if deviations > _enough(name, LEAST_DEVIATIONS) and (best is None or share > best.share):
            best = EnlargedTraces((fits[0].length, fits[1].length), share)
    return best


def best_filter(luma: Tensor, size: Size, small: Size, corner: Size) -> tuple[str, float]:
    """The key of FILTERS that explains best how a picture of `small` (height, width) became one of `size`, bicubic
    where there is too little to judge by; and what it leaves unexplained, typically, in grey levels. luma, corner: as
    of `find_enlarged`."""
    if min(luma.shape) < SMALLEST_SIDE:
        return "bicubic", math.nan
    directions = _directions(luma, size, corner)
    errors = {
        name: sum(direction.error(name, length, LINES) for direction, length in zip(directions, small, strict=True))
        for name in FILTERS
    }
    name = min(errors, key=errors.__getitem__)
    return name, math.exp(errors[name] / 4)  # of two directions, and squared


def _directions(luma: Tensor, size: Size, corner: Size) -> tuple[_Direction, _Direction]:
    part = luma.detach().cpu().double().numpy()
    return _Direction(part, size[0], corner[0]), _Direction(part.T, size[1], corner[1])


def is_of_blocks(factor: float) -> bool:
    """Whether the blocks of JPEG compression leave the traces of such a factor."""
    periods = BLOCK_SIDE / factor
    return abs(periods - round(periods)) <= NEAR_BLOCKS * periods


def _needed(name: str, factor: float) -> float:
    """Gain, of both directions together, from which a filter and a factor are sure."""
    gain = SURE_GAIN_OF_BLOCKS[round(BLOCK_SIDE / factor) in (1, 2, 4)] if is_of_blocks(factor) else SURE_GAIN
    return gain * REPEATED if FILTERS[name].repeats else gain


def _enough(name: str, deviations: float) -> float:
    """What is enough for a filter: where pixels were repeated, sizes near the right one differ among themselves."""
    return deviations / 3 if FILTERS[name].repeats else deviations


@dataclass(frozen=True)
class _Fit:
    """length: of the whole small line. gain, spread: see EnlargedTraces; the spread is that of the sizes near it."""

    length: int
    factor: float
    gain: float
    spread: float

    @property
    def deviations(self) -> float:
        return self.gain / self.spread


class _Direction:
    """One direction of a part of a picture. lines: (count, N), from sample `first` of `whole` on."""

    def __init__(self, lines: Array, whole: int, first: int) -> None:
        self.lines, self.whole, self.first = lines, whole, first

    def candidates(self, count: int) -> list[float]:
        """Factors at whose grid neighbouring pixels are more or less alike than elsewhere, of so many peaks."""
        peaks = _peaks(self.lines)[:count]
        factors = [factor for peak in peaks for factor in (1 / peak, 1 / (1 - peak))]
        return [factor for factor in factors if SMALLEST_FACTOR <= factor <= LARGEST_FACTOR]

    def fit(self, name: str, factor: float, count: int) -> _Fit:
        """The size that explains `count` lines best, of those that are about `factor` times smaller."""
        step = 0.5 * self.whole / len(self.lines)
        middle = self.whole / factor
        lengths = dict.fromkeys(round(middle + move * step) for move in range(-2, 3))
        errors = {length: self.error(name, length, count) for length in lengths if length > 1}
        best = min(errors, key=errors.__getitem__)
        near = [self.error(name, max(2.0, best + move * step), count) for move in NEIGHBOURS]
        return _Fit(best, self.whole / best, float(np.median(near)) - errors[best], float(np.std(near)) + LEAST_SPREAD)

    def error(self, name: str, length: float, count: int) -> float:
        """Mean logarithm of the square of what enlarging lines of `length` samples cannot have made."""
        chosen = np.linspace(0, self.lines.shape[1] - 1, min(count, self.lines.shape[1])).astype(int)
        lines = self.lines[:, chosen]
        step = length / self.whole
        enlarging = Enlarging(name, step, self.first, len(lines))
        rest = (lines - enlarging.enlarged(enlarging.small(lines)))[BORDER:-BORDER]
        blocks = rest[: len(rest) // BLOCK * BLOCK].reshape(-1, BLOCK, rest.shape[1])
        return float(np.log(np.square(blocks).mean(1) / (1 - step) + ROUNDING).mean())


def _peaks(lines: Array) -> list[float]:
    """The frequencies, in cycles a pixel, that stand out most in how much neighbours along (count, N) differ."""
    spectra = []
    for order in (1, 2):  # the first shows a factor of 2, the second most others
        steps = np.log(np.abs(np.diff(lines, order, axis=0)) + 1).mean(1)
        around = np.convolve(np.pad(steps, SMOOTH, "reflect"), np.ones(2 * SMOOTH + 1) / (2 * SMOOTH + 1), "valid")
        spectrum = np.abs(np.fft.rfft((steps - around) * np.hanning(len(steps)), PADDED))
        spectrum[: int(LOWEST_FREQUENCY * PADDED)] = 0
        spectra.append(spectrum / np.median(spectrum[spectrum > 0]) if spectrum.any() else spectrum)
    strength = np.maximum(*spectra)
    reach = int(1.5 * PADDED / len(lines)) + 1  # of one peak
    peaks = []
    for _ in range(max(PEAKS.values())):
        place = int(strength.argmax())
        if strength[place] == 0:
            break
        peaks.append(place / PADDED)
        strength[max(0, place - reach) : place + reach + 1] = 0
    return peaks

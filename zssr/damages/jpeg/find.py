"""Traces of JPEG compression, found from the pixels alone.

A decoded JPEG's luma, cut into 8x8 blocks on the right grid and transformed, has coefficients near whole multiples of
the quantisation steps. For each of the 64 grids, each frequency and each step, the evidence is a logarithm of a
likelihood ratio: coefficients scattered around the multiples, against coefficients spread evenly between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import EllipsisType

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import maximum_filter
from scipy.special import ndtr
from torch import Tensor

from zssr.damages.jpeg.tables import COLOUR_SAMPLINGS, standard_tables

_Floats = NDArray[np.float32]
_Bools = NDArray[np.bool_]

SMALLEST_SIDE = 32
_STEPS = 255
# Coefficients are counted in cells this fine, and up to this size.
_CELLS_PER_UNIT = 4
_CELLS = 160 * _CELLS_PER_UNIT
# The decoder rounds luma to whole numbers; the transform keeps that error's deviation.
_ROUNDING = 12**-0.5
# In a flat block the errors of all pixels are the same: the mean times 8 is off by up to 4.
_FLAT_ROUNDING = 8 * _ROUNDING
# After a later compression on another grid, its quantisation errors come on top.
_LATER_NOISE = (0.6, 1.3, 2.6)
_OUTLIERS = 0.02
_MOST_MULTIPLES = 64
_OFFSETS = [(row, column) for row in range(8) for column in range(8)]
_BLOCKS_PER_GRID = 2000
_BLOCKS = 12000
# The largest part of a picture that is looked at, in pixels a side.
_LUMA_SIDE = 2048
_CHROMA_SIDE = 1024
# Choosing the best of 255 steps costs this much evidence.
_CHOICE = 8.0
_LEAST = 20.0
# Coefficients with both frequencies 0 or 4 are multiples of 1/8 in any picture of whole numbers, and of larger
# fractions in flat drawings: no evidence of compression.
_TELLING = np.array([u % 4 != 0 or v % 4 != 0 for u in range(8) for v in range(8)])

_LUMA_TABLES, _CHROMA_TABLES = (
    np.array([standard_tables(quality)[component] for quality in range(1, 101)]) for component in (0, 1)
)
_TRANSFORM = np.kron(*[dct(np.eye(8), norm="ortho", axis=0)] * 2).T.astype(np.float32)
# By how much undoing the enlargement increases the rounding errors: those of the decoder, and those of the enlargement.
_REDUCTION_NOISE = {(1, 1): 1.0, (2, 2): 1.8, (1, 2): 1.5, (2, 1): 1.5, (1, 4): 1.0}


@dataclass(frozen=True)
class JpegTraces:
    """What a JPEG compression left in the pixels.

    offset: (row, column), 0 to 7: a block starts at every row r with (r - offset[0]) % 8 == 0.
    luma, chroma: 64 quantisation steps, 1 to 255, in row-major order (index 8*u+v, u the vertical frequency); steps
    that cannot be seen are those of the nearest standard table. chroma is None for grey pictures.
    sampling: "grey", "4:4:4", "4:2:2", "4:4:0", "4:2:0" or "4:1:1", the best guess.
    quality: the quality, 1 to 100, whose standard luma table is nearest. confidence: 0 to 1.
    """

    offset: tuple[int, int]
    luma: tuple[int, ...]
    chroma: tuple[int, ...] | None
    sampling: str
    quality: int
    confidence: float


def find_jpeg(pixels: Tensor, last: JpegTraces | None = None) -> JpegTraces | None:
    """The compression that a picture went through last, or None where none is seen with confidence.

    pixels: (C, H, W) in [0, 1], C 1 or 3, of 8-bit origin. last: the compression known from the file, its grid at
    (0, 0); then an earlier one is looked for: on another grid, or with coarser steps on the same one. Of an earlier
    one the chroma is not looked at: its steps are the standard ones, the sampling is the last one's.
    """
    if min(pixels.shape[-2:]) < SMALLEST_SIDE:
        return None
    part = _middle(pixels.shape[-2:], _LUMA_SIDE)
    values = (pixels[part].detach().cpu().numpy() * 255).round().astype(np.float32)
    planes = _ycc(values)
    clipped: _Bools = np.any((values <= 0) | (values >= 255), axis=0)
    luma = _Plane(planes[0], clipped, 128)
    if last is None:
        found = _on_any_grid(luma, _on_grids(luma, _OFFSETS), _ROUNDING, later=False)
    else:
        on_grids = _on_grids(luma, _OFFSETS[1:])
        guesses = [_on_any_grid(luma, on_grids, noise, later=True) for noise in _LATER_NOISE]
        blocks = luma.blocks((0, 0), _BLOCKS)
        guesses.append(_under(blocks[_are_varied(blocks)], last.luma))
        # Finer steps than the last ones do not survive, but the last ones' blocks look like such on grids half-way.
        coarser = [guess for guess in guesses if guess is not None and guess.quality <= last.quality]
        found = max(coarser, key=lambda guess: guess.margin, default=None)
    if found is None:
        return None
    if last is None:
        sampling, chroma = _chroma(planes, clipped, found.offset, found.quality)
    else:
        standard = _whole(_CHROMA_TABLES[found.quality - 1])
        sampling, chroma = last.sampling, None if last.chroma is None else standard
    confidence = 1 - 2 ** (-found.margin / _LEAST)
    return JpegTraces(found.offset, found.steps, chroma, sampling, found.quality, confidence)


@dataclass(frozen=True)
class _Found:
    """A luma table on a grid, and by how much evidence it leads."""

    offset: tuple[int, int]
    steps: tuple[int, ...]
    quality: int
    margin: float


@dataclass(frozen=True)
class _OnGrids:
    """Of blocks on several grids: the telling coefficients (N, F), whether each varies (N,), and each grid's length."""

    offsets: list[tuple[int, int]]
    lengths: NDArray[np.int64]
    coefficients: _Floats
    are_varied: _Bools

    def evidence(self, noise: float, varied: bool) -> _Floats:
        """(grids, F, 255), see `_evidence`, of the blocks that vary or of the others."""
        chosen = self.are_varied == varied
        grids = np.repeat(np.arange(len(self.offsets)), self.lengths)
        return _evidence(self.coefficients[chosen], noise, grids[chosen], len(self.offsets))


def _on_grids(luma: _Plane, offsets: list[tuple[int, int]]) -> _OnGrids:
    blocks = [luma.blocks(offset, _BLOCKS_PER_GRID) for offset in offsets]
    coefficients, lengths = np.concatenate(blocks), np.array([len(own) for own in blocks])
    return _OnGrids(offsets, lengths, coefficients[:, _TELLING], _are_varied(coefficients))


def _on_any_grid(luma: _Plane, on_grids: _OnGrids, noise: float, later: bool) -> _Found | None:
    """The grid whose coefficients lie around the multiples of some steps, `noise` off.

    later: another compression followed.
    """
    varied, offsets = on_grids.evidence(noise, True), on_grids.offsets
    needed = standard = _standard(varied, _LUMA_TABLES[:, _TELLING]).sum(axis=-1).max(axis=-1)
    if not on_grids.are_varied.all():
        everywhere = varied + on_grids.evidence(noise, False)
        standard = _standard(everywhere, _LUMA_TABLES[:, _TELLING]).sum(axis=-1).max(axis=-1)
    # (evidence for each grid, evidence that must be there, weight of the rival)
    if later:
        # The later compression makes zeros of its own, and tables of any kind would fit its traces.
        attempts = [(needed, needed, 1)]
    else:
        zeros = _zeros(on_grids.coefficients, on_grids.lengths)
        free = np.maximum(varied.max(axis=-1) - _CHOICE, 0).sum(axis=-1)
        attempts = [(standard + zeros, 2 * needed, 1), (free + zeros, free, 2)]
    for scores, least, weight in attempts:
        best = int(scores.argmax())
        margin = float(min(scores[best] - weight * max(np.partition(scores, -2)[-2], 0), least[best]))
        if margin >= _LEAST:
            more = luma.blocks(offsets[best], _BLOCKS)
            is_varied = _are_varied(more)
            single = _evidence(more[is_varied], noise)[0]
            joint = single + _evidence(more[~is_varied], noise)[0]
            return _Found(offsets[best], *_table(joint, single, _LUMA_TABLES), margin)
    return None


def _under(coefficients: _Floats, steps: tuple[int, ...]) -> _Found | None:
    """An earlier compression with coarser steps on the same grid as the last one's, whose steps are known.

    Its multiples were rounded to the last steps' multiples, some of which are therefore rare: against a smooth
    decline of how often each of them occurs.
    """
    total = np.zeros(100)
    for frequency in _TELLING.nonzero()[0]:
        last = steps[frequency]
        multiples = np.rint(np.abs(coefficients[:, frequency]) / last).astype(np.int64)
        counts = np.bincount(multiples[multiples < _MOST_MULTIPLES], minlength=3)
        smooth, candidates = _declining(counts), _LUMA_TABLES[:, frequency]
        for step in np.unique(candidates[candidates > last]):
            total[candidates == step] += _gaps(counts, smooth, int(step) / last, _ROUNDING / last)
    best = int(total.argmax())
    margin = float(total[best]) / 2
    return _Found((0, 0), _whole(_LUMA_TABLES[best]), best + 1, margin) if margin >= _LEAST else None


def _declining(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often 0, 1, 2, ... would occur that occur about so often, without gaps."""
    design = np.log(np.arange(len(counts))[:, None] + 0.5) ** np.arange(3)
    weights = np.sqrt(counts + 0.5)[:, None]
    fit = np.linalg.lstsq(design * weights, np.log(counts + 0.5) * weights[:, 0], rcond=None)[0]
    return np.asarray(np.exp(design @ fit))


def _gaps(counts: NDArray[np.int64], smooth: NDArray[np.float64], step: float, noise: float) -> float:
    """Evidence that these counts of 0, 1, 2, ... are of multiples of a larger step that were rounded.

    smooth: how often they would occur otherwise.
    """
    sizes = np.arange(len(counts))
    nearest = np.floor(sizes / step + 0.5).astype(np.int64)
    below, above = (ndtr((sizes + side - nearest * step) / (noise + 0.02)) for side in (-0.5, 0.5))
    shares = [share / np.bincount(nearest, share)[nearest] for share in (smooth, above - below + 1e-9)]
    with_gaps = (1 - _OUTLIERS) * shares[1] + _OUTLIERS * shares[0]
    return float((counts * np.log(with_gaps / shares[0]))[nearest > 0].sum())


def _middle(shape: tuple[int, ...], side: int) -> tuple[EllipsisType, slice, slice]:
    """The middle part of (H, W), `side` pixels a side at most, on the same grid of blocks."""
    top, left = (max(0, size - side) // 16 * 8 for size in shape)
    return ..., slice(top, top + side), slice(left, left + side)


def _ycc(values: _Floats) -> _Floats:
    """(1 or 3, H, W) of whole numbers: luma, and chroma around 0.

    Rounding brings back the decoder's own numbers wherever no colour was clipped: the rounding errors of red, green
    and blue, 0.5 at most, enter each with weights whose sum is at most 1.
    """
    if len(values) == 1:
        return values
    weights = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    return np.tensordot(np.array(weights), values, axes=1).round().astype(np.float32)


class _Plane:
    """A plane of luma or chroma around `middle`, and which of its blocks are of use."""

    def __init__(self, plane: _Floats, clipped: _Bools, middle: float) -> None:
        self.middle = middle
        self.windows = sliding_window_view(plane, (8, 8))
        # At [y, x], for the block that starts there.
        self.usable = ~maximum_filter(clipped, 8, origin=-4)[: len(self.windows), : self.windows.shape[1]]

    def blocks(self, offset: tuple[int, int], most: int) -> _Floats:
        """(N, 64): coefficients of the blocks on a grid, without clipped ones; `most` of them, evenly spread."""
        grid = np.s_[offset[0] :: 8, offset[1] :: 8]
        rows, columns = self.usable[grid].nonzero()
        chosen = np.s_[:: max(1, -(-len(rows) // most))]
        blocks = self.windows[grid][rows[chosen], columns[chosen]].reshape(-1, 64)
        return np.asarray((blocks - self.middle) @ _TRANSFORM, dtype=np.float32)


@cache
def _comb(noise: float) -> _Floats:
    """(cells, 255): what a coefficient of a size says for each step, around whose multiples `noise` scatters it.

    Nothing where the nearest multiple is 0, as any smooth picture's coefficients gather there, nor for steps that drown
    in the noise.
    """
    sizes = (np.arange(_CELLS)[:, None] + 0.5) / _CELLS_PER_UNIT
    steps = np.arange(1, _STEPS + 1)
    off = sizes - steps * np.rint(sizes / steps)
    turns = range(-int(3 * noise) - 1, int(3 * noise) + 2)
    density = sum(np.exp(-(((off + turn * steps) / noise) ** 2) / 2) for turn in turns)
    density = density * steps / (noise * (2 * np.pi) ** 0.5)
    logarithm = np.log((1 - _OUTLIERS) * density + _OUTLIERS)
    return np.where((sizes > steps / 2) & (steps > 3 * noise), logarithm, 0).astype(np.float32)


def _evidence(coefficients: _Floats, noise: float, groups: NDArray[np.int64] | None = None, count: int = 1) -> _Floats:
    """(count, F, 255): logarithm of the likelihood ratio for each frequency and step, from (N, F) in groups.

    groups: (N,) which group each row is of; None: all of one.
    """
    evidence = np.zeros((count, coefficients.shape[1], _STEPS), np.float32)
    comb = _comb(noise)
    sizes = np.minimum(np.abs(coefficients.T) * _CELLS_PER_UNIT, _CELLS).astype(np.int64)
    for frequency, cells in enumerate(sizes):
        used = int(cells.max(initial=0)) + 1
        steps = min(_STEPS, (used - 1) // (_CELLS_PER_UNIT // 2))  # these sizes hold no multiples of larger ones
        places = cells if groups is None else cells + groups * used
        counts = np.bincount(places, minlength=count * used).reshape(count, used)[:, :_CELLS].astype(np.float32)
        evidence[:, frequency, :steps] = counts @ comb[:used, :steps]
    return evidence


def _are_varied(coefficients: _Floats) -> _Bools:
    """Of (N, 64), (N,): whether a block varies along both rows and columns.

    In the others rounding errors repeat from row to row and add up, and straight edges give coefficients of few sizes.
    """
    strong = (np.abs(coefficients) > 0.01).reshape(-1, 8, 8)
    return np.asarray(strong[:, 1:].any(axis=(1, 2)) & strong[:, :, 1:].any(axis=(1, 2)))


def _zeros(coefficients: _Floats, lengths: NDArray[np.int64]) -> _Floats:
    """(grids,): evidence that more of (N, F) coefficients are zeros than on all grids together. lengths: of each."""
    zero = np.zeros((len(lengths), coefficients.shape[1]), np.int64)
    starts, has_any = np.cumsum(lengths) - lengths, lengths > 0
    zero[has_any] = np.add.reduceat(np.abs(coefficients) < 1, starts[has_any], axis=0, dtype=np.int64)
    all_of_them = lengths[:, None]
    here = (zero + 0.5) / (all_of_them + 1)
    usual = (zero.sum(axis=0) + 0.5) / (all_of_them.sum() + 1)
    evidence = zero * np.log(here / usual) + (all_of_them - zero) * np.log((1 - here) / (1 - usual))
    return np.where(here > usual, evidence, 0).sum(axis=-1)


def _standard(evidence: _Floats, tables: NDArray[np.int64]) -> _Floats:
    """(..., 100, F): evidence for the steps of each quality's standard table, of (..., F, 255)."""
    return evidence[..., np.arange(evidence.shape[-2]), tables - 1]


def _table(
    joint: _Floats, single: _Floats, tables: NDArray[np.int64], preferred: int = 0
) -> tuple[tuple[int, ...], int]:
    """The steps, and the nearest standard quality; the `preferred` one unless the evidence is against it."""
    standard = _standard(joint, tables).sum(axis=1)
    best = int(standard.argmax())
    if preferred and standard[preferred - 1] > standard[best] - _CHOICE:
        best = preferred - 1
    steps = tables[best]
    found = single.argmax(axis=1) + 1
    seen = single.max(axis=1) > _CHOICE
    differs = single.max(axis=1) - single[np.arange(64), steps - 1] > 2 * _CHOICE
    # A few may be errors: rounding errors of blocks that are alike gather at small steps.
    if differs.sum() > seen.sum() / 4:
        best = int(np.abs(np.log(tables / found))[:, seen].mean(axis=1).argmin())
        steps = np.where(seen, found, tables[best])
    return _whole(steps), best + 1


def _whole(steps: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(step) for step in steps)


def _chroma(
    planes: _Floats, clipped: _Bools, offset: tuple[int, int], quality: int
) -> tuple[str, tuple[int, ...] | None]:
    """The sampling and the chroma steps."""
    if len(planes) == 1 or not planes[1:].any():
        return "grey", None
    part = _middle(clipped.shape, _CHROMA_SIDE)
    planes, clipped = planes[part], clipped[part]
    best, evidence, sampling = 0.0, np.zeros((64, _STEPS), dtype=np.float32), "4:2:0"
    for name, factors in COLOUR_SAMPLINGS.items():
        if any(size < 16 * factor for size, factor in zip(clipped.shape, factors, strict=True)):
            continue
        hidden = _thinned(clipped, factors, offset)
        small = [_Plane(_reduced(plane, factors, offset), hidden, 0) for plane in planes[1:]]
        noise = _ROUNDING * _REDUCTION_NOISE[factors]
        for down in range(0, 8, 8 // factors[0]):
            for right in range(0, 8, 8 // factors[1]):
                grid = (offset[0] // factors[0] + down) % 8, (offset[1] // factors[1] + right) % 8
                coefficients = np.concatenate([plane.blocks(grid, _BLOCKS) for plane in small])
                here = _evidence(coefficients[_are_varied(coefficients)], noise)[0]
                here[0] = _evidence(coefficients[:, :1], _FLAT_ROUNDING)[0, 0]
                score = float(_standard(here, _CHROMA_TABLES).sum(axis=1).max())
                # Flat blocks fit any sampling, so that the number of blocks must not count.
                if score > _LEAST and score / len(coefficients) > best:
                    best, evidence, sampling = score / len(coefficients), here, name
    # The mean is known too badly to choose a table by.
    evidence[0] = 0
    return sampling, _table(evidence, evidence, _CHROMA_TABLES, quality)[0]


def _reduced(plane: _Floats, factors: tuple[int, int], offset: tuple[int, int]) -> _Floats:
    """The chroma samples that were enlarged to this plane.

    Two pixels a side come from libjpeg's triangle filter: each is 3/4 of its own sample and 1/4 of the next one
    outwards. Two neighbours across a border between samples then give both samples, and the two results are averaged.
    """
    for axis, factor in enumerate(factors):
        rows = np.moveaxis(plane, axis, 0)[offset[axis] % factor :]
        rows = rows[: len(rows) // factor * factor]
        rows = rows.reshape(-1, factor, rows.shape[1])
        if factor == 2:
            before, after = np.concatenate([rows[:1, 0], rows[:-1, 1]]), np.concatenate([rows[1:, 0], rows[-1:, 1]])
            reduced = 0.75 * rows.sum(axis=1) - 0.25 * (before + after)
        else:
            reduced = rows.mean(axis=1)
        plane = np.moveaxis(reduced, 0, axis)
    return plane.round()


def _thinned(clipped: _Bools, factors: tuple[int, int], offset: tuple[int, int]) -> _Bools:
    """Which chroma samples have a clipped pixel near."""
    near = maximum_filter(clipped, [2 * factor - 1 if factor == 1 else 2 * factor + 1 for factor in factors])
    near = near[offset[0] % factors[0] :, offset[1] % factors[1] :]
    return near[
        : near.shape[0] // factors[0] * factors[0] : factors[0], : near.shape[1] // factors[1] * factors[1] : factors[1]
    ]

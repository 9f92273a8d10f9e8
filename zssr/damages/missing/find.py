"""Finding scratches, cracks and creases of old photographs."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALLEST_SIDE = 24  # pixels
LARGEST_SIDE = 1000  # pixels of the shorter side: larger pictures are searched at a whole fraction of their size
STRONG, WEAK = 26.0, 13.0  # grey levels above (below) the surroundings: what makes a scratch, and what continues it
BUSY_STRONG, BUSY_WEAK = 5.0, 2.5  # the same, in multiples of the mean around: texture is no scratch
THINNEST = 3.0  # least ratio of length to width
CLEAR = 3.0  # least ratio of the contrast to the spread of the surroundings
DARK = 1.6  # how much more is asked of dark scratches: pictures hold more thin dark things than bright ones
COLOURED = 2.0  # how much more is asked in coloured pictures
AROUND = np.ones((3, 3), bool)
COLOURLESS = 5.0  # grey levels off the axis of the colours: less in grey, sepia and faded pictures


def find_scratches(pixels: Tensor) -> Tensor:
    """Where the picture (C, H, W) in [0, 1] is scratched: bool (H, W).

    Scratches are thin, long, brighter or darker than what lies on both of their sides, and cross smooth ground.
    Found as what a morphological opening (closing) takes away, by two thresholds, piece by piece.
    """
    height, width = pixels.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        return torch.zeros((height, width), dtype=torch.bool)
    factor = math.ceil(min(height, width) / LARGEST_SIDE)
    small = torch.nn.functional.avg_pool2d(pixels.detach().cpu(), factor, ceil_mode=True)
    colours = (small * 255).numpy().astype(np.float32)
    grey = ndimage.gaussian_filter(colours.mean(axis=0), 0.6)
    radius = max(2, round(min(grey.shape) / 200))
    strict = 1.0 if _off_axis(colours) < COLOURLESS else COLOURED
    found = np.zeros(grey.shape, bool)
    for sign in (1, -1):
        found |= _scratches(sign * grey, radius, strict if sign > 0 else DARK * strict)
    return torch.from_numpy(found.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width])


def _off_axis(colours: Array) -> float:
    """How far the colours (C, H, W) lie from being a function of the brightness: standard deviation in grey levels."""
    if colours.shape[0] == 1:
        return 0.0
    samples = colours.reshape(3, -1)[:, :: max(1, colours[0].size // 20_000)].astype(np.float64)
    brightness = samples.mean(axis=0)
    powers = np.stack([(brightness / 255) ** power for power in range(4)], axis=1)
    fit = np.linalg.lstsq(powers, samples.T, rcond=None)[0]
    return float(np.sqrt(np.mean((samples.T - powers @ fit) ** 2)))


def _scratches(grey: Array, radius: int, strict: float) -> Mask:
    """The bright scratches. strict: raises what is asked of them."""
    disc = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius + 0.3
    excess = grey - ndimage.grey_opening(grey, footprint=disc)
    around = ndimage.uniform_filter(excess, 16 * radius + 1)
    weak = excess > WEAK + BUSY_WEAK * around
    strong = excess > STRONG + BUSY_STRONG * around
    labels, count = ndimage.label(weak, AROUND)
    peak = ndimage.maximum(strong, labels, np.arange(count + 1))
    area = np.bincount(labels.ravel(), minlength=count + 1)
    shortest = strict * max(8, 5 * radius)
    found = np.zeros(grey.shape, bool)
    for label, where in enumerate(ndimage.find_objects(labels), start=1):
        y, x = where
        length = math.hypot(y.stop - y.start, x.stop - x.start)
        if not peak[label] or length < shortest or length * length < THINNEST * strict * area[label]:
            continue
        reach = 2 * radius + 1
        window = (slice(max(y.start - reach, 0), y.stop + reach), slice(max(x.start - reach, 0), x.stop + reach))
        piece = labels[window] == label
        near = ndimage.binary_dilation(piece, AROUND)
        ring = ndimage.binary_dilation(near, disc) & ~near
        level = grey[window][ring]
        contrast = float(grey[window][piece].mean() - level.mean())
        others = float((weak[window] & ring).sum() / max(ring.sum(), 1))
        if contrast > strict * max(WEAK, CLEAR * float(level.std())) and others < 0.1 / strict:
            found[window] |= piece
    return ndimage.binary_dilation(found, AROUND) & (excess > WEAK / 2)

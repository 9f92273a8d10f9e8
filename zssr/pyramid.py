"""The picture's own pyramid, and the fathers drawn from it.

A father is a square piece of the picture at a random smaller scale. Half of them are whole-pixel
crops, flipped and rotated by right angles; the other half are sampled through a random affine map:
any angle, a small anisotropy and shear. Small pictures have few examples; the affine ones
multiply them.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.dihedral import dihedral
from zssr.network import UNSHUFFLE
from zssr.resample import fit

# Steps of the pyramid: an affine map shrinks the next larger level by at most 1.2, so that nothing aliases.
LEVEL_SCALES = (1.0, 0.84, 0.71, 0.6, 0.5)
SMALLEST_SCALE = 0.5  # of a father, over that of the largest
AFFINE_SHARE = 0.5
LARGEST_SIDE = 2048  # of a result that joins
ANISOTROPY = 0.25  # standard deviation of the difference between the two directions' scales
SHEAR = 0.1  # standard deviation
SCALE_LIMITS = (0.35, 1.1)  # of one direction, after anisotropy


@dataclass(frozen=True)
class _Level:
    scale: float
    picture: Tensor  # (1, C, h, w)


class Pyramid:
    """Sources of fathers, on the device where training happens.

    add(result) joins results of earlier steps, of which a middle part of LARGEST_SIDE is enough.
    """

    def __init__(self, picture: Tensor, largest: float = 1.0, undamaged: Tensor | None = None) -> None:
        """picture: (1, C, H, W) in [0, 1], of any size. largest: scale of the largest fathers; below 1 where the
        picture is damaged itself, as smaller copies show less of it. undamaged: (1, 1, H, W), 1 where it is a truth
        worth learning, 0 where not."""
        self._largest = largest
        self._has_mask = undamaged is not None
        if undamaged is not None:  # kernels reach two pixels far
            undamaged = -functional.max_pool2d(-undamaged, 5, 1, 2)
        self._sources = [self._levels(picture if undamaged is None else torch.cat([picture, undamaged], 1))]

    def add(self, result: Tensor) -> None:
        """result: (1, C, H, W) in [0, 1]."""
        top, left = (max(0, length - LARGEST_SIDE) // 2 for length in result.shape[-2:])
        part = result[..., top : top + LARGEST_SIDE, left : left + LARGEST_SIDE].clone()
        if self._has_mask:
            mask = fit(self._sources[0][0].picture[:, -1:], (result.shape[-2], result.shape[-1])).clamp_(0, 1)
            mask = mask[..., top : top + LARGEST_SIDE, left : left + LARGEST_SIDE]
            part = torch.cat([part, mask.to(part)], 1)
        self._sources.append(self._levels(part))

    def clear(self) -> None:
        """Give its memory back; no fathers can be drawn any more."""
        self._sources.clear()

    def _levels(self, picture: Tensor) -> list[_Level]:
        levels = []
        for share in LEVEL_SCALES:
            scale = share * self._largest
            size = (max(1, round(picture.shape[-2] * scale)), max(1, round(picture.shape[-1] * scale)))
            levels.append(_Level(scale, picture if scale == 1 else fit(picture, size).clamp_(0, 1)))
        return levels

    def fathers(self, count: int, side: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """(count, C, side, side) in [0, 1], all of one source, smaller where it is; side is a multiple of UNSHUFFLE.
        With them which of their pixels are undamaged, (count, 1, side, side), or None where all are.

        rng lives on the CPU; only a few numbers are drawn from it.
        """
        # Larger sources hold more examples, but the input itself is the only one that is not a guess.
        sides = [math.sqrt(math.prod(levels[0].picture.shape[-2:])) for levels in self._sources]
        chosen = torch.rand(1, generator=rng, dtype=torch.float32).item() * sum(sides)
        levels = self._sources[bisect.bisect_right(list(itertools.accumulate(sides[:-1])), chosen)]
        side = max(UNSHUFFLE, min(side, *levels[0].picture.shape[-2:]) // UNSHUFFLE * UNSHUFFLE)
        fathers = torch.cat([self._father(levels, side, rng) for _ in range(count)])
        # A pixel that is sampled from damaged ones too is damaged.
        return (fathers[:, :-1], (fathers[:, -1:] > 0.99).float()) if self._has_mask else (fathers, None)

    def _father(self, levels: list[_Level], side: int, rng: torch.Generator) -> Tensor:
        kind, first, second, transform, mirror = torch.rand(5, generator=rng, dtype=torch.float32).tolist()
        if kind < AFFINE_SHARE:
            return _affine_crop(levels, side, (first, second), 1 if mirror < 0.5 else -1, self._largest, rng)
        picture = levels[0].picture
        top = int(first * (picture.shape[-2] - side + 1))
        left = int(second * (picture.shape[-1] - side + 1))
        return dihedral(picture[..., top : top + side, left : left + side], int(transform * 8))


def _affine_crop(
    levels: list[_Level], side: int, place: tuple[float, float], mirror: int, largest: float, rng: torch.Generator
) -> Tensor:
    """(1, C, side, side) through a random affine map, its corners inside the picture where they fit."""
    scale, angle = torch.rand(2, generator=rng, dtype=torch.float32).tolist()
    difference, shear_x, shear_y = torch.randn(3, generator=rng, dtype=torch.float32).tolist()
    scale = largest * (SMALLEST_SCALE + (1 - SMALLEST_SCALE) * scale)
    low, high = (limit * largest for limit in SCALE_LIMITS)
    scale_x = min(max(scale + difference * ANISOTROPY / 2, low), high)
    scale_y = min(max(scale - difference * ANISOTROPY / 2, low), high)
    # The smallest level that still has every detail of the father: no aliasing, little to compute.
    level = next(level for level in reversed(levels) if level.scale >= min(max(scale_x, scale_y), largest))
    height, width = level.picture.shape[-2:]
    # Father pixel -> level pixel: rotation, scale and mirror, shear.
    cosine, sine = math.cos(2 * math.pi * angle), math.sin(2 * math.pi * angle)
    stretch_x, stretch_y = mirror * level.scale / scale_x, level.scale / scale_y
    x_of_x = cosine * stretch_x - sine * stretch_y * SHEAR * shear_y
    x_of_y = cosine * stretch_x * SHEAR * shear_x - sine * stretch_y
    y_of_x = sine * stretch_x + cosine * stretch_y * SHEAR * shear_y
    y_of_y = sine * stretch_x * SHEAR * shear_x + cosine * stretch_y
    half = (side - 1) / 2
    centre = []
    for first, second, length, fraction in ((x_of_x, x_of_y, width, place[0]), (y_of_x, y_of_y, height, place[1])):
        reach = (abs(first) + abs(second)) * half
        nearest = min(reach, (length - 1) / 2)  # too large for the picture: stay in the middle, borders mirrored
        centre.append(nearest + (length - 1 - 2 * nearest) * fraction)
    # Only these few numbers travel; the grid is made where the picture lies.
    line = torch.arange(side, dtype=torch.float32, device=level.picture.device) - half
    x, y = line, line[:, None]
    grid = torch.stack(
        [
            (x_of_x * x + x_of_y * y + (centre[0] + 0.5)) * (2 / width) - 1,
            (y_of_x * x + y_of_y * y + (centre[1] + 0.5)) * (2 / height) - 1,
        ],
        -1,
    )
    father = functional.grid_sample(level.picture, grid[None], "bicubic", "reflection", align_corners=False)
    return father.clamp_(0, 1)

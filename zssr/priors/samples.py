"""What the families are trained on: crops of pictures, damaged on the fly.

Every sample is made from its number alone: which picture, which crop, which damage. So a run that was stopped goes on
from its checkpoint to the same result, however many processes make the samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.utils.data import Dataset

from zssr.damages import Blur, Chain, Degradation, Downscale, Jpeg, Missing, Mosaic, Region
from zssr.damages.jpeg.codec import requantised, to_components
from zssr.damages.jpeg.tables import standard_tables
from zssr.dihedral import dihedral
from zssr.examples import Analytic, make_pair
from zssr.image import as_stored
from zssr.priors.families import REGION_HINTS
from zssr.priors.pictures import Picture
from zssr.priors.recipes import Recipe
from zssr.resample import size_of

VALIDATION_QUALITIES = (10, 20, 30, 40)
# The factors of one batch of `Pairs` after the other, 1 for JPEG: few of those, whose first estimate takes ten times as
# long as the others', and most of 2, which is asked for most.
FACTOR_OF_BATCH = (1, 2, 2, 2, 3, 2, 2, 2, 1, 2, 2, 2, 4, 2, 2, 2)
CHROMA_SHARE = 0.25  # of samples that are chroma planes, with the chroma table
MOST_SMALLER = 2.5  # how much smaller pictures are made before they are damaged: small ones are full of detail
# What a network sees, one or more, and what it should give.
Sample = tuple[Tensor, ...]


class Samples(Dataset[Sample]):
    """Sample number i of a family. Subclasses say how a crop is damaged.

    version: raised when the same number gives another sample, so that no training goes on with others than it began
    with. smallest: side of a picture that `validation` can use. weights: of the errors of each channel.
    """

    version = 1
    smallest = 24
    weights: tuple[float, ...] = (1.0,)

    def __init__(self, pictures: Sequence[Picture], recipe: Recipe) -> None:
        """pictures: (3, H, W) uint8."""
        self.pictures, self.recipe = pictures, recipe
        self.areas = np.cumsum([picture.shape[1] * picture.shape[2] for picture in pictures])

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch

    def __getitem__(self, number: int) -> Sample:
        rng = np.random.default_rng((self.recipe.seed, number))
        picture = self.pictures[int(np.searchsorted(self.areas, rng.integers(self.areas[-1]), side="right"))]
        return self.sample(picture, rng, number)

    def sample(self, picture: Picture, rng: np.random.Generator, number: int) -> Sample:
        """Without a batch dimension. number: of the sample."""
        raise NotImplementedError

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        """Of the middle of a picture, (1, 3, H, W) grey levels: what the network is compared with, that is the damaged
        picture or what bicubic interpolation makes of it, and a sample; both with a batch dimension."""
        raise NotImplementedError

    def _crop(self, picture: Picture, side: int, rng: np.random.Generator) -> Tensor:
        """(1, 3, side, side) grey levels, any way up."""
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[1:])
        x = torch.from_numpy(np.ascontiguousarray(picture[:, top : top + side, left : left + side])).float()[None]
        return dihedral(x, int(rng.integers(8))).contiguous()

    def _detailed(self, picture: Picture, side: int, rng: np.random.Generator) -> Tensor:
        """As `_crop`, but the most detailed of four, often of the picture made smaller: as small pictures are."""
        factor = rng.choice([1, rng.uniform(1, MOST_SMALLER)])
        length = min(round(side * factor), *picture.shape[1:])
        x = max((self._crop(picture, length, rng) for _ in range(4)), key=lambda x: x.diff(dim=-1).abs().mean())
        if length == side:
            return x
        x = functional.interpolate(x, (side, side), mode="bicubic", antialias=True)
        return x.round_().clamp_(0, 255)

    def _quality(self, rng: np.random.Generator) -> int:
        low, high = self.recipe.qualities
        # The square: half of the samples come from the lowest quarter, where there is most to repair.
        return low + int((high + 1 - low) * rng.random() ** 2)


class Planes(Samples):
    """((1, side, side) damaged in [0, 1], 64 steps of the table, (1, side, side) whole): components of JPEG files."""

    def sample(self, picture: Picture, rng: np.random.Generator, number: int) -> Sample:
        tables = standard_tables(self._quality(rng))
        # Chroma is seen at half the size, as files hold it, where the picture is large enough.
        chroma = (
            rng.random() < CHROMA_SHARE
            and min(picture.shape[1:]) >= 2 * self.recipe.crop
            and self.recipe.qualities[1] > 50
        )
        x = to_components(self._crop(picture, 2 * self.recipe.crop if chroma else self.recipe.crop, rng))
        component = int(rng.integers(1, 3)) if chroma else 0
        x = x[:, component : component + 1].round().clamp_(0, 255)
        if chroma:
            x = functional.avg_pool2d(x, 2)
        table = torch.tensor(tables[1 if chroma else 0], dtype=torch.float32)
        return requantised(x, table)[0] / 255, table, x[0] / 255

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        x = to_components(picture)[:, :1].round().clamp(0, 255)
        for quality in VALIDATION_QUALITIES:
            table = torch.tensor(standard_tables(quality)[0], dtype=torch.float32)
            damaged = requantised(x, table) / 255
            yield damaged, (damaged, table[None], x / 255)


class Pairs(Samples):
    """((3 or more, side, side) base and hints, () factor, (3, side, side) father): what the network of one picture
    trains on.

    All of a batch have one factor; see FACTOR_OF_BATCH.
    """

    version = 2

    def sample(self, picture: Picture, rng: np.random.Generator, number: int) -> Sample:
        factors = [factor for factor in FACTOR_OF_BATCH if factor in self.recipe.factors]
        factor = factors[number // self.recipe.batch % len(factors)]
        if factor == 1:
            quality, sampling = self._quality(rng), ("4:2:0", "4:4:4")[int(rng.integers(2))]
            degradation: Degradation = Jpeg(standard_tables(quality), sampling)
        else:
            degradation = _random_downscale(rng, factor)
        return _pair(self._detailed(picture, self.recipe.crop, rng) / 255, degradation, factor)[1]

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        damages: list[tuple[int, Degradation]] = [(n, Downscale((Fraction(1, n), Fraction(1, n)))) for n in (2, 3, 4)]
        damages += [(1, Jpeg(standard_tables(quality))) for quality in VALIDATION_QUALITIES]
        for factor, degradation in damages:
            if factor not in recipe.factors:
                continue
            son, pair = _pair(picture / 255, degradation, factor)
            yield degradation.plain(son, size_of(picture)), tuple(x[None] for x in pair)


class Holes(Samples):
    """((6, side, side), (3, side, side) father): parts pixelated, blurred or missing; see `families.UNet`."""

    smallest = 64

    def sample(self, picture: Picture, rng: np.random.Generator, number: int) -> Sample:
        father = self._crop(picture, self.recipe.crop, rng) / 255
        return seen_of_region(*_hole(father, _random_hole(self.recipe.crop, rng)))[0], father[0]

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        father = picture[..., : picture.shape[-2] // 32 * 32, : picture.shape[-1] // 32 * 32] / 255
        height, width = size = (father.shape[-2], father.shape[-1])
        middle = Region.rectangle(size, height // 4 // 8 * 8, width // 4 // 8 * 8, height // 2, width // 2)
        damages: list[Degradation] = [
            *(Mosaic(middle, (cell, cell), (0, 0)) for cell in (4, 8, 16)),
            Blur("gaussian:15", middle),
            Missing(Region(_scratches(size, np.random.default_rng(0)))),
        ]
        for degradation in damages:
            degradation, y = _hole(father, degradation)
            yield degradation.plain(y, size), (seen_of_region(degradation, y), father)


def _hole(father: Tensor, degradation: Degradation) -> tuple[Degradation, Tensor]:
    return degradation, as_stored(degradation.degrade(father, torch.Generator()), 255)


def seen_of_region(degradation: Degradation | Chain, y: Tensor) -> Tensor:
    """(1, 6, H, W): what a `families.UNet` sees of a damaged picture (1, 3, H, W)."""
    size = (y.shape[-2], y.shape[-1])
    hints = degradation.hints(y, size)
    hints = functional.pad(hints, (0, 0, 0, 0, 0, REGION_HINTS - hints.shape[1]))  # only a mosaic has cells
    return torch.cat([degradation.base(y, size).clamp_(0, 1), hints], 1)


def _random_hole(side: int, rng: np.random.Generator) -> Degradation:
    """A mosaic, a blur or missing parts on a part of a crop."""
    kind = rng.random()
    size = (side, side)
    if kind < 0.25:
        return Missing(Region(_scratches(size, rng)))
    cell = int(rng.choice([4, 6, 8, 8, 8, 10, 12, 16]))
    height, width = (int(rng.integers(side // 4, side)) // cell * cell for _ in size)
    top, left = (int(rng.integers(side - length + 1)) // cell * cell for length in (height, width))
    region = Region.rectangle(size, top, left, height, width)
    if kind < 0.35:
        return Missing(Region.rectangle(size, top, left, height // 2, width // 2))
    if kind < 0.6:
        return Blur(f"gaussian:{rng.choice([rng.uniform(3, 15), 15])}", region)
    return Mosaic(region, (cell, cell), (0, 0))


def _scratches(size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """(1, 1, *size) bool: lines and stains."""
    drawn = PIL.Image.new("1", size[::-1])
    draw = PIL.ImageDraw.Draw(drawn)
    for _ in range(int(rng.integers(2, 7))):
        ends = [(float(rng.uniform(0, size[1])), float(rng.uniform(0, size[0]))) for _ in range(2)]
        draw.line(ends, fill=1, width=int(rng.integers(2, 7)))
    for _ in range(int(rng.integers(0, 3))):
        x, y, radius = rng.uniform(0, size[1]), rng.uniform(0, size[0]), rng.uniform(3, 16)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    return torch.from_numpy(np.array(drawn))[None, None]


def _pair(father: Tensor, degradation: Degradation, factor: int) -> tuple[Tensor, Sample]:
    """The son, and the sample without a batch dimension."""
    pair = make_pair(father, None, Chain((degradation,)), 255, torch.Generator())
    network_input = pair.example(Analytic()).network_input
    return pair.son, (network_input[0], torch.tensor(float(factor)), father[0])


def _random_downscale(rng: np.random.Generator, factor: int) -> Downscale:
    """Bicubic, box, or Gaussian of any direction."""
    scale = (Fraction(1, factor), Fraction(1, factor))
    kind = rng.random()
    if kind < 0.7:
        return Downscale(scale, "bicubic" if kind < 0.6 else "box")
    return Downscale(scale, tuple(map(tuple, _gaussian(rng, factor).tolist())))


def _gaussian(rng: np.random.Generator, factor: int) -> np.ndarray:
    """An elliptic kernel; its widths, 0.25 to 0.8 of the factor, in pixels of the large picture."""
    widths = rng.uniform(0.25, 0.8, 2) * factor
    angle = rng.uniform(0, math.pi)
    reach = math.ceil(3 * widths.max())
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kernel = np.exp(-((along / widths[0]) ** 2 + (across / widths[1]) ** 2) / 2)
    return kernel / kernel.sum()

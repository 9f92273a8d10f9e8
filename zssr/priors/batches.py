"""What the larger families are trained on: whole batches, cut and damaged on the device that trains.

Every batch is made from its number alone, so that a run that was stopped goes on from its checkpoint: on a CPU to the
same weights, on CUDA, whose fastest kernels add in any order, to weights as good.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.damages.jpeg.codec import enlarged_chroma, from_blocks, to_blocks, to_components
from zssr.damages.jpeg.tables import BLOCK, standard_tables
from zssr.priors.families.jpegunet import JpegUNet
from zssr.priors.pictures import Picture
from zssr.priors.recipes import Recipe
from zssr.priors.samples import VALIDATION_QUALITIES, Sample
from zssr.resample import resize

CANDIDATES = 2  # crops of which the more detailed is taken
DETAIL_STRIDE = 4
TOGETHER = 8  # batches
DRAWN_SIDE = 512
DRAWN_EVERY = 40  # photographs for one drawn picture


class Crops:
    """Pictures, all of them in the memory of a device. pictures: (3, H, W) uint8, no smaller than the crops."""

    def __init__(self, pictures: Sequence[Picture], device: torch.device) -> None:
        flat = [torch.from_numpy(np.ascontiguousarray(picture[:, :, :])).flatten(1).T for picture in pictures]
        self._pixels = torch.cat(flat).to(device)
        sizes = torch.tensor([picture.shape[1:] for picture in pictures])
        areas = sizes.prod(1)
        self._starts = (areas.cumsum(0) - areas).to(device)
        self._sizes = sizes.to(device)
        self._shares = (areas / areas.sum()).to(device)

    def draw(self, count: int, side: int, rng: torch.Generator) -> Tensor:
        """(count, 3, side, side), grey levels of 255, any way up; of two the more detailed. rng: on the device."""
        device = self._pixels.device
        which = torch.multinomial(self._shares, CANDIDATES * count, replacement=True, generator=rng)
        room = self._sizes[which] - side + 1
        corner = (torch.rand(room.shape, generator=rng, device=device) * room).long()
        start = self._starts[which] + corner[:, 0] * self._sizes[which, 1] + corner[:, 1]
        widths = self._sizes[which, 1]
        turns = torch.randint(2, (3, count), generator=rng, device=device).bool()
        one = torch.arange(side, device=device)
        coarse = one[::DETAIL_STRIDE]
        looked = self._gather(start, widths, coarse[None, :, None], coarse[None, None]).float()
        detail = looked.diff(dim=-1).abs().mean((1, 2, 3)).view(CANDIDATES, count)
        best = detail.argmax(0) * count + torch.arange(count, device=device)
        rows, columns = one[None, :, None], one[None, None]
        vertical, horizontal, swapped = turns[:, :, None, None]
        rows = torch.where(vertical, side - 1 - rows, rows).expand(count, side, side)
        columns = torch.where(horizontal, side - 1 - columns, columns).expand(count, side, side)
        rows, columns = torch.where(swapped, rows.mT, rows), torch.where(swapped, columns.mT, columns)
        return self._gather(start[best], widths[best], rows, columns).float()

    def _gather(self, start: Tensor, width: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        index = start[:, None, None] + rows * width[:, None, None] + columns
        return self._pixels[index].permute(0, 3, 1, 2)


class Batches:
    """Batch number i of a family. Subclasses say how crops are damaged.

    TOGETHER batches are made at once. version: raised when the same number gives another batch. smallest: side of a
    picture that `validation` can use. weights: of the errors of each channel.
    """

    version = 1
    smallest = 48
    weights: tuple[float, ...] = (1.0,)

    def __init__(self, pictures: Sequence[Picture], recipe: Recipe, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        count = max(1, len(pictures) // DRAWN_EVERY)
        self._crops = Crops(
            [*pictures, *(drawn(number, max(DRAWN_SIDE, recipe.crop)) for number in range(count))], device
        )

        self._made: tuple[int, Sample] | None = None

    def __getitem__(self, number: int) -> Sample:
        # Several at once, as on a GPU one takes as long to make as many.
        together, which = divmod(number, TOGETHER)
        if self._made is None or self._made[0] != together:
            rng = torch.Generator(self.device).manual_seed(hash((self.recipe.seed, together)) % 2**63)
            crops = self._crops.draw(TOGETHER * self.recipe.batch, self.recipe.crop, rng)
            self._made = together, self.batch(crops, together, rng)
        part = slice(which * self.recipe.batch, (which + 1) * self.recipe.batch)
        return tuple(x[part] if x.ndim > 1 else x for x in self._made[1])

    def batch(self, x: Tensor, number: int, rng: torch.Generator) -> Sample:
        """x: (N, 3, side, side) grey levels of 255, several batches at once. number: of these."""
        raise NotImplementedError

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        """As of `samples.Samples`."""
        raise NotImplementedError


class Enlargements(Batches):
    """((N, 3, side, side) small in [0, 1], (N,) factor, (N, 3, larger) whole): bicubic."""

    def batch(self, x: Tensor, number: int, rng: torch.Generator) -> Sample:
        return _enlargement(x, self.recipe.factors[number % len(self.recipe.factors)])

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        for factor in recipe.factors:
            small, told, whole = _enlargement(picture, factor)
            plain = resize(small, (Fraction(factor),) * 2, (whole.shape[-2], whole.shape[-1]))
            yield plain, (small, told, whole)


def _enlargement(x: Tensor, factor: int) -> Sample:
    size = (x.shape[-2] // factor, x.shape[-1] // factor)
    small = resize(x, (Fraction(1, factor),) * 2, size).round_().clamp_(0, 255)
    return small / 255, torch.tensor([factor]), x / 255


class Components(Batches):
    """((N, 3, side, side) decoded in [0, 1], (N, 130) tables, (N, 3, side, side) whole): luma and chroma of JPEG
    files."""

    weights = (1.0, 0.5, 0.5)
    # One after the other: most pictures are in colour and have chroma of half the size.
    SAMPLINGS = ("4:2:0", "grey", "4:2:0", "grey", "4:2:0", "4:4:4", "4:2:0", "grey")

    def batch(self, x: Tensor, number: int, rng: torch.Generator) -> Sample:
        low, high = self.recipe.qualities
        random = torch.rand(len(x), generator=rng, device=x.device)
        # The square: half of the samples come from the lowest quarter, where there is most to repair.
        qualities = low + ((high + 1 - low) * random.square()).long()
        luma, chroma = (tables[qualities] for tables in _all_tables(x.device))
        return _compressed(x, luma, chroma, self.SAMPLINGS[number % len(self.SAMPLINGS)])

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        whole = JpegUNet.MULTIPLE
        picture = picture[..., : picture.shape[-2] // whole * whole, : picture.shape[-1] // whole * whole]
        for quality in VALIDATION_QUALITIES:
            luma, chroma = (tables[quality][None] for tables in _all_tables(picture.device))
            sample = _compressed(picture, luma, chroma, "4:2:0")
            yield sample[0], sample


@functools.lru_cache(maxsize=4)
def _all_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """(101, 64) for luma and for chroma, by quality; that of 0 is not used."""
    tables = [standard_tables(max(quality, 1)) for quality in range(101)]
    luma, chroma = (torch.tensor([pair[i] for pair in tables], dtype=torch.float32, device=device) for i in (0, 1))
    return luma, chroma


def _compressed(x: Tensor, luma: Tensor, chroma: Tensor, sampling: str) -> Sample:
    whole = to_components(x)
    if sampling == "grey":
        whole[:, 1:] = 128
        decoded = torch.cat([_requantised(whole[:, :1], luma), whole[:, 1:]], 1)
        whole[:, 0].round_()
    else:
        colours = functional.avg_pool2d(whole[:, 1:], 2) if sampling == "4:2:0" else whole[:, 1:]
        planes = [_requantised(colours[:, i : i + 1], chroma) for i in (0, 1)]
        factor = 2 if sampling == "4:2:0" else 1
        enlarged = enlarged_chroma(torch.cat(planes, 1), factor, factor, False)
        decoded = torch.cat([_requantised(whole[:, :1], luma), enlarged], 1)
    return decoded / 255, JpegUNet.tables(luma, chroma, sampling), whole / 255


def _requantised(plane: Tensor, steps: Tensor) -> Tensor:
    """As `codec.requantised`, but with steps (N, 64) of its own for each of N planes."""
    steps = steps.view(-1, 1, 1, BLOCK, BLOCK)
    coefficients = to_blocks(plane.round() - 128).div_(steps).round_().mul_(steps)
    return from_blocks(coefficients).add_(128).round_().clamp_(0, 255)


class Noisy(Batches):
    """((N, 3, side, side) noisy in [0, 1], (N, 6, side / 2, side / 2) strengths, (N, 3, side, side) whole): see
    `families.denoise.Denoiser`."""

    STRONGEST = 75.0  # grey levels
    VALIDATION = (15.0, 25.0, 50.0)

    def batch(self, x: Tensor, number: int, rng: torch.Generator) -> Sample:
        count, device = len(x), x.device

        def random() -> Tensor:
            return torch.rand(count, 1, 1, 1, generator=rng, device=device)

        # In a third of the samples each channel has a strength of its own; in a quarter part of it grows with
        # brightness.
        apart = torch.where(random() < 0.35, 1.0, 0.0)
        channels = torch.randn(count, 3, 1, 1, generator=rng, device=device).mul(0.4 * apart).exp()
        sigma = (self.STRONGEST * random().pow(1.3) * channels).clamp(max=self.STRONGEST)
        growing = torch.where(random() < 0.25, random(), 0.0)
        noise = torch.randn(x.shape, generator=rng, device=device)
        # As in pictures that were resized or demosaiced, neighbouring pixels share noise in a third.
        width = torch.where(random() < 0.35, 0.3 + 0.9 * random(), 0.0)
        noise, coarse = _smoothed(noise, width)
        # Grey pictures are seen as three channels that are equal, noise and all.
        grey = random() < 0.15
        x = torch.where(grey, to_components(x)[:, :1].expand(-1, 3, -1, -1), x)
        noise = torch.where(grey, noise[:, :1], noise)
        sigma = torch.where(grey, sigma[:, :1], sigma)
        y = x + noise * sigma * strength_by_brightness(x, growing)
        y = torch.where(random() < 0.85, y.round().clamp(0, 255), y)
        return (*_told(y, sigma, growing, coarse), x / 255)

    @staticmethod
    def validation(picture: Tensor, recipe: Recipe) -> Iterator[tuple[Tensor, Sample]]:
        whole = 8
        picture = picture[..., : picture.shape[-2] // whole * whole, : picture.shape[-1] // whole * whole]
        for level in Noisy.VALIDATION:
            sigma, growing, coarse = (picture.new_full((1, 1, 1, 1), number) for number in (level, 0.0, 1.0))
            noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
            sample = _told((picture + noise * sigma).round().clamp(0, 255), sigma, growing, coarse)
            yield sample[0], (*sample, picture / 255)


def _told(y: Tensor, sigma: Tensor, growing: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
    """The noisy picture and its strengths; see `Denoiser.forward`."""
    seen = functional.avg_pool2d(y, 2)
    strength = sigma / 255 * strength_by_brightness(seen, growing)
    return y / 255, torch.cat([strength, strength * coarse], 1)


def strength_by_brightness(x: Tensor, growing: Tensor) -> Tensor:
    """Of noise, over what it is at 128 grey levels. growing: the share of its variance there that grows in proportion
    to brightness."""
    return (1 - growing + growing * x.clamp(0, 255) / 128).sqrt()


def _smoothed(noise: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Noise of a Gaussian spectrum and of unit variance, and the standard deviation of the mean of 2x2, twice."""
    taps = torch.arange(-3, 4, device=noise.device)
    kernel = torch.exp(-(taps**2) / (2 * width.flatten()[:, None].square() + 1e-6))
    kernel = kernel / kernel.square().sum(1, keepdim=True).sqrt()
    count, channels, height, columns = noise.shape
    rows = kernel.repeat_interleave(channels, 0)[:, None]
    flat = noise.reshape(1, count * channels, height, columns)
    flat = functional.conv2d(flat, rows[..., None], padding=(3, 0), groups=count * channels)
    flat = functional.conv2d(flat, rows[..., None, :], padding=(0, 3), groups=count * channels)
    together = (kernel[:, :-1] * kernel[:, 1:]).sum(1)  # of neighbours
    return flat.view(noise.shape), (1 + together).view(-1, 1, 1, 1)


def drawn(number: int, result_side: int = DRAWN_SIDE) -> np.ndarray:
    """(3, side, side) uint8: shapes, lines and text of random colours, drawn twice as large."""
    rng = np.random.default_rng((1, number))
    side = 2 * result_side

    def colour() -> tuple[int, int, int]:
        red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
        return red, green, blue

    def point() -> tuple[float, float]:
        return float(rng.uniform(0, side)), float(rng.uniform(0, side))

    picture = PIL.Image.new("RGB", (side, side), colour())
    draw = PIL.ImageDraw.Draw(picture)
    for _ in range(120):
        kind = rng.integers(4)
        x, y = point()
        size = float(rng.uniform(10, 200))
        if kind == 0:
            draw.rectangle((x, y, x + size, y + size * rng.uniform(0.2, 2)), colour())
        elif kind == 1:
            draw.ellipse((x, y, x + size, y + size * rng.uniform(0.5, 1.5)), colour(), colour(), int(rng.integers(6)))
        elif kind == 2:
            draw.line([point() for _ in range(3)], colour(), int(rng.integers(1, 12)))
        else:
            letters = "".join(chr(int(code)) for code in rng.integers(33, 127, 24))
            draw.text((x - 200, y), letters, colour(), PIL.ImageFont.load_default(int(rng.integers(16, 80))))
    smaller = picture.resize((result_side, result_side), PIL.Image.Resampling.BICUBIC)
    return np.asarray(smaller).transpose(2, 0, 1)

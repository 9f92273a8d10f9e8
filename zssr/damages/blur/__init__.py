"""Blur at the picture's own size, its finder, and what the program knows of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from zssr.damages.blur.find import BlurredRegion, find_blur
from zssr.damages.blur.operator import Blur
from zssr.damages.downscale.find import LEAST_OF_OWN_SIZE, OWN_SIZE, consistent_gaussian, find_point_spread
from zssr.damages.downscale.gaussian import LARGEST_SIGMA, SMALLEST_SIGMA
from zssr.damages.downscale.kernel_files import read_kernel
from zssr.damages.kind import SURE, Damaged, Finding, Kind, Trial, number
from zssr.damages.region import Region, random_square, region_of_area
from zssr.errors import KernelError, SettingsError
from zssr.image import Image, as_stored, fill_hidden
from zssr.settings import Area, Settings, parse_areas


def _whole_given(settings: Settings, image: Image, enlarges: bool) -> list[Blur]:
    """At the picture's own size the kernel is a blur; if it is enlarged, the kernel is that of the downscaling."""
    kernel = read_kernel(settings.kernel)
    return [] if enlarges or kernel is None or kernel == "bicubic" else [Blur(kernel)]


def _find_whole(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    spread = find_point_spread(pixels, OWN_SIZE)
    if spread is None or not spread.exceeds(LEAST_OF_OWN_SIZE, spread.gaussian.minor):
        return []
    gaussian = spread.simplest if spread.confidence < SURE else consistent_gaussian(pixels, spread, 1)
    if gaussian is None or gaussian.minor < LEAST_OF_OWN_SIZE:
        return []
    gaussian = gaussian.rounded()
    words = f"softness, as of a Gaussian blur of {gaussian.words}"
    return [Finding("softness", words, spread.confidence, Blur(gaussian.name))]


def _whole_settled(parts: Sequence[Blur], settings: Settings) -> Sequence[Blur]:
    """Not for a picture that is a smaller one, which is enlarged even at scale 1."""
    if settings.kernel in ("box", "lanczos"):
        raise SettingsError(f"kernel {settings.kernel}: at scale 1 it changes nothing; give gaussian:SIGMA or a file")
    return parts


def _parts_given(settings: Settings, image: Image, enlarges: bool) -> list[Blur]:
    return [_of_area(area, image) for area in parse_areas("blurred", settings.blurred)]


def _of_area(area: Area, image: Image) -> Blur:
    region = region_of_area("blurred", area, image.size)
    if len(area.amounts) == 2:
        raise SettingsError("blurred: give one SIGMA")
    if area.amounts:
        kernel = f"gaussian:{area.amounts[0]:g}"
        try:
            read_kernel(kernel)
        except KernelError:
            raise SettingsError(
                f"blurred: SIGMA {area.amounts[0]:g} must lie between {SMALLEST_SIGMA:g} and {LARGEST_SIGMA:g}"
            ) from None
    else:
        found = [_operator(traces, image) for traces in find_blur(fill_hidden(image))]
        overlapping = [blur for blur in found if blur.region is not None and blur.region.overlaps(region)]
        if not overlapping:
            raise SettingsError("blurred: how strong the blur is cannot be seen; give X,Y,WIDTH,HEIGHT:SIGMA")
        kernel = str(overlapping[0].kernel)
    return Blur(kernel, None if bool(region.pixels.all()) else region)


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    return [
        Finding(
            "blur",
            f"blur of sigma {traces.sigma:.1f} in {traces.width}x{traces.height} at ({traces.left}, {traces.top})",
            traces.confidence,
            _operator(traces, image),
        )
        for traces in find_blur(pixels)
    ]


def _operator(traces: BlurredRegion, image: Image) -> Blur:
    region = Region.rectangle(image.size, traces.top, traces.left, traces.height, traces.width)
    return Blur(f"gaussian:{traces.sigma:.2f}", region)


def _damage_whole(case: Damaged, sigma: float, rng: torch.Generator, folder: str) -> Damaged:
    x = Blur(f"gaussian:{sigma}").degrade(case.image.pixels[None])
    enlarges = max(case.settings["scale"]) > 1
    given = {"blurred": f"all:{sigma:g}"} if enlarges else {"kernel": f"gaussian:{sigma}"}
    image = dataclasses.replace(case.image, pixels=x[0])
    return dataclasses.replace(case, image=image, plain=x, settings={**case.settings, **given})


def _damage_square(case: Damaged, sigma: float, rng: torch.Generator, folder: str) -> Damaged:
    region, top, left, side = random_square(case.image.size, rng)
    x = as_stored(Blur(f"gaussian:{sigma}", region).degrade(case.image.pixels[None]), case.image.peak)
    settings = {**case.settings, "blurred": f"{left},{top},{side},{side}:{sigma:g}"}
    return Damaged(dataclasses.replace(case.image, pixels=x[0]), x, settings, region.pixels)


# Of the lens, before the noise.
WHOLE = Kind(
    Blur,
    given=_whole_given,
    finding="softness",
    find=_find_whole,
    automatic=True,
    only_own_size=True,
    settled=_whole_settled,
    trials=(
        Trial(
            "blur",
            "sigma of a Gaussian in pixels, 0.05 to 30",
            number(SMALLEST_SIGMA, LARGEST_SIGMA),
            _damage_whole,
            stored=False,
        ),
    ),
)

# Of a part, as to hide it.
PART = Kind(
    Blur,
    given=_parts_given,
    find=_find,
    automatic=True,
    trials=(
        Trial(
            "blurred",
            "sigma of a Gaussian in pixels, 0.05 to 30",
            number(SMALLEST_SIGMA, LARGEST_SIGMA),
            _damage_square,
            placed=True,
        ),
    ),
)

__all__ = ["PART", "WHOLE", "Blur"]

"""Downscaling and its kernels, and what the program knows of it."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import torch
from torch import Tensor

from zssr.damages.downscale.find import (
    LEAST_OF_SMALL,
    OWN_SIZE,
    SMALL,
    TOLD_BICUBIC,
    consistent_gaussian,
    find_point_spread,
)
from zssr.damages.downscale.kernel import Kernel
from zssr.damages.downscale.kernel_files import check_kernel_file, read_kernel, write_kernel
from zssr.damages.downscale.operator import Downscale
from zssr.damages.downscale.repeated import Repeated
from zssr.damages.kind import SURE, Damaged, Finding, Kind, Trial, number
from zssr.resample import Scale
from zssr.settings import LARGEST_FACTOR


def find_kernel(pixels: Tensor, scale: Scale, hidden_by: str = "") -> tuple[Kernel, Finding]:
    """How a picture (C, H, W) in [0, 1] became as small as it is: by a Gaussian that is read from it, or by bicubic
    interpolation, where the picture is as sharp as that leaves it, or where nothing sure can be read.

    scale: (vertical, horizontal) size of the picture over that of the result. hidden_by: what hides sharpness, in a
    word. Returns the kernel, and what to say.
    """
    bicubic = Downscale(scale)
    spread = find_point_spread(pixels, SMALL, OWN_SIZE)
    if spread is None:
        words = "too small, or too much of it black or white, to read how it was made smaller: taken for bicubic"
        return "bicubic", Finding("downscale", words, 0.0, bicubic)
    if not spread.exceeds(LEAST_OF_SMALL, spread.gaussian.major):
        if hidden_by or not spread.is_sharp:
            hidden_by = hidden_by or "noise, or a blur of another shape than a Gaussian's,"
            words = f"{hidden_by} hides how it was made smaller: taken for bicubic"
            return "bicubic", Finding("downscale", words, 0.5, bicubic)
        words = "as sharp as bicubic interpolation leaves a picture"
        return "bicubic", Finding("downscale", words, TOLD_BICUBIC, bicubic)
    factors = [float(1 / factor) for factor in scale]
    if spread.confidence < SURE:
        words = f"perhaps made smaller with a Gaussian of {spread.simplest.scaled(*factors).words}"
        return "bicubic", Finding("downscale", f"{words}: taken for bicubic", spread.confidence, bicubic)
    gaussian = consistent_gaussian(pixels, spread, 2)
    if gaussian is None:
        words = "has edges that are too sharp for what its spectrum looks like: taken for bicubic"
        return "bicubic", Finding("downscale", words, 0.5, bicubic)
    enlarged = gaussian.scaled(*factors).rounded()
    words = f"made smaller with a Gaussian of {enlarged.words}, give or take {100 * spread.error:.0f} %"
    return enlarged.name, Finding("downscale", words, spread.confidence, Downscale(scale, enlarged.name))


def _make_smaller(case: Damaged, factor: float, rng: torch.Generator, folder: str) -> Damaged:
    """By the factors and the kernel of the settings."""
    vertical, horizontal = (Fraction(part).limit_denominator(1000) for part in case.settings["scale"])
    kernel = read_kernel(case.settings["kernel"])
    assert kernel is not None  # is given
    x = Downscale((1 / vertical, 1 / horizontal), kernel).degrade(case.image.pixels[None])
    return dataclasses.replace(case, image=dataclasses.replace(case.image, pixels=x[0]), plain=x)


KIND = Kind(
    Downscale,
    trials=(
        Trial(
            "scale",
            f"how many times smaller, up to {LARGEST_FACTOR}",
            number(1.01, LARGEST_FACTOR),
            _make_smaller,
            stored=False,
            compared_with="bicubic",
        ),
    ),
)

__all__ = [
    "KIND",
    "Downscale",
    "Kernel",
    "Repeated",
    "check_kernel_file",
    "find_kernel",
    "read_kernel",
    "write_kernel",
]

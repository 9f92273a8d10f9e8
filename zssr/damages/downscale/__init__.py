"""Downscaling and its kernels, and what the program knows of it."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import torch

from zssr.damages.downscale.kernel import Kernel, read_kernel
from zssr.damages.downscale.operator import Downscale
from zssr.damages.kind import Damaged, Kind, Trial, number
from zssr.settings import LARGEST_FACTOR


def _make_smaller(case: Damaged, factor: float, rng: torch.Generator, folder: str) -> Damaged:
    """By the factors and the kernel of the settings."""
    vertical, horizontal = (Fraction(part).limit_denominator(1000) for part in case.settings["scale"])
    kernel: Kernel = read_kernel(case.settings["kernel"])
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

__all__ = ["KIND", "Downscale", "Kernel", "read_kernel"]

"""Noise, its finder, and what the program knows of it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from zssr.damages.kind import Damaged, Finding, Kind, Trial, number
from zssr.damages.noise.find import find_noise
from zssr.damages.noise.operator import Noise
from zssr.image import Image
from zssr.settings import Settings


def _given(settings: Settings, image: Image, enlarges: bool) -> list[Noise]:
    return [Noise(float(settings.noise))] if isinstance(settings.noise, int | float) and settings.noise else []


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    traces = find_noise(pixels)
    if traces is None:
        return []
    if traces.slope > 0:
        words = f"noise of {traces.sigma:.1f} grey levels, growing with brightness"
        return [Finding("noise", words, traces.confidence, Noise(max(traces.offset, 0.0) ** 0.5, traces.slope))]
    return [Finding("noise", f"noise of {traces.sigma:.1f} grey levels", traces.confidence, Noise(traces.sigma))]


def _damage(case: Damaged, sigma: float, rng: torch.Generator, folder: str) -> Damaged:
    x = Noise(sigma).degrade(case.image.pixels[None], rng)
    image = dataclasses.replace(case.image, pixels=x[0])
    return dataclasses.replace(case, image=image, plain=x, settings={**case.settings, "noise": sigma})


KIND = Kind(
    Noise,
    given=_given,
    find=_find,
    automatic=True,
    drawn_colours=256,
    trials=(Trial("noise", "standard deviation in grey levels, up to 100", number(0.1, 100), _damage, stored=False),),
)

__all__ = ["KIND", "Noise"]

"""Noise, its finder, and what the program knows of it."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from zssr.damages.kind import Damaged, Finding, Kind, Trial, number
from zssr.damages.noise.find import find_noise
from zssr.damages.noise.find_spectrum import find_spectrum
from zssr.damages.noise.operator import Noise
from zssr.image import Image
from zssr.settings import Settings

DIFFERENT = 1.25  # of the noise of one channel over another's


def _given(settings: Settings, image: Image, enlarges: bool) -> list[Noise]:
    return [Noise(float(settings.noise))] if isinstance(settings.noise, int | float) and settings.noise else []


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    traces = find_spectrum(pixels) or find_noise(pixels)
    if traces is None:
        return []
    noise = Noise(traces.sigma, spectrum=traces.spectrum)
    if traces.slope > 0:
        noise = Noise(max(traces.offset, 0.0) ** 0.5, traces.slope, spectrum=traces.spectrum)
    elif traces.spectrum is None:
        by_channel = _by_channel(pixels)
        if by_channel is not None:
            return [by_channel]
    words = f"noise of {traces.sigma:.1f} grey levels{noise.manner}"
    return [Finding("noise", words, traces.confidence, noise)]


def _by_channel(pixels: Tensor) -> Finding | None:
    """Where the channels of a colour picture differ in their noise, as they do after a camera's white balance."""
    if len(pixels) != 3:
        return None
    traces = [one for channel in pixels if (one := find_noise(channel[None])) is not None]
    sigmas = [one.sigma for one in traces]
    if len(sigmas) < 3 or max(sigmas) < DIFFERENT * min(sigmas):
        return None
    sigma = math.sqrt(sum(one**2 for one in sigmas) / 3)
    red, green, blue = (one / sigma for one in sigmas)
    noise = Noise(sigma, channels=(red, green, blue))
    return Finding("noise", noise.describe(), min(one.confidence for one in traces), noise)


def _amount(text: str) -> float | tuple[float, float, float]:
    """One standard deviation, or one for each of three channels."""
    read = number(0.1, 100)
    if text.count(",") != 2:
        return read(text)
    red, green, blue = map(read, text.split(","))
    return red, green, blue


def _damage(case: Damaged, amount: float | tuple[float, float, float], rng: torch.Generator, folder: str) -> Damaged:
    if isinstance(amount, tuple) and len(case.image.pixels) != len(amount):
        amount = math.sqrt(sum(one**2 for one in amount) / len(amount))
    noise = Noise(1.0, channels=amount) if isinstance(amount, tuple) else Noise(amount)
    x = noise.degrade(case.image.pixels[None], rng)
    image = dataclasses.replace(case.image, pixels=x[0])
    told = "auto" if isinstance(amount, tuple) else amount
    return dataclasses.replace(case, image=image, plain=x, settings={**case.settings, "noise": told})


KIND = Kind(
    Noise,
    given=_given,
    find=_find,
    automatic=True,
    drawn_colours=256,
    trials=(
        Trial(
            "noise",
            "standard deviation in grey levels, up to 100, or R,G,B, those of each channel, which are then found",
            _amount,
            _damage,
            stored=False,
        ),
    ),
)

__all__ = ["KIND", "Noise"]

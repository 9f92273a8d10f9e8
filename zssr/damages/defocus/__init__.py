"""Defocus: a lens out of focus spreads every point over a disc. The operator, and what the program knows of it."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from zssr.damages.defocus.find import find_defocus
from zssr.damages.degradation import Degradation
from zssr.damages.kind import Damaged, Finding, Kind, Trial, number
from zssr.errors import SettingsError
from zssr.image import Image
from zssr.resample import Size, size_of
from zssr.settings import Settings, specs

LARGEST_RADIUS = specs()["defocus"].high or 0  # pixels
ROUNDING = 1 / math.sqrt(12) / 255  # root mean square error of rounding to 8 bits
# Power of noise over that of photographs, which falls with the square of the frequency, at one cycle a pixel: at least
# this, the best of 0.0001 to 0.3 on the training photographs without noise, radius 1.5 to 6.
LEAST_RATIO = 0.02
# What is left of a frequency's power counts as nothing below, and as signal above.
NOTHING, SIGNAL = 1e-3, 0.1
LOWEST_FREQUENCY = 0.03  # cycles a pixel, for both
FEWEST = 100  # frequencies with nothing but noise, to measure it by
MEDIAN = 0.455  # of the square of a normal variable with variance one
PROJECTION_STEPS = 60
STALLED = 0.98  # of the last step's misfit: falling less is not falling
# Grey levels by which a picture may differ from what a disc can have made: photographs with noise of one level on top
# of the disc stay below half of it, sharp drawings lie far above.
LARGEST_MISFIT = 2.0
LARGEST_CROP = 256 * 256  # pixels
STEP_REGULARISATION = 1e-2  # of the projection's steps: what the disc passes by less than its root is hardly moved


@dataclass(frozen=True)
class Defocus(Degradation):
    """y = x * disc, x mirrored at its borders. radius: of the disc, in pixels."""

    kind: ClassVar[str] = "defocus"
    lost: ClassVar[str] = "Detail that the lens spread below the rounding error is an estimate."
    bytes_a_pixel: ClassVar[int] = 100  # of the mirrored picture and its spectrum
    radius: float

    def __post_init__(self) -> None:
        if not 0 <= self.radius <= LARGEST_RADIUS:
            raise SettingsError(f"defocus {self.radius:g}: the radius must lie between 0 and {LARGEST_RADIUS:g} pixels")

    @property
    def clean_scale(self) -> float:
        return 0.6

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to the same. rng is not used."""
        return _filtered(x, self._gain(x))

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Wiener's filter, for the noise that y has where the disc leaves nothing."""
        gain, frequency = self._gain(y), _frequencies(size_of(y), y.device)
        noise, signal = _powers(y, gain, frequency)
        ratio = max(LEAST_RATIO, noise / max(signal, 1e-12))
        return _filtered(y, gain / (gain.square() + ratio * frequency.square()))

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """Landweber's iteration, preconditioned by the disc's own inverse, until the misfit is a rounding error or the
        noise of y, or falls no more, as where no disc blurred the picture."""
        gain = self._gain(x)
        step = gain / (gain.square() + STEP_REGULARISATION)
        noise, _ = _powers(y, gain, _frequencies(size_of(y), y.device))
        tolerance = max(ROUNDING, math.sqrt(noise / (4 * y.shape[-2] * y.shape[-1])))
        last = math.inf
        for _ in range(PROJECTION_STEPS):
            misfit = y - _filtered(x, gain)
            error = misfit.square().mean().sqrt().item()
            if error <= tolerance or error > STALLED * last:
                break
            x, last = (x + _filtered(misfit, step)).clamp_(0, 1), error
        return x

    @property
    def point_spread(self) -> Tensor:
        line = torch.arange(-math.ceil(self.radius + 1), math.ceil(self.radius + 1) + 1, dtype=torch.float64)
        disc = (self.radius + 0.5 - torch.hypot(line[:, None], line)).clamp(0, 1)
        return disc / disc.sum()

    def misfit(self, y: Tensor) -> float:
        """How far y is from anything that this disc can have made: root mean square, in grey levels."""
        again = self.degrade(self.base(y, size_of(y)).clamp_(0, 1))
        return (again - y).square().mean().sqrt().item() * 255

    def describe(self) -> str:
        return f"defocus of {self.radius:g} pixels"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.kind, "radius": self.radius}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Defocus:
        return cls(data["radius"])

    def _gain(self, x: Tensor) -> Tensor:
        """What the disc leaves of each frequency of `_filtered`."""
        make = _crop_gain if x.shape[-2] * x.shape[-1] <= LARGEST_CROP else _disc_gain
        return make(self.radius, size_of(x), x.device)


def _filtered(x: Tensor, gain: Tensor) -> Tensor:
    """(N, C, H, W), each frequency multiplied by `gain`. Mirrored, a picture is periodic and has no borders; plane by
    plane, as that takes four times the memory."""
    height, width = size_of(x)
    planes = []
    for plane in x.split(1, 1):
        spectrum = _spectrum(plane).mul_(gain)
        planes.append(torch.fft.irfft2(spectrum, (2 * height, 2 * width))[..., :height, :width])
    return torch.cat(planes, 1)


def _spectrum(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, 2 H, W + 1): of the mirrored picture."""
    mirrored = torch.cat([x, x.flip(-1)], -1)
    return torch.fft.rfft2(torch.cat([mirrored, mirrored.flip(-2)], -2))


def _powers(y: Tensor, gain: Tensor, frequency: Tensor) -> tuple[float, float]:
    """Of the noise in y, and of what was blurred, at one cycle a pixel and falling with the square of the frequency; as
    of the spectrum of the mirrored picture. No noise for a disc too small to leave nothing of any frequency."""
    within = (frequency > LOWEST_FREQUENCY) & (frequency < 0.5)
    nothing, most = within & (gain.square() < NOTHING), within & (gain.square() > SIGNAL)
    if int(nothing.sum()) < FEWEST or int(most.sum()) < FEWEST:
        return 0.0, 1.0
    noise = signal = 0.0
    for plane in y.split(1, 1):
        power = _spectrum(plane).abs().square_()
        noise += power[..., nothing].median().item() / MEDIAN / y.shape[1]
        signal += (power[..., most] * (frequency / gain).square()[most]).median().item() / MEDIAN / y.shape[1]
    return noise, signal


def _frequencies(size: Size, device: torch.device) -> Tensor:
    """(2 H, W + 1) in cycles a pixel, of a mirrored picture of (height, width)."""
    rows, columns = torch.fft.fftfreq(2 * size[0]), torch.fft.rfftfreq(2 * size[1])
    return torch.hypot(rows[:, None], columns).to(device)


def _disc_gain(radius: float, size: Size, device: torch.device) -> Tensor:
    """(2 H, W + 1), real, as a disc has no direction; pixels on its edge count by about their part inside."""
    rows, columns = (
        torch.minimum(torch.arange(2 * length), 2 * length - torch.arange(2 * length)).double() for length in size
    )
    disc = (radius + 0.5 - torch.hypot(rows[:, None], columns)).clamp(0, 1)
    return (torch.fft.rfft2(disc).real / disc.sum()).float().to(device)


_crop_gain = functools.lru_cache(maxsize=8)(_disc_gain)  # of training, the same at each step


def _given(settings: Settings, image: Image, enlarges: bool) -> list[Defocus]:
    return [Defocus(float(settings.defocus))] if isinstance(settings.defocus, int | float) and settings.defocus else []


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    traces = find_defocus(pixels)
    if traces is None:
        return []
    damage = Defocus(round(traces.radius, 2))
    if damage.misfit(pixels[None]) > LARGEST_MISFIT:
        return []
    return [Finding("defocus", f"defocus of {traces.radius:.1f} pixels", traces.confidence, damage)]


def _damage(case: Damaged, radius: float, rng: torch.Generator, folder: str) -> Damaged:
    x = Defocus(radius).degrade(case.image.pixels[None])
    image = dataclasses.replace(case.image, pixels=x[0])
    return dataclasses.replace(case, image=image, plain=x, settings={**case.settings, "defocus": radius})


KIND = Kind(
    Defocus,
    given=_given,
    find=_find,  # not unasked: drawings with dots of one size show the same rings
    trials=(
        Trial(
            "defocus",
            f"radius of the disc in pixels, up to {LARGEST_RADIUS:g}",
            number(0, LARGEST_RADIUS),
            _damage,
            stored=False,
        ),
    ),
)

__all__ = ["KIND", "Defocus"]

"""Additive white Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from zssr.errors import SettingsError
from zssr.resample import Scale, Size


@dataclass(frozen=True)
class Noise:
    """y = x + sigma * n, with n independent standard normal samples.

    sigma: standard deviation in grey levels of 255. Values are not clipped.
    """

    sigma: float
    scale: Scale = (Fraction(1), Fraction(1))
    symmetries: frozenset[int] = frozenset(range(8))
    noisy: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 255:
            raise SettingsError(f"noise {self.sigma:g}: the standard deviation must lie between 0 and 255 grey levels")

    def out_size(self, size: Size) -> Size:
        return size

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Add noise drawn on the generator's device."""
        noise = torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype)
        return x + noise.to(x.device) * (self.sigma / 255)

    def base(self, y: Tensor, size: Size) -> Tensor:
        return y

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """x itself: a noisy measurement is nothing to be agreed with exactly."""
        return x

    def to_json(self) -> dict[str, Any]:
        return {"name": "noise", "sigma": self.sigma}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Noise:
        return cls(data["sigma"])

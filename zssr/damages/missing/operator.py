"""Missing parts: scratches, stains, text over a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.damages.region import Region
from zssr.resample import Size, fit

RELAXATIONS = 24
WINDOWS = 3


@dataclass(frozen=True)
class Missing(Degradation):
    """y = x outside the region; inside it is lost, and y holds anything there."""

    kind: ClassVar[str] = "missing"
    lost: ClassVar[str] = "What stands in the missing parts is imagined from their surroundings."
    overwrites: ClassVar[bool] = True
    region: Region = field()

    def at_crop(self, size: Size, rng: torch.Generator) -> Missing:
        """Some windows of the region over each other: more to learn from in a crop."""
        pixels = torch.zeros(1, 1, *size, dtype=torch.bool)
        for _ in range(WINDOWS):
            more = pixels | self.region.window(size, rng)[0].pixels
            if more.float().mean() > 0.5 and pixels.any():
                break
            pixels = more
        return Missing(Region(pixels))

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to the same, black where it is lost. rng is not used."""
        return x.masked_fill(self.region.pixels.to(x.device), 0)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """The smoothest continuation of the surroundings: averages of ever larger neighbourhoods, relaxed."""
        known = (~self.region.pixels).to(y)
        filled = _filled(y, known)
        for _ in range(RELAXATIONS):  # towards the harmonic function with these borders
            padded = functional.pad(filled, (1, 1, 1, 1), mode="replicate")
            mean = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
            filled = torch.lerp(mean.div_(4), y, known)
        return filled

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """y outside the region, to the bit."""
        return self.region.inside(x, y)

    def plain(self, y: Tensor, size: Size) -> Tensor:
        """The same as the base: where nothing is, its smoothest continuation."""
        return self.base(y, size)

    def hint_channels(self, channels: int) -> int:
        return 1

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """The region."""
        return self.region.hint(y)

    def describe(self) -> str:
        return f"missing parts{self.on_region()}"

    def transformed(self, transform: int) -> Missing:
        return Missing(self.region.transformed(transform))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.kind, "region": self.region.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Missing:
        return cls(Region.from_json(data["region"]))


def _filled(y: Tensor, known: Tensor) -> Tensor:
    """y with unknown pixels (known 0) replaced by means of known ones near, from a coarser picture where none are."""
    if min(y.shape[-2:]) < 2 or bool(known.all()):
        return y
    sums = functional.avg_pool2d(y * known, 2, ceil_mode=True)
    share = functional.avg_pool2d(known, 2, ceil_mode=True)
    coarse = _filled(sums / share.clamp(min=1e-6), (share > 0).to(y))
    return torch.lerp(fit(coarse, (y.shape[-2], y.shape[-1])), y, known)

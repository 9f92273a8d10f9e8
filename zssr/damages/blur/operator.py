"""Blur at the picture's own size: of the whole picture, or of a part against sharp surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.damages.downscale.kernel import Kernel, kernel_from_json
from zssr.damages.downscale.operator import ROUNDING, Downscale
from zssr.damages.region import Region
from zssr.resample import Size

BASE_STEPS = 4
_SAME_SIZE = (Fraction(1), Fraction(1))


@dataclass(frozen=True)
class Blur(Degradation):
    """y = x * kernel, within the region if there is one.

    kernel: as of Downscale, "gaussian:SIGMA" or rows of weights, centred on its centre of mass.
    """

    kind: ClassVar[str] = "blur"
    lost: ClassVar[str] = "Detail that the blur took below the rounding error is an estimate."
    kernel: Kernel
    region: Region | None = None

    def __post_init__(self) -> None:
        self._filter  # noqa: B018 - fails now rather than in the middle of the work

    @property
    def _filter(self) -> Downscale:
        return Downscale(_SAME_SIZE, self.kernel)

    @property
    def point_spread(self) -> Tensor | None:
        return self._filter.weights if self.region is None else None

    @property
    def symmetries(self) -> frozenset[int]:
        return super().symmetries & self._filter.symmetries

    @property
    def clean_scale(self) -> float:
        """A region's blur is learned from sharp surroundings; else smaller copies are sharper."""
        return 0.6 if self.region is None else 1.0

    def at_crop(self, size: Size, rng: torch.Generator) -> Blur:
        return self if self.region is None else Blur(self.kernel, self.region.window(size, rng)[0])

    def degrade(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) to the same. rng is not used."""
        return self._inside(self._filter.degrade(x), x)

    def base(self, y: Tensor, size: Size) -> Tensor:
        """A few steps of van Cittert's iteration: what a linear filter restores before noise grows."""
        x = y
        for _ in range(BASE_STEPS):
            x = self._inside(x + y - self.degrade(x), y)
        return x

    def project(self, x: Tensor, y: Tensor, steps: int = 50, tolerance: float = ROUNDING) -> Tensor:
        """Landweber's iteration until x degrades to y within the rounding error, or for so many steps.

        The misfit is blurred before it is added: what of it the blur cannot have passed is rounding, or a blur other
        than thought, and added as it is grows with every step.
        """
        x = self._inside(x, y)
        share = 1.0 if self.region is None else self.region.pixels.float().mean().item()
        weights = self._filter.weights
        # The iteration converges while the kernel's gain, squared, is below 2; without negative weights it is 1.
        gain = 1.0 if weights is None else max(1.0, weights.abs().sum().item()) ** 2
        for _ in range(steps):
            misfit = self._inside(y - self.degrade(x), torch.zeros_like(y))
            if (misfit.square().mean() / share).sqrt() <= tolerance:
                break
            change = self._filter.degrade(misfit.flip(-2, -1)).flip(-2, -1) / gain
            x = self._inside((x + change).clamp_(0, 1), y)
        return x

    def hint_channels(self, channels: int) -> int:
        return 0 if self.region is None else 1

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """The region, if there is one."""
        return super().hints(y, size) if self.region is None else self.region.hint(y)

    def describe(self) -> str:
        kernel = self.kernel if isinstance(self.kernel, str) else "given kernel"
        return f"blur ({kernel}){self.on_region()}"

    def transformed(self, transform: int) -> Blur:
        return self if self.region is None else Blur(self.kernel, self.region.transformed(transform))

    def to_json(self) -> dict[str, Any]:
        region = None if self.region is None else self.region.to_json()
        return {"name": self.kind, "kernel": self.kernel, "region": region}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Blur:
        region = None if data["region"] is None else Region.from_json(data["region"])
        return cls(kernel_from_json(data["kernel"]), region)

    def _inside(self, x: Tensor, y: Tensor) -> Tensor:
        """x in the region, y around it."""
        return x if self.region is None else self.region.inside(x, y)

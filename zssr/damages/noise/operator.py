"""Additive noise: white and Gaussian, of one strength or growing with brightness as light's own does."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.dct_shrinkage import DCT_SIDE, multiscale, thresholded, wiener
from zssr.errors import SettingsError
from zssr.features import local_contrast
from zssr.patch_groups import collaborative
from zssr.resample import Size

# The thresholds of BM3D (Dabov et al. 2007).
THRESHOLD = 2.7  # standard deviations
VARIANCE = 1.0


@dataclass(frozen=True)
class Noise(Degradation):
    """y = x + n, where n has independent normal samples of variance sigma^2 + slope * brightness.

    sigma: standard deviation in black, in grey levels of 255. slope: growth of the variance per grey level;
    0 for noise of one strength. channels: standard deviation in each of three channels over sigma, where they differ.
    Values are not clipped.
    """

    kind: ClassVar[str] = "noise"
    lost: ClassVar[str] = "Detail weaker than the noise cannot be told from it, and may be missing."
    noisy: ClassVar[bool] = True
    bytes_a_pixel: ClassVar[int] = 100  # of the sums and members of all groups
    sigma: float
    slope: float = 0.0
    channels: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 255 or not 0 <= self.slope <= 255:
            raise SettingsError(f"noise {self.sigma:g}: the standard deviation must lie between 0 and 255 grey levels")
        shares = self.channels
        if shares is not None and not (len(shares) == 3 and all(0 <= share < math.inf for share in shares)):
            raise SettingsError(f"noise of channels {shares}: must be three numbers of at least 0")

    @property
    def clean_scale(self) -> float:
        return 0.6

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Add noise drawn on the generator's device."""
        noise = torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype).to(x.device)
        noise *= self._by_channel(x)
        if not self.slope:
            return x + noise * (self.sigma / 255)
        return x + noise * (x.clamp(min=0) * 255 * self.slope + self.sigma**2).sqrt() / 255

    def base(self, y: Tensor, size: Size) -> Tensor:
        """Filtered in the sliding DCT, colour turned to luma and two differences, which are smoother."""
        return self._filtered(y, False)

    def thorough_base(self, y: Tensor, size: Size) -> Tensor:
        """`base`, then filtered in groups of like patches."""
        return self._filtered(y, True)

    def _filtered(self, y: Tensor, in_groups: bool) -> Tensor:
        if not self.sigma and not self.slope:
            return y
        x, sigma = self._stabilised(y)
        if x.shape[1] == 3:
            x = torch.einsum("kc,nchw->nkhw", _opponents(x.device), x)
        # Of each plane, over sigma: differences of channels hold the noise of all of them.
        shares = self._by_channel(y)[:, 0, 0]
        if x.shape[1] == 3:
            shares = (_opponents(x.device).square() @ shares.square()).sqrt()
        estimate = multiscale(x, sigma, functools.partial(_by_planes, shares=shares.tolist()))
        if in_groups:
            variance = (VARIANCE * (sigma * shares) ** 2)[:, None].expand(-1, DCT_SIDE**2)
            pairs = zip(x.split(1), estimate.split(1), strict=True)
            estimate = torch.cat([collaborative(noisy, first, variance) for noisy, first in pairs])
        if x.shape[1] == 3:
            estimate = torch.einsum("kc,nkhw->nchw", _opponents(x.device), estimate)
        return self._unstabilised(estimate).clamp_(0, 1)

    def strengths(self, y: Tensor) -> Tensor:
        return (y.clamp(0, 1) * 255 * self.slope + self.sigma**2).sqrt_().div_(255) * self._by_channel(y)

    def hint_channels(self, channels: int) -> int:
        return channels

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """The contrast of the noisy picture, for what the base took for noise."""
        return local_contrast(y)

    def _by_channel(self, x: Tensor) -> Tensor:
        """(C, 1, 1) standard deviation in each channel of x over sigma."""
        if self.channels is None or x.shape[1] != len(self.channels):
            return x.new_ones(x.shape[1], 1, 1)
        return x.new_tensor(self.channels)[:, None, None]

    def describe(self) -> str:
        if self.channels is not None:
            each = [f"{share * self.sigma:.0f}" for share in self.channels]
            return f"noise of {each[0]}, {each[1]} and {each[2]} grey levels in red, green and blue"
        return f"noise of {self.sigma:g} grey levels" + (", growing with brightness" if self.slope else "")

    def to_json(self) -> dict[str, Any]:
        channels = None if self.channels is None else list(self.channels)
        return {"name": self.kind, "sigma": self.sigma, "slope": self.slope, "channels": channels}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Noise:
        channels = data.get("channels")
        return cls(data["sigma"], data["slope"], None if channels is None else tuple(channels))

    def _stabilised(self, y: Tensor) -> tuple[Tensor, float]:
        """y on a scale where the noise is equally strong everywhere, and its standard deviation there.

        The root of the variance's integral (Anscombe 1948; Starck, Murtagh and Bijaoui 1998 for a
        Gaussian part).
        """
        if not self.slope:
            return y, self.sigma / 255
        return (y.clamp(min=0) * 255 * self.slope + self.sigma**2).sqrt().mul_(2 / self.slope / 255), 1 / 255

    def _unstabilised(self, x: Tensor) -> Tensor:
        if not self.slope:
            return x
        return (x * (255 * self.slope / 2)).square_().sub_(self.sigma**2).div_(255 * self.slope)


def _by_planes(x: Tensor, sigma: float, shares: Sequence[float]) -> Tensor:
    """shares: standard deviation of each plane's noise over sigma."""
    planes = []
    for plane, share in zip(x.split(1, 1), shares, strict=True):
        first = thresholded(plane, torch.full((DCT_SIDE**2,), THRESHOLD * sigma * share))
        planes.append(wiener(plane, first, torch.full((DCT_SIDE**2,), VARIANCE * (sigma * share) ** 2)))
    return torch.cat(planes, 1)


@functools.lru_cache(maxsize=8)
def _opponents(device: torch.device) -> Tensor:
    """(3, 3) orthonormal: brightness, red against blue, green against both; white noise stays white."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    return (rows / rows.norm(dim=1, keepdim=True)).to(device)

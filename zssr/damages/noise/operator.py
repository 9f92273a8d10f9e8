"""Additive Gaussian noise, of one strength or growing with brightness as light's own does; white or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.damages.noise.planes import RGB, planes_of
from zssr.damages.noise.spectrum import Spectrum, drawn, halved
from zssr.dct_shrinkage import DCT_SIDE, LEVELS, multiscale, thresholded, wiener
from zssr.dihedral import ALL_EIGHT, FLIPS
from zssr.errors import SettingsError
from zssr.features import local_contrast
from zssr.patch_groups import collaborative
from zssr.resample import Size

# The thresholds of BM3D (Dabov et al. 2007).
THRESHOLD = 2.7  # standard deviations
VARIANCE = 1.0


@dataclass(frozen=True)
class Noise(Degradation):
    """y = x + n, where n has normal samples of variance sigma^2 + slope * brightness, independent without a spectrum.

    sigma: standard deviation in black, in grey levels of 255. slope: growth of the variance per grey level;
    0 for noise of one strength. channels: standard deviation in each of three channels over sigma, where they differ.
    spectrum: of each plane of `planes_of`, or of the grey one, the standard deviations of the 64 DCT coefficients of an
    8x8 patch over sigma, where they differ. Values are not clipped.
    """

    kind: ClassVar[str] = "noise"
    lost: ClassVar[str] = "Detail weaker than the noise cannot be told from it, and may be missing."
    noisy: ClassVar[bool] = True
    bytes_a_pixel: ClassVar[int] = 100  # of the sums and members of all groups
    sigma: float
    slope: float = 0.0
    channels: tuple[float, float, float] | None = None
    spectrum: Spectrum | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 255 or not 0 <= self.slope <= 255:
            raise SettingsError(f"noise {self.sigma:g}: the standard deviation must lie between 0 and 255 grey levels")
        shares = self.channels
        if shares is not None and not (len(shares) == 3 and all(0 <= share < math.inf for share in shares)):
            raise SettingsError(f"noise of channels {shares}: must be three numbers of at least 0")
        if self.spectrum is not None and not all(
            len(plane) == DCT_SIDE**2 and all(0 <= one < math.inf for one in plane) for plane in self.spectrum
        ):
            raise SettingsError("noise spectrum: must be 64 numbers of at least 0 for each plane")

    @property
    def clean_scale(self) -> float:
        return 0.6

    @property
    def symmetries(self) -> frozenset[int]:
        """A spectrum tells rows from columns."""
        return ALL_EIGHT if self.spectrum is None else FLIPS

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Add noise drawn on the generator's device."""
        spectrum = self._spectrum(x)
        if spectrum is None:
            noise = torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype).to(x.device)
            noise *= self._by_channel(x)
        else:
            planes = drawn(spectrum, x.shape, rng, x.dtype).to(x.device)
            noise = torch.einsum("ck,nkhw->nchw", self._planes(x)[1], planes)
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
        matrix, inverse = self._planes(y)
        x = torch.einsum("kc,nchw->nkhw", matrix, x)
        deviations = [sigma * self._by_coefficient(y, level) for level in range(LEVELS + 1)]
        estimate = multiscale(x, lambda smaller, level: _by_planes(smaller, deviations[level]))
        if in_groups:
            variance = VARIANCE * (sigma * self._by_coefficient(y, 0).float()).square()
            pairs = zip(x.split(1), estimate.split(1), strict=True)
            estimate = torch.cat([collaborative(noisy, first, variance) for noisy, first in pairs])
        estimate = torch.einsum("ck,nkhw->nchw", inverse, estimate)
        return self._unstabilised(estimate).clamp_(0, 1)

    def strengths(self, y: Tensor, halvings: int = 0) -> Tensor:
        return (y.clamp(0, 1) * 255 * self.slope + self.sigma**2).sqrt_().div_(255) * self._by_channel(y, halvings)

    def hint_channels(self, channels: int) -> int:
        return channels

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """The contrast of the noisy picture, for what the base took for noise."""
        return local_contrast(y)

    def _planes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(planes, C) from the channels of x to planes that are filtered one by one, and back."""
        if x.shape[1] != RGB:
            same = torch.eye(x.shape[1], device=x.device)
            return same, same
        return planes_of(self.channels, x.device)

    def _by_coefficient(self, x: Tensor, level: int) -> Tensor:
        """(planes, 64) standard deviation over sigma in the planes of x halved `level` times."""
        spectrum = self._spectrum(x)
        if spectrum is not None:
            for _ in range(level):
                spectrum = halved(spectrum)
            return torch.tensor(spectrum, dtype=torch.float64, device=x.device)
        planes = (self._planes(x)[0].square() @ self._by_channel(x)[:, 0, 0].square()).sqrt()
        return (planes.double() / 2**level)[:, None].expand(-1, DCT_SIDE**2)

    def _spectrum(self, x: Tensor) -> Spectrum | None:
        """That of the planes of x; None for white noise."""
        return self.spectrum if self.spectrum is not None and len(self.spectrum) == x.shape[1] else None

    def _by_channel(self, x: Tensor, level: int = 0) -> Tensor:
        """(C, 1, 1) standard deviation in each channel of x over sigma; or of x halved `level` times, over what white
        noise would have left there."""
        if self._spectrum(x) is not None:
            planes = self._by_coefficient(x, level).to(x).square().mean(1) * 4**level
            return (self._planes(x)[1].square() @ planes).sqrt()[:, None, None]
        if self.channels is None or x.shape[1] != len(self.channels):
            return x.new_ones(x.shape[1], 1, 1)
        return x.new_tensor(self.channels)[:, None, None]

    def describe(self) -> str:
        if self.channels is not None:
            each = [f"{share * self.sigma:.0f}" for share in self.channels]
            return f"noise of {each[0]}, {each[1]} and {each[2]} grey levels in red, green and blue"
        return f"noise of {self.sigma:g} grey levels{self.manner}"

    @property
    def manner(self) -> str:
        """For people: in what it differs from white noise of one strength; empty where in nothing."""
        correlated = "" if self.spectrum is None else ", correlated between pixels"
        return correlated + (", growing with brightness" if self.slope else "")

    def to_json(self) -> dict[str, Any]:
        channels = None if self.channels is None else list(self.channels)
        described = {"name": self.kind, "sigma": self.sigma, "slope": self.slope, "channels": channels}
        return described if self.spectrum is None else {**described, "spectrum": [list(one) for one in self.spectrum]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Noise:
        channels, spectrum = data.get("channels"), data.get("spectrum")
        return cls(
            data["sigma"],
            data["slope"],
            None if channels is None else tuple(channels),
            None if spectrum is None else tuple(map(tuple, spectrum)),
        )

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


def _by_planes(x: Tensor, deviations: Tensor) -> Tensor:
    """deviations: (planes, 64), of the noise in each plane's coefficients."""
    planes = []
    for plane, deviation in zip(x.split(1, 1), deviations, strict=True):
        first = thresholded(plane, THRESHOLD * deviation)
        planes.append(wiener(plane, first, VARIANCE * deviation.square()))
    return torch.cat(planes, 1)

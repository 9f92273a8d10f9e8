"""Noise of any strength, told for each channel."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from zssr.network import UNSHUFFLE
from zssr.priors.families.levels import ThreeLevels

RGB = 3
NOISE_HINTS = 2 * RGB


class Denoiser(nn.Module):
    """On the picture unshuffled by two, with maps of the noise's strength (FFDNet: Zhang et al., TIP 2018)."""

    MULTIPLE = UNSHUFFLE * ThreeLevels.MULTIPLE  # of which the sides must be

    def __init__(self) -> None:
        super().__init__()
        self.body = ThreeLevels(RGB * UNSHUFFLE**2 + NOISE_HINTS, RGB * UNSHUFFLE**2)

    def forward(self, noisy: Tensor, strengths: Tensor) -> Tensor:
        """(N, 3, H, W), the noisy picture in [0, 1], and (N, 6, H/2, W/2), the noise's standard deviation in each
        channel, and that of the mean of 2x2 pixels, twice (the same where the noise is white), to (N, 3, H, W), not
        clipped."""
        # Standard deviations are small numbers: 25 grey levels are 0.1.
        seen = torch.cat([functional.pixel_unshuffle(noisy - 0.5, UNSHUFFLE), strengths * 4], 1)
        return noisy + functional.pixel_shuffle(self.body(seen), UNSHUFFLE)

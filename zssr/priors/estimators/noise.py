"""Noise of a known strength."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from zssr.apply import tiled
from zssr.damages import Chain, Degradation
from zssr.dihedral import dihedral
from zssr.network import UNSHUFFLE
from zssr.priors.estimators.base import TILE, Own, PriorEstimator, as_it_was, in_colour
from zssr.priors.families.denoise import RGB, Denoiser
from zssr.resample import Size, extended


class NoisePrior(Own, PriorEstimator):
    """Removes noise."""

    bytes_a_pixel = 2000  # of a tile, which is all of a small picture

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        return None if any(map(self.undoes, damage.parts)) else "removes noise, and there is none to undo"

    def undoes(self, part: Degradation) -> bool:
        return part.noisy

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        network = self.on(y.device)
        height, width = y.shape[-2:]
        whole = Denoiser.MULTIPLE
        seen = extended(in_colour(y), (0, -height % whole), (0, -width % whole))
        small = functional.avg_pool2d(seen, UNSHUFFLE)
        strengths = torch.cat([part.strengths(small), part.strengths(small, halvings=1)], 1)
        # The strengths travel with the picture through the tiles.
        seen = torch.cat([seen, functional.interpolate(strengths, scale_factor=UNSHUFFLE)], 1)
        halo = -(-self.reach // whole) * whole

        def run(piece: Tensor) -> Tensor:
            return network(piece[:, :RGB], piece[:, RGB:, ::UNSHUFFLE, ::UNSHUFFLE])

        restored = self.averaged(lambda transform: tiled(run, dihedral(seen, transform), TILE, halo))
        return as_it_was(restored[..., :height, :width], y).clamp_(0, 1)

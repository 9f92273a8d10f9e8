"""Parts of a picture that are pixelated, blurred or missing."""

from __future__ import annotations

import torch
from torch import Tensor

from zssr.apply import tiled
from zssr.damages import Chain
from zssr.device import Compute
from zssr.dihedral import dihedral, dihedral_inverse
from zssr.priors.cards import FAMILIES
from zssr.priors.estimators.base import Own, PriorEstimator
from zssr.priors.families import RGB, UNet
from zssr.priors.samples import seen_of_region
from zssr.resample import Size, extended

REGION_TILE = 512


class RegionPrior(Own, PriorEstimator):
    """Restores a part that is pixelated, blurred or missing."""

    bytes_a_pixel = 20 * 4  # of what the network sees and gives, where all is damaged

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        if not enlarges and len(damage.parts) == 1 and damage.parts[0].region is not None:
            return None
        why = "at the picture's own size only; repair first, then enlarge" if enlarges else "and for nothing beside it"
        return f"is for one part that is pixelated, blurred or missing, {why}"

    def __call__(self, degradation: Chain, y: Tensor, size: Size) -> Tensor:
        """y (N, C, H, W) in [0, 1] to the same, restored where it is damaged."""
        network = self.network.to(y.device)
        seen = seen_of_region(degradation, y.expand(-1, RGB, -1, -1))
        mask = degradation.mask(size)
        assert mask is not None
        if not mask.any():
            return y
        # From a corner of a mosaic's cell on, as in training, and on whole positions of the coarsest level.
        offset = degradation.grid_offset
        margins = [(before, -(length + before) % UNet.MULTIPLE) for length, before in zip(size, offset, strict=True)]
        seen, wanted = (extended(x, *margins) for x in (seen, mask.to(seen)))
        halo = -(-FAMILIES[self.card.family].reach // UNet.MULTIPLE) * UNet.MULTIPLE
        # The part and what is seen around it, which saves memory.
        rows, columns = (_span(wanted[0, 0].amax(dimension), halo) for dimension in (1, 0))
        seen, wanted = (x[..., rows, columns] for x in (seen, wanted))
        total = torch.zeros_like(seen[:, :RGB])
        for transform in sorted(self.transforms):
            turned = dihedral(seen, transform)
            if transform % 2:  # the hints of rows are those of columns now
                turned = torch.cat([turned[:, :-2], turned[:, -2:].flip(1)], 1)
            with torch.no_grad(), Compute(y.device, self.precision).autocast():
                result = tiled(network, turned, REGION_TILE, halo, mask=dihedral(wanted, transform) > 0)
            total += dihedral_inverse(result, transform)
        restored = y.new_zeros(len(y), RGB, size[0] + sum(margins[0]), size[1] + sum(margins[1]))
        restored[..., rows, columns] = total / len(self.transforms)
        restored = restored[..., offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]].clamp(0, 1)
        if y.shape[1] == 1:
            restored = restored.mean(1, keepdim=True)
        return torch.where(mask.to(y.device), restored, y)


def _span(wanted: Tensor, halo: int) -> slice:
    """Of the positions that are wanted (above 0) and `halo` around them, in whole positions of the coarsest level."""
    places = wanted.nonzero()
    first, last = int(places[0]), int(places[-1]) + 1
    whole = UNet.MULTIPLE
    return slice(max(0, (first - halo) // whole * whole), min(len(wanted), -(-(last + halo) // whole) * whole))

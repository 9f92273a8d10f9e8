"""Priors: networks trained on other pictures, as the first estimate or as initial weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from zssr.apply import tiled
from zssr.damages import Chain, Degradation
from zssr.device import Compute
from zssr.dihedral import ALL_EIGHT, IDENTITY, dihedral, dihedral_inverse
from zssr.examples import Estimator
from zssr.network import Network
from zssr.priors.cards import FAMILIES, load_weights, sha256_of
from zssr.priors.families import BLOCK, RGB, Initial, UNet
from zssr.priors.samples import seen_of_region
from zssr.resample import Size, extended

TILE = 256  # a family that sees each block nine times over needs a gigabyte for one of 512
REGION_TILE = 512


class Prior(Protocol):
    """A network that was trained on other pictures.

    task, licence: for people. parameters: how many.
    """

    name: str
    task: str
    licence: str
    sha256: str
    parameters: int

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        """Why it is not for a picture with this damage, which is enlarged or not; None where it is."""


class PriorEstimator(Prior, Estimator, Protocol):
    """A prior that gives the first estimate. passes: how many times it is applied, where more than once makes sense."""

    passes: int = 1

    @property
    def label(self) -> str:
        """Its name, and how it is used where that is not the usual way."""
        return self.name

    def milder(self, channels: int) -> Self | None:
        """A more careful version for pictures of `channels`, to be tried where this one does harm."""
        return None

    def ensembled(self) -> Self:
        """The mean over all flips and rotations (Timofte et al., 2016), where it has one: slower and better."""
        return self


class Own:
    """A network of one of zssr's families, with its card. transforms: the flips and rotations that are averaged."""

    transforms = frozenset({IDENTITY})

    def __init__(self, path: Path, name: str, precision: torch.dtype = torch.float32) -> None:
        """precision: the number format it computes in. Raises PriorError."""
        self.precision, self.name = precision, name
        self.network, self.card = load_weights(path)
        family = FAMILIES[self.card.family]
        self.task, self.licence = family.task, self.card.licence
        self.parameters = sum(parameter.numel() for parameter in self.network.parameters())
        self.sha256 = sha256_of(path)

    def ensembled(self) -> Self:
        other = copy.copy(self)
        other.transforms = ALL_EIGHT
        return other


class JpegPrior(Own, PriorEstimator):
    """Repairs the components of a JPEG picture plane by plane.

    luma_alone: whether chroma is left to the damage's own filter.
    """

    luma_alone = False

    @property
    def label(self) -> str:
        return f"{self.name} on luma alone" if self.luma_alone else self.name

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        if any(part.planewise for part in damage.parts):
            return None
        return "repairs JPEG compression, and there is none to undo"

    def milder(self, channels: int) -> Self | None:
        """On luma alone, where there is chroma."""
        if channels == 1 or self.luma_alone:
            return None
        other = copy.copy(self)
        other.luma_alone = True
        return other

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        return part.base_by_planes(y, size, self.restore, self.luma_alone)

    def restore(self, planes: Tensor, steps: Tensor) -> Tensor:
        """(N, 1, h, w) in [0, 1] on whole blocks, and the table's steps (8, 8), to the planes repaired; tiles do not
        show."""
        for _ in range(self.passes):
            results = [
                dihedral_inverse(
                    self._once(dihedral(planes, transform), steps.T if transform % 2 else steps), transform
                )
                for transform in sorted(self.transforms)
            ]
            planes = torch.stack(results).mean(0)
        return planes

    def _once(self, planes: Tensor, steps: Tensor) -> Tensor:
        network = self.network.to(planes.device)
        table = steps.reshape(1, -1).expand(len(planes), -1)
        with torch.no_grad(), Compute(planes.device, self.precision).autocast():
            return tiled(lambda piece: network(piece, table), planes, TILE, self.reach)

    @property
    def reach(self) -> int:
        """How far the network sees, in whole blocks."""
        return -(-FAMILIES[self.card.family].reach // BLOCK) * BLOCK


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


class InitialPrior(Own, Prior):
    """Initial weights for the network of one picture."""

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        if enlarges or (damage.parts and all(part.planewise for part in damage.parts)):
            return None
        return "is for enlarging and for JPEG compression alone"

    def begin(self, network: Network, factor: float) -> None:
        """Give the network the weights for a factor; 1 for JPEG compression alone. Raises PriorError where they do not
        fit."""
        assert isinstance(self.network, Initial)
        self.network.begin(network, factor)


def _span(wanted: Tensor, halo: int) -> slice:
    """Of the positions that are wanted (above 0) and `halo` around them, in whole positions of the coarsest level."""
    places = wanted.nonzero()
    first, last = int(places[0]), int(places[-1]) + 1
    whole = UNet.MULTIPLE
    return slice(max(0, (first - halo) // whole * whole), min(len(wanted), -(-(last + halo) // whole) * whole))

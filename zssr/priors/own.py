"""The families in use: as a first estimate, or as initial weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from zssr.degrade import Chain
from zssr.device import computing
from zssr.image import dihedral, dihedral_inverse
from zssr.priors.cards import FAMILIES, load_weights, sha256_of
from zssr.priors.families import BLOCK, RGB, UNet
from zssr.priors.samples import told_of_region
from zssr.priors.tiles import tiled
from zssr.resample import Size, extended

TILE = 256  # a family that sees each block nine times over needs a gigabyte for one of 512
REGION_TILE = 512


class Prior:
    """A trained network with its card. moves: the flips and rotations whose results are averaged, as the first estimate
    (Timofte et al., 2016)."""

    moves = frozenset({0})

    def __init__(self, path: Path, name: str, precision: torch.dtype = torch.float32) -> None:
        """precision: the number format it computes in. Raises PriorError."""
        self.precision, self.name = precision, name
        self.network, self.card = load_weights(path)
        family = FAMILIES[self.card.family]
        self.role, self.task, self.licence = family.role, family.task, self.card.licence
        self.parameters = sum(parameter.numel() for parameter in self.network.parameters())
        self.sha256 = sha256_of(path)

    def ensembled(self) -> Self:
        """The same with all flips and rotations: slower and better."""
        other = copy.copy(self)
        other.moves = frozenset(range(8))
        return other


class ComponentsPrior(Prior):
    """The first estimate of a JPEG picture's components; see `Jpeg.prior`.

    passes: how often it is applied.
    """

    passes = 1

    def __call__(self, planes: Tensor, steps: Tensor) -> Tensor:
        """(N, 1, h, w) in [0, 1] on whole blocks, and the table's steps, to the planes repaired; tiles do not show."""
        for _ in range(self.passes):
            results = [
                dihedral_inverse(self._once(dihedral(planes, move), steps.T if move % 2 else steps), move)
                for move in sorted(self.moves)
            ]
            planes = torch.stack(results).mean(0)
        return planes

    def _once(self, planes: Tensor, steps: Tensor) -> Tensor:
        network = self.network.to(planes.device)
        table = steps.reshape(1, -1).expand(len(planes), -1)
        with torch.no_grad(), computing(planes.device, self.precision):
            return tiled(lambda piece: network(piece, table), planes, TILE, self.reach)

    @property
    def reach(self) -> int:
        """How far the network sees, in whole blocks."""
        return -(-FAMILIES[self.card.family].reach // BLOCK) * BLOCK


class RegionPrior(Prior):
    """The first estimate of a part that is pixelated, blurred or missing; see `Chain.prior`."""

    def fits(self, degradation: Chain) -> bool:
        """Whether it is for this: one damage, of a part of the picture."""
        region = getattr(degradation.parts[0], "region", None) if len(degradation.parts) == 1 else None
        return region is not None

    def __call__(self, degradation: Chain, y: Tensor, size: Size) -> Tensor:
        """y (N, C, H, W) in [0, 1] to the same, restored where it is damaged."""
        network = self.network.to(y.device)
        told = told_of_region(degradation, y.expand(-1, RGB, -1, -1))
        damaged = degradation.damaged(size)
        assert damaged is not None
        if not damaged.any():
            return y
        # From a corner of a mosaic's cell on, as in training, and on whole positions of the coarsest level.
        lead = degradation.lead
        margins = [(before, -(length + before) % UNet.MULTIPLE) for length, before in zip(size, lead, strict=True)]
        told, wanted = (extended(x, *margins) for x in (told, damaged.to(told)))
        halo = -(-FAMILIES[self.card.family].reach // UNet.MULTIPLE) * UNet.MULTIPLE
        # The part and what is seen around it, which saves memory.
        rows, columns = (_span(wanted[0, 0].amax(dimension), halo) for dimension in (1, 0))
        told, wanted = (x[..., rows, columns] for x in (told, wanted))
        total = torch.zeros_like(told[:, :RGB])
        for move in sorted(self.moves):
            turned = dihedral(told, move)
            if move % 2:  # what told of rows tells of columns now
                turned = torch.cat([turned[:, :-2], turned[:, -2:].flip(1)], 1)
            with torch.no_grad(), computing(y.device, self.precision):
                result = tiled(network, turned, REGION_TILE, halo, wanted=dihedral(wanted, move) > 0)
            total += dihedral_inverse(result, move)
        restored = y.new_zeros(len(y), RGB, size[0] + sum(margins[0]), size[1] + sum(margins[1]))
        restored[..., rows, columns] = total / len(self.moves)
        restored = restored[..., lead[0] : lead[0] + size[0], lead[1] : lead[1] + size[1]].clamp(0, 1)
        if y.shape[1] == 1:
            restored = restored.mean(1, keepdim=True)
        return torch.where(damaged.to(y.device), restored, y)


def _span(wanted: Tensor, halo: int) -> slice:
    """Of the positions that are wanted (above 0) and `halo` around them, in whole positions of the coarsest level."""
    places = wanted.nonzero()
    first, last = int(places[0]), int(places[-1]) + 1
    whole = UNet.MULTIPLE
    return slice(max(0, (first - halo) // whole * whole), min(len(wanted), -(-(last + halo) // whole) * whole))

"""What every prior is, and what those of zssr have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from zssr.damages import Chain, Degradation
from zssr.device import Compute
from zssr.dihedral import ALL_EIGHT, IDENTITY, dihedral_inverse
from zssr.examples import Estimator
from zssr.priors.cards import FAMILIES, load_weights, sha256_of
from zssr.priors.families import RGB

TILE = 256  # a family that sees each block nine times over needs a gigabyte for one of 512


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

    def undoes(self, part: Degradation) -> bool:
        """Whether it is for this damage, whatever the others of a picture are, so that priors for them can join it."""
        return False

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

    @property
    def reach(self) -> int:
        """How many pixels to each side the network sees; further ones do not show."""
        return FAMILIES[self.card.family].reach

    def averaged(self, run: Callable[[int], Tensor]) -> Tensor:
        """The mean of what `run` gives for each of the transforms, turned back."""
        total: Tensor | None = None
        for transform in sorted(self.transforms):
            with torch.no_grad(), Compute(self.device, self.precision).autocast():
                result = dihedral_inverse(run(transform), transform)
            total = result if total is None else total + result
        assert total is not None
        return total / len(self.transforms)

    def on(self, device: torch.device) -> nn.Module:
        """The network, there."""
        self.device = device
        return self.network.to(device)


def in_colour(y: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) as three channels."""
    return y.expand(-1, RGB, -1, -1)


def as_it_was(x: Tensor, y: Tensor) -> Tensor:
    """(N, 3, ...) with as many channels as y."""
    return x.mean(1, keepdim=True) if y.shape[1] == 1 else x

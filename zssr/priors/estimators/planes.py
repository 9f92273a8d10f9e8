"""JPEG compression, one component after the other."""

from __future__ import annotations

import copy
from typing import Self

from torch import Tensor

from zssr.apply import tiled
from zssr.damages import Chain, Degradation
from zssr.damages.jpeg.tables import BLOCK
from zssr.dihedral import dihedral
from zssr.priors.cards import FAMILIES
from zssr.priors.estimators.base import TILE, Own, PriorEstimator
from zssr.resample import Size


class PlanesPrior(Own, PriorEstimator):
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

    def undoes(self, part: Degradation) -> bool:
        return part.planewise

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        return part.base_by_planes(y, size, self.restore, self.luma_alone)

    def restore(self, planes: Tensor, steps: Tensor) -> Tensor:
        """(N, 1, h, w) in [0, 1] on whole blocks, and the table's steps (8, 8), to the planes repaired; tiles do not
        show."""
        network = self.on(planes.device)
        for _ in range(self.passes):
            given = planes

            def once(transform: int, given: Tensor = given) -> Tensor:
                turned = (steps.T if transform % 2 else steps).reshape(1, -1).expand(len(given), -1)
                return tiled(lambda piece: network(piece, turned), dihedral(given, transform), TILE, self.reach)

            planes = self.averaged(once)
        return planes

    @property
    def reach(self) -> int:
        """How far the network sees, in whole blocks."""
        return -(-FAMILIES[self.card.family].reach // BLOCK) * BLOCK

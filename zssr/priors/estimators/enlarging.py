"""Enlarging."""

from __future__ import annotations

from torch import Tensor

from zssr.apply import tiled
from zssr.damages import Chain, Degradation
from zssr.dihedral import dihedral
from zssr.priors.estimators.base import TILE, Own, PriorEstimator, as_it_was, in_colour
from zssr.priors.families.sr import Enlarger
from zssr.resample import Size, resize


class EnlargingPrior(Own, PriorEstimator):
    """Enlarges pictures that were made smaller, by bicubic interpolation or much like it."""

    enlarges = True
    bytes_a_pixel = 500  # of a tile, which is all of a small picture

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        return None if enlarges else "enlarges, and the picture is to keep its size"

    def undoes(self, part: Degradation) -> bool:
        return part.scale != (1, 1)

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        if not self.undoes(part):
            return part.base(y, size)
        network = self.on(y.device)
        # By the next whole factor, from which it is then made smaller, or larger by interpolation.
        largest = float(1 / min(part.scale))
        factor = next((factor for factor in Enlarger.FACTORS if factor >= largest), Enlarger.FACTORS[-1])
        seen = in_colour(y)
        enlarged = self.averaged(
            lambda transform: tiled(
                lambda piece: network(piece, factor), dihedral(seen, transform), TILE, self.reach, factor
            )
        )
        vertical, horizontal = (1 / scale / factor for scale in part.scale)
        return as_it_was(resize(enlarged, (vertical, horizontal), size), y)

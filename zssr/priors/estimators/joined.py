"""Several priors for one picture, each for one of its damages."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

from torch import Tensor

from zssr.damages import Chain, Degradation
from zssr.priors.estimators.base import PriorEstimator
from zssr.resample import Size


class Joined(PriorEstimator):
    """The first estimate by priors that each undo one damage; by the damage's own where none does."""

    def __init__(self, priors: Sequence[PriorEstimator]) -> None:
        self.priors = tuple(priors)
        self.name = "+".join(prior.name for prior in priors)
        self.task = ", ".join(prior.task for prior in priors)
        self.licence = ", ".join(sorted({prior.licence for prior in priors}))
        self.sha256 = "+".join(prior.sha256 for prior in priors)
        self.parameters = sum(prior.parameters for prior in priors)
        self.enlarges = any(prior.enlarges for prior in priors)
        self.bytes_a_pixel = max(prior.bytes_a_pixel for prior in priors)

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        return next(filter(None, (prior.unfit(damage, enlarges) for prior in self.priors)), None)

    def undoes(self, part: Degradation) -> bool:
        return any(prior.undoes(part) for prior in self.priors)

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        prior = next((prior for prior in self.priors if prior.undoes(part)), None)
        return part.base(y, size) if prior is None else prior.undo(part, y, size)

    def ensembled(self) -> Self:
        other = copy.copy(self)
        other.priors = tuple(prior.ensembled() for prior in self.priors)
        return other

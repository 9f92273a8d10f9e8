"""The first estimate of a whole picture, at each size on the way to the result."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from zssr.apply import Seen
from zssr.examples import Analytic, Estimator
from zssr.hard_edges import calmed
from zssr.plan import Plan, Step
from zssr.pyramid import Pyramid

MOST_THOROUGH = 1 << 22  # pixels; more would be waited for without a word


class FirstEstimate:
    """Of the picture of a plan whose priors are settled."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.picture = plan.image.pixels[None].to(plan.storage)  # (1, C, h, w), the input

    @functools.cached_property
    def repaired(self) -> Tensor:
        """(1, C, h, w), at the picture's own size; the picture itself where only its size is to change."""
        damage = self._plan.last.degradation.split()[1]
        if self._at_once:
            return damage.base(self.picture, self._plan.in_size)
        return self._best_estimator(damage, self.picture, self._plan.in_size)

    def at(self, step: Step) -> Tensor:
        """(1, C, *step.size)."""
        if self._at_once:
            return self._best_estimator(step.degradation, self.picture, step.size)
        return step.degradation.split()[0].base(self.repaired, step.size)

    def seen(self, step: Step) -> Seen:
        """What the network is shown of the whole picture."""
        degradation = step.degradation
        hints = degradation.hints(self.picture, step.size, self._plan.priors.estimator.undo)
        mask = degradation.mask(step.size)
        return Seen.from_the_grid_on(self.at(step), hints, mask, degradation.grid_offset)

    def agreeing(self, result: Tensor, step: Step) -> Tensor:
        """A result (1, C, *step.size) moved to agree with the input, if the plan says so; outside damaged parts it is
        the input, to the bit."""
        mask = step.degradation.mask(step.size)
        if mask is not None and self._plan.out_size == self._plan.in_size:
            result = torch.where(mask.to(result.device), result, self.picture)
        return self._projected(result, step)

    def plain(self) -> Tensor:
        """(1, C, *plan.out_size): the result without a network."""
        last = self._plan.last
        return self._projected(self.at(last).clamp(0, 1), last)

    def _projected(self, result: Tensor, step: Step) -> Tensor:
        if not self._plan.projects:
            return result
        result = step.degradation.project(result, self.picture)
        if step.size == self._plan.in_size:
            return result
        smaller, *others = step.degradation.parts
        # A hole or a mosaic may be white too.
        small = self.repaired.clamp(0, 1) if others else self.picture
        return calmed(result, small, smaller.plain(small, step.size).clamp(0, 1))

    def pyramid(self) -> Pyramid:
        """Of the picture at its own size, repaired."""
        plan = self._plan
        undamaged = None if plan.undamaged is None else plan.undamaged.float().to(plan.sampling)
        repaired = self.repaired.clamp(0, 1).to(plan.sampling)
        return Pyramid(repaired, plan.last.degradation.split()[1].clean_scale, undamaged)

    @functools.cached_property
    def _best_estimator(self) -> Estimator:
        """Of whole pictures: more work than for the examples, which no budget foresees."""
        priors, settings = self._plan.priors, self._plan.settings
        if settings.budget is not None:
            return priors.estimator
        if not priors.firsts:
            height, width = self._plan.in_size
            return Analytic(thorough=height * width <= MOST_THOROUGH)
        return (priors.ensembled() if settings.ensemble else priors).estimator

    @property
    def _at_once(self) -> bool:
        """Whether repair and enlargement are one, for an estimator that does both."""
        return self._plan.priors.estimator.enlarges and self._plan.out_size != self._plan.in_size

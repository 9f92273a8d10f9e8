"""How much time is left, and what to do with it."""

from __future__ import annotations

import time

from zssr.dihedral import IDENTITY
from zssr.plan import Plan, Step
from zssr.resources import seconds_to_apply
from zssr.train import SecondsLeft, TrainingReport

# A restoration that took so many times its budget is said to have been too long for it.
TOO_LONG = 1.2


class Budget:
    """The wall time for one picture, in seconds; None for as much as it takes."""

    def __init__(self, seconds: float | None, started: float | None = None) -> None:
        """started: time.monotonic() from which the seconds count; default: now."""
        self.seconds = seconds
        self.started = time.monotonic() if started is None else started

    @property
    def used(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self.started

    def for_training(self, plan: Plan, step: Step) -> SecondsLeft | None:
        """How long the training of a step may still take; None where time is no matter."""
        if self.seconds is None:
            return None
        deadline = self.started + self.seconds
        begin = time.monotonic()
        share = step.training_steps / sum(later.training_steps for later in plan.from_step(step))

        def seconds_left(step_seconds: float) -> float:
            transforms = self._transforms(plan, step, step_seconds)
            reserve = self._to_apply(plan, step, step_seconds, len(transforms))
            return share * (deadline - begin - reserve) - (time.monotonic() - begin)

        return seconds_left

    def transforms(self, plan: Plan, step: Step, report: TrainingReport) -> frozenset[int]:
        """The self-ensemble that there is time for after training: all of it, or none."""
        return self._transforms(plan, step, report.seconds / max(report.steps, 1))

    def note(self) -> list[str]:
        """That it was too short, if it was."""
        if self.seconds is None or self.used <= TOO_LONG * self.seconds:
            return []
        return [f"the budget of {self.seconds:g} s is too short for this picture"]

    def _transforms(self, plan: Plan, step: Step, step_seconds: float) -> frozenset[int]:
        """All of it in at most half of the budget."""
        if self.seconds is None:
            return plan.transforms
        fits = self._to_apply(plan, step, step_seconds, len(plan.transforms)) <= self.seconds / 2
        return plan.transforms if fits else frozenset({IDENTITY})

    @staticmethod
    def _to_apply(plan: Plan, step: Step, step_seconds: float, transforms: int) -> float:
        """Seconds for this and all later steps."""
        sizes = [(later.size, later.degradation) for later in plan.from_step(step)]
        crop = min(step.training.crop_size, *plan.in_size)
        shape = (plan.network.depth, plan.network.kernel_size)
        return seconds_to_apply(sizes, plan.tile, transforms, step.training, crop, shape, step_seconds)

"""Progress of a restoration, for callers that want to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zssr.errors import Cancelled
from zssr.first_estimate import FirstEstimate
from zssr.network import Network
from zssr.plan import Plan, Step
from zssr.preview import OnPreview, Preview
from zssr.train import OnTrainingStep


@dataclass(frozen=True)
class Progress:
    """Where a restoration is: stage "train" or "apply" of number `stage_number` of `stages`, done `fraction` of it.

    whole: the fraction of all stages together, 0 to 1, by the arithmetic of each. error: mean absolute error on recent
    fathers in grey levels of 255; base_error: that of the first estimate on the same ones; lr: the learning rate; all 0
    in "apply".
    """

    stage: str
    stage_number: int
    stages: int
    fraction: float
    error: float = 0.0
    base_error: float = 0.0
    lr: float = 0.0
    whole: float = 0.0


# Called often; restoration stops with Cancelled when it returns False.
OnStep = Callable[[Progress], bool | None]


class Reporter:
    """Reports one restoration's progress to the caller, and shows previews."""

    def __init__(self, plan: Plan, on_step: OnStep | None, on_preview: OnPreview | None) -> None:
        self._plan, self._on_step, self._on_preview = plan, on_step, on_preview
        self._stages = plan.stages
        self._number = -1  # of the stage; see begin_training and begin_applying

    def begin_training(self, step: Step, network: Network, estimate: FirstEstimate) -> OnTrainingStep:
        """For the training of the next step. estimate: of what the network will be applied to."""
        self._number += 1
        preview: Preview | None = None
        if self._on_preview is not None:
            preview = Preview(estimate.seen(step), self._on_preview, self._plan.compute)

        def on_step(fraction: float, error: float, base_error: float, lr: float) -> None:
            self._report(fraction, error * 255, base_error * 255, lr)
            if preview is not None:
                preview.update(network)

        return on_step

    def begin_applying(self) -> Callable[[int, int], None]:
        """For the next application."""
        self._number += 1
        return lambda done, tiles: self._report(done / tiles)

    def _report(self, fraction: float, error: float = 0.0, base_error: float = 0.0, lr: float = 0.0) -> None:
        if self._on_step is None:
            return
        stage = self._stages[self._number]
        done = sum(earlier.pixels for earlier in self._stages[: self._number]) + fraction * stage.pixels
        whole = min(1.0, done / sum(stage.pixels for stage in self._stages))
        progress = Progress(stage.name, self._number, len(self._stages), fraction, error, base_error, lr, whole)
        if self._on_step(progress) is False:
            raise Cancelled("cancelled")

"""What a quality means: how long, and how, the network is trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zssr.errors import SettingsError
from zssr.settings import Settings
from zssr.train import Training

DEFAULTS: Mapping[str, Any] = {"crop_size": 96, "lr_decay_range": 300, "lr": 2e-3}
# Initial weights are nearly right: few large steps would lose more than they bring. Chosen on photographs at 10, 60,
# 500 and 2400 steps.
WARM_LR, WARM_LR_A_ROOT = 1e-3, 6e-5  # at most, and for each root of a step


@dataclass(frozen=True)
class Effort:
    """Training steps at the first factor, at each further one, and for repair at the picture's own size; layers.

    in_two_passes: whether a factor that needs one step only is trained in two halves, the first result joining the
    fathers.
    """

    steps: int
    further_steps: int
    repair_steps: int
    depth: int
    in_two_passes: bool


EFFORTS = {
    "fast": Effort(steps=500, further_steps=250, repair_steps=300, depth=8, in_two_passes=False),
    "default": Effort(steps=2400, further_steps=1200, repair_steps=1500, depth=8, in_two_passes=True),
    "best": Effort(steps=6000, further_steps=3000, repair_steps=5000, depth=12, in_two_passes=True),
}


def depth_for(settings: Settings) -> int:
    """Layers of the network."""
    return settings.model_depth or EFFORTS[settings.quality].depth


def steps_for(settings: Settings, enlarges: bool) -> tuple[int, int]:
    """Training steps for the first size on the way to the result, and for each further one."""
    effort = EFFORTS[settings.quality]
    first = settings.num_epochs or (effort.steps if enlarges else effort.repair_steps)
    return first, effort.further_steps if settings.num_epochs is None else max(1, settings.num_epochs // 2)


def training_for(settings: Settings, steps: int, learned_best_with: Mapping[str, Any], warm: bool) -> Training:
    """How to train for `steps`; all that is set is as set.

    learned_best_with: see Degradation.training. warm: from a prior's initial weights, or those of a similar picture.
    Raises SettingsError.
    """
    chosen = {**DEFAULTS, **learned_best_with}
    if warm:
        chosen["lr"] = min(WARM_LR, WARM_LR_A_ROOT * math.sqrt(steps))
    names = [field.name for field in dataclasses.fields(Training) if field.name != "steps"]
    given = {name: getattr(settings, name) for name in names}
    training = Training(steps, **{name: chosen[name] if value is None else value for name, value in given.items()})
    if training.lr_stop > training.lr:
        whose = " (for weights to begin with and so few steps)" if warm and settings.lr is None else ""
        raise SettingsError(f"lr_stop {training.lr_stop:g}: must not be larger than lr {training.lr:g}{whose}")
    return training

"""Damaging pictures, by the trials of the kinds of damage."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from zssr.damages import KINDS, Damaged, Trial
from zssr.errors import SettingsError, did_you_mean
from zssr.image import Image, as_stored
from zssr.resample import Scale, fit
from zssr.settings import AUTO, Settings

# All by name, in the order in which they are done.
TRIALS: dict[str, Trial] = {trial.name: trial for kind in KINDS for trial in kind.trials}


@dataclass(frozen=True)
class TestDamage:
    """What `evaluate` does to each picture: amounts by the name of the trial, done in the order of TRIALS."""

    __test__ = False  # of pytest

    amounts: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> TestDamage:
        """Of "NAME:AMOUNT+NAME:AMOUNT", in any order. Raises SettingsError for what is no damage."""
        amounts: dict[str, Any] = {}
        for part in text.split("+"):
            name, _, amount = part.strip().partition(":")
            if name in amounts:
                raise SettingsError(f"damage '{part}': {name} is there twice")
            if name not in TRIALS:
                hint = did_you_mean(name, TRIALS)
                raise SettingsError(f"damage '{part}': must be of {', '.join(TRIALS)}, such as jpeg:10+scale:2{hint}")
            try:
                amounts[name] = TRIALS[name].amount(amount)
            except ValueError:
                raise SettingsError(f"damage '{part}': needs {name}:AMOUNT, {TRIALS[name].meaning}") from None
        return cls(amounts)

    @property
    def trials(self) -> list[Trial]:
        """Those that are done, in order."""
        return [trial for name, trial in TRIALS.items() if name in self.amounts]

    @property
    def placed(self) -> bool:
        """Whether only a part of each picture is damaged, another one on each."""
        return any(trial.placed for trial in self.trials)

    @property
    def compared_with(self) -> str:
        """What the results are compared with, in a word."""
        words = [trial.compared_with for trial in self.trials]
        return next((word for word in reversed(words) if word != "input"), "input")


def damaged(
    truth: Image, damage: TestDamage, factor: Scale, settings: Settings, number: int, folder: str
) -> tuple[Damaged, Settings]:
    """A picture damaged, and the settings that name each damage, as a person would who knows it.

    number: of the picture, for what is random about it. folder: for files that the settings name.
    """
    size = truth.size
    seed = settings.seed + number if damage.placed else settings.seed
    rng = torch.Generator().manual_seed(seed)
    scale = [float(part) for part in factor]
    kernel = "bicubic" if settings.kernel == AUTO else settings.kernel  # that of the damage, and given to the repair
    case = Damaged(truth, truth.pixels[None], {"scale": scale, "kernel": kernel})
    stored = False
    for trial in damage.trials:
        if trial.stored and not stored:
            case, stored = _stored(case), True
        case = trial.do(case, damage.amounts[trial.name], rng, folder)
    case = case if stored else _stored(case)
    plain, inside = case.plain, case.inside
    if plain.shape[-2:] != size:
        plain = fit(plain, size)
        inside = None if inside is None else fit(inside.float(), size) > 0.5
    given = {**case.settings, "repair": "none", "scale_factor": None, "scale_times": None}
    if settings.repair == "none":  # nothing is given but the size
        given = {name: given[name] for name in ("repair", "scale", "scale_factor", "scale_times")}
    return dataclasses.replace(case, plain=plain, inside=inside), dataclasses.replace(settings, **given)


def _stored(case: Damaged) -> Damaged:
    """Rounded as a file holds it."""
    pixels = as_stored(case.image.pixels, case.image.peak)
    return dataclasses.replace(case, image=dataclasses.replace(case.image, pixels=pixels), plain=pixels[None])

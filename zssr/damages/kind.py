"""What the rest of the program knows of a kind of damage: one value, in the damage's own folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from zssr.damages.degradation import Degradation
from zssr.image import Image
from zssr.settings import Settings

SURE = 0.9  # confidence from which damage is repaired unasked


@dataclass(frozen=True)
class Finding:
    """One damage that a picture shows. kind: see Kind.finding. words: for people. confidence: 0 to 1.

    damage: as an operator on pictures of this size; None where nothing can or need be done about it.
    """

    kind: str
    words: str
    confidence: float
    damage: Degradation | None

    @property
    def sure(self) -> bool:
        return self.confidence >= SURE

    def to_json(self) -> dict[str, Any]:
        damage = None if self.damage is None else self.damage.to_json()
        return {"kind": self.kind, "words": self.words, "confidence": round(self.confidence, 3), "damage": damage}


@dataclass(frozen=True)
class Damaged:
    """A picture that `zssr evaluate` damages, trial by trial.

    settings: keywords that tell zssr of the damage, as a person would who knows it. plain: (1, C, H, W), what one has
    without zssr. inside: (1, 1, H, W) bool, the damaged part, if it is a part.
    """

    image: Image
    plain: Tensor
    settings: dict[str, Any] = field(default_factory=dict)
    inside: Tensor | None = None


@dataclass(frozen=True)
class Trial:
    """A damage that `zssr evaluate --damage NAME:AMOUNT` does.

    meaning: of the amount, for people. amount: reads it; raises ValueError. do: called with the picture, the amount, a
    source of random numbers, and a folder for files that the settings name.
    stored: done to a picture of whole grey levels, as files hold them; if not, to the light before. placed: on a part
    of the picture, another one each time. compared_with: what `plain` is, in a word.
    """

    name: str
    meaning: str
    amount: Callable[[str], Any]
    do: Callable[[Damaged, Any, torch.Generator, str], Damaged]
    stored: bool = True
    placed: bool = False
    compared_with: str = "input"


def number(low: float | None, high: float | None, kind: type[int] | type[float] = float) -> Callable[[str], Any]:
    """Reads an amount from `low` to `high`; None for no limit."""

    def read(text: str) -> Any:
        value = kind(text)
        if (low is not None and value < low) or (high is not None and value > high) or value != value:
            raise ValueError
        return value

    return read


def _nothing(settings: Settings, image: Image, enlarges: bool) -> Sequence[Degradation]:
    return ()


def _as_they_are(parts: Sequence[Degradation], settings: Settings) -> Sequence[Degradation]:
    return parts


@dataclass(frozen=True)
class Kind:
    """A kind of damage, for the diagnosis, the repairs, evaluation, and the demo.

    given: the damages of this kind that the settings describe for a picture, which is enlarged or not. Raises
    SettingsError for amounts that do not fit the picture.
    find: the damages of this kind that a picture shows; called with the picture, its pixels (C, H, W) without hidden
    ones, and whether to look for what takes long and is rare.
    finding: name in findings and in --repair, where it is not that of the operator. automatic: looked for unasked.
    only_own_size: whether it is a damage of its own only where the picture is not enlarged.
    drawn_colours: a drawing of at most so many colours may look like this damage, so that it is not looked for there.
    settled: the parts of this kind, those given by hand first, in the order in which they happened.
    """

    operator: type[Degradation]
    given: Callable[[Settings, Image, bool], Sequence[Degradation]] = _nothing
    find: Callable[[Image, Tensor, bool], Sequence[Finding]] | None = None
    finding: str = ""
    automatic: bool = False
    only_own_size: bool = False
    drawn_colours: int = 0
    settled: Callable[[Sequence[Any], Settings], Sequence[Degradation]] = _as_they_are
    trials: tuple[Trial, ...] = ()

    @property
    def name(self) -> str:
        """In findings and in --repair."""
        return self.finding or self.operator.kind

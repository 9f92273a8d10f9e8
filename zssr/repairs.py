"""What is to be undone for one picture: what was given by hand, and what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from zssr.damages import KINDS, Degradation, Finding, Kind
from zssr.damages.rules import LEFT_ALONE, known_after_later_ones, without_echoes
from zssr.damages.smaller import SmallerPicture
from zssr.diagnose import ONLY_OWN_SIZE, diagnose, smaller_picture
from zssr.image import Image
from zssr.resample import Size
from zssr.settings import AUTO, Settings


@dataclass(frozen=True)
class Repairs:
    """parts: in the order in which they happened, each at the picture's own size.

    smaller: what the picture really is, where its damage left nothing but a smaller picture; parts are that one's then.
    notes: what is left alone, and what is to be known.
    """

    parts: tuple[Degradation, ...]
    findings: tuple[Finding, ...]
    smaller: SmallerPicture | None
    notes: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """What is undone, for people."""
        return [*([] if self.smaller is None else [self.smaller.words]), *(part.describe() for part in self.parts)]

    def undamaged(self, size: Size) -> Tensor | None:
        """(1, 1, *size) bool: pixels that no damage of a part covers; None where there is none."""
        covered = None
        for part in self.parts:
            mask = part.mask(size)
            if mask is not None:
                covered = mask if covered is None else covered | mask
        return None if covered is None else ~covered


def repairs_for(image: Image, settings: Settings, enlarges: bool) -> Repairs:
    """Raises SettingsError for areas, masks and amounts that do not fit the picture."""
    notes: list[str] = []
    given = [(kind, part) for kind in KINDS for part in kind.given(settings, image, enlarges)]
    by_hand, asked = settings.given_by_hand(), settings.asked_for()
    looked_for = asked | (_automatic() if settings.repair == "auto" else set())
    # A blur that is given, or that the kernel of the enlargement holds, would be undone twice; and priors are for
    # pictures with the one damage that they repair.
    if enlarges or any(part.point_spread is not None for _, part in given) or settings.prior not in ("none", AUTO):
        asked = asked - ONLY_OWN_SIZE if enlarges else asked
        looked_for -= ONLY_OWN_SIZE - asked
    named = {name.strip() for name in settings.repair.split(",")}
    findings = diagnose(image, looked_for - by_hand, thorough=named, asked=asked)
    taken = given + _taken(findings, asked, notes)
    for name in sorted(asked - by_hand - {finding.kind for finding in findings}):
        notes.append("no earlier enlargement was found" if name == "enlarged" else f"no {name} was found")
    taken = _without_echoes(taken, asked | by_hand, notes)
    in_order = [part for kind in KINDS for k, part in taken if k is kind]
    smaller = smaller_picture(image, in_order)
    if smaller is None:
        return Repairs(known_after_later_ones(_in_order(taken, settings)), findings, None, tuple(notes))
    if smaller.kernel is not None:
        if len(in_order) > 1:
            notes.append("the mosaic covers the whole picture: other damage is not undone with it")
        return Repairs((), findings, smaller, tuple(notes))
    notes.append(smaller.words)
    others = _automatic() - by_hand - ONLY_OWN_SIZE - {kind.name for kind, _ in taken}
    found = diagnose(smaller.image, others if settings.repair == AUTO else ())
    before = known_after_later_ones(_in_order(_without_echoes(_taken(found, set(), notes), set(), notes), settings))
    return Repairs(before, (*without_echoes(findings), *found), smaller, tuple(notes))


def _in_order(taken: Sequence[tuple[Kind, Degradation]], settings: Settings) -> list[Degradation]:
    """In which they happened."""
    parts: list[Degradation] = []
    for kind in KINDS:
        own = [part for k, part in taken if k is kind]
        parts += kind.settled(own, settings) if own else []
    return parts


def _automatic() -> set[str]:
    return {kind.name for kind in KINDS if kind.automatic}


def _taken(findings: Sequence[Finding], asked: set[str], notes: list[str]) -> list[tuple[Kind, Degradation]]:
    """The damages that are sure or asked for."""
    kinds = {kind.name: kind for kind in KINDS}
    taken = []
    for finding in findings:
        if finding.damage is None:
            notes.append(finding.words)
        elif finding.sure or finding.kind in asked:
            taken.append((kinds[finding.kind], finding.damage))
        else:
            notes.append(f"perhaps {finding.words}: not sure enough, left alone (--repair {finding.kind} undoes it)")
    return taken


def _without_echoes(
    taken: Sequence[tuple[Kind, Degradation]], wanted: set[str], notes: list[str]
) -> list[tuple[Kind, Degradation]]:
    """Without what looks like damage only because of another one, unless it was asked for."""
    parts = [part for _, part in taken]
    kept = []
    for kind, part in taken:
        rule = next((rule for rule in LEFT_ALONE if rule.applies(part, parts)), None)
        if rule is None or kind.name in wanted:
            kept.append((kind, part))
        elif rule.note:
            notes.append(rule.note)
    return kept

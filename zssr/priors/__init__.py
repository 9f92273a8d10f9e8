"""External-data priors: networks trained on other people's pictures."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from zssr.damages import Chain
from zssr.errors import PriorError, did_you_mean
from zssr.examples import Analytic, Estimator
from zssr.priors.cards import FAMILIES, load_weights, sha256_of
from zssr.priors.estimators import InitialPrior, JpegPrior, Prior, PriorEstimator, RegionPrior
from zssr.priors.spandrel import SUFFIXES, SpandrelPrior, is_own

WEIGHTS = Path(__file__).parent / "weights"
_PINNED = re.compile(r"(.+)@([0-9a-fA-F]{8,64})")
_ROLES: dict[str, type[JpegPrior | RegionPrior | InitialPrior]] = {
    "components": JpegPrior, "picture": RegionPrior, "initial": InitialPrior,
}  # fmt: skip


def shipped() -> dict[str, Path]:
    """The weights that come with zssr, by name."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def names_in(setting: str) -> list[str]:
    """The priors that a setting names: "jpegnet+meta" two, "none" none."""
    names = [setting] if os.path.isfile(setting) else setting.split("+")
    return [name for name in names if name != "none"]


def located(name: str) -> Path:
    """A prior's file, by its name or path, or pinned, as in "meta@69ff5f06", to how its SHA-256 begins.

    Raises PriorError where there is none, or another than meant.
    """
    pinned = None if os.path.isfile(name) else _PINNED.fullmatch(name)
    name, digest = (pinned[1], pinned[2].lower()) if pinned else (name, "")
    known = shipped()
    path = known.get(name, Path(name))
    if not os.path.isfile(path):
        if path.suffix.lower() in SUFFIXES:
            raise PriorError(f"prior {name}: no such file")
        if "," in name:
            raise PriorError(f"prior '{name}': join two that are used together by +")
        if os.path.isfile(known.get(name.rpartition("@")[0], name.rpartition("@")[0])):
            raise PriorError(f"prior '{name}': behind @ belong 8 or more of the first digits of its SHA-256")
        hint = did_you_mean(name.lower(), known, "") or f"; there are {', '.join(known)}" * bool(known)
        raise PriorError(f"prior '{name}': is neither a name nor a file of weights ({', '.join(SUFFIXES)}){hint}")
    if path.suffix.lower() not in SUFFIXES:
        raise PriorError(f"prior {name}: is no file of weights ({', '.join(SUFFIXES)})")
    if digest and not (found := sha256_of(path)).startswith(digest):
        raise PriorError(f"prior {name}: is another file: its SHA-256 begins with {found[: len(digest)]}")
    return path


def load_prior(name: str, precision: torch.dtype = torch.float32) -> PriorEstimator | InitialPrior:
    """A shipped prior by its name, or one from a file: of ours, or of another project. Raises PriorError."""
    path = located(name)
    if not is_own(path):
        return SpandrelPrior(path, precision)
    family = load_weights(path)[1].family
    return _ROLES[FAMILIES[family].role](path, path.stem if path in shipped().values() else path.name, precision)


@dataclass(frozen=True)
class Priors:
    """What is to be used for one picture: for the first estimate, and as initial weights."""

    first: PriorEstimator | None = None
    initial: InitialPrior | None = None

    @property
    def estimator(self) -> Estimator:
        """The first estimate: the prior's, or without one the damages' own."""
        return Analytic() if self.first is None else self.first

    def used(self) -> list[Prior]:
        """All there are."""
        return [prior for prior in (self.first, self.initial) if prior is not None]

    def fitting(self, damage: Chain, enlarges: bool) -> tuple[Priors, tuple[str, ...]]:
        """Those that are for a picture with this damage, and notes on the others."""
        why_not = [(prior, prior.unfit(damage, enlarges)) for prior in self.used()]
        notes = tuple(f"prior {prior.name}: {why}: not used" for prior, why in why_not if why)
        unfit = [prior for prior, why in why_not if why]
        first = None if self.first in unfit else self.first
        initial = None if self.initial in unfit else self.initial
        return Priors(first, initial), notes


def load_priors(names: str, precision: torch.dtype = torch.float32, passes: int = 1) -> Priors:
    """One or more, as in "jpegnet+meta"; "none" for none. passes: how many times a JPEG prior is applied.

    Raises PriorError.
    """
    first: PriorEstimator | None = None
    initial: InitialPrior | None = None
    for name in names_in(names):
        if not name:
            raise PriorError(f"prior '{names}': a name or a file is missing")
        prior = load_prior(name, precision)
        other = initial if isinstance(prior, InitialPrior) else first
        if other is not None:
            raise PriorError(f"prior {names}: {other.name} and {prior.name} are for the same thing; give one")
        if isinstance(prior, InitialPrior):
            initial = prior
            continue
        prior.passes = passes
        first = prior
    return Priors(first, initial)

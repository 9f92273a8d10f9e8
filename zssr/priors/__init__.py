"""External-data priors: networks trained on other people's pictures."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from zssr.damages import Chain
from zssr.errors import PriorError, did_you_mean
from zssr.examples import Analytic, Estimator
from zssr.priors.cards import FAMILIES, load_weights, sha256_of
from zssr.priors.estimators import (
    EnlargingPrior,
    InitialPrior,
    Joined,
    JpegPrior,
    NoisePrior,
    PlanesPrior,
    Prior,
    PriorEstimator,
    RegionPrior,
)
from zssr.priors.spandrel import SUFFIXES, SpandrelPrior, is_own
from zssr.settings import AUTO

WEIGHTS = Path(__file__).parent / "weights"
_PINNED = re.compile(r"(.+)@([0-9a-fA-F]{8,64})")
_ROLES: dict[str, type[PlanesPrior | JpegPrior | NoisePrior | EnlargingPrior | RegionPrior | InitialPrior]] = {
    "components": PlanesPrior, "jpeg": JpegPrior, "noise": NoisePrior, "enlarging": EnlargingPrior,
    "picture": RegionPrior, "initial": InitialPrior,
}  # fmt: skip

_JOINABLE = (PlanesPrior, JpegPrior, NoisePrior, EnlargingPrior)


def shipped() -> dict[str, Path]:
    """The weights that come with zssr, by name."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


AUTOMATIC = ("jpegnet", "denoise", "unet", "sr", "meta")  # the best of ours for each damage


def names_in(setting: str) -> list[str]:
    """The priors that a setting names: "jpegnet+meta" two, "none" none, "auto" all that may be used."""
    if setting == AUTO:
        return [name for name in AUTOMATIC if name in shipped()]
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


def named_priors(setting: str) -> list[Prior]:
    """All that a setting names. Raises PriorError."""
    return [load_prior(name) for name in names_in(setting)]


@dataclass(frozen=True)
class Priors:
    """What is to be used for one picture: for the first estimate, and as initial weights."""

    firsts: tuple[PriorEstimator, ...] = ()
    initial: InitialPrior | None = None

    @property
    def estimator(self) -> Estimator:
        """The first estimate: the priors', or without one the damages' own."""
        return self.firsts[0] if len(self.firsts) == 1 else Joined(self.firsts) if self.firsts else Analytic()

    def ensembled(self) -> Priors:
        """With the mean over all flips and rotations as first estimate."""
        return dataclasses.replace(self, firsts=tuple(prior.ensembled() for prior in self.firsts))

    def used(self) -> list[Prior]:
        """All there are."""
        return [*self.firsts, *([] if self.initial is None else [self.initial])]

    def fitting(self, damage: Chain, enlarges: bool) -> tuple[Priors, tuple[str, ...]]:
        """Those that are for a picture with this damage, and notes on the others."""
        why_not = {id(prior): prior.unfit(damage, enlarges) for prior in self.used()}
        notes = tuple(f"prior {prior.name}: {why}: not used" for prior in self.used() if (why := why_not[id(prior)]))
        firsts = tuple(prior for prior in self.firsts if not why_not[id(prior)])
        initial = self.initial if self.initial is not None and not why_not[id(self.initial)] else None
        return Priors(firsts, initial), notes


def fitting_priors(
    names: str, damage: Chain, enlarges: bool, precision: torch.dtype = torch.float32, passes: int = 1
) -> tuple[Priors, tuple[str, ...]]:
    """Those of the names that are for a picture with this damage, and notes on the others; "auto" takes what fits
    best, and has none. Raises PriorError."""
    if names != AUTO:
        return load_priors(names, precision, passes).fitting(damage, enlarges)
    firsts: list[PriorEstimator] = []
    initial: InitialPrior | None = None
    for name in names_in(AUTO):
        prior = load_prior(name, precision)
        if prior.unfit(damage, enlarges):
            continue
        if isinstance(prior, InitialPrior):
            initial = prior
        elif all(_can_join(prior, other) for other in firsts):
            prior.passes = passes
            firsts.append(prior)
    return Priors(tuple(firsts), initial), ()


def load_priors(names: str, precision: torch.dtype = torch.float32, passes: int = 1) -> Priors:
    """One or more, as in "jpegnet+meta"; "none" for none, but not "auto", which is for one picture: see
    `fitting_priors`. passes: how many times a JPEG prior is applied.

    Raises PriorError, also where two are for the same damage.
    """
    priors = Priors()
    for name in names_in(names):
        if not name:
            raise PriorError(f"prior '{names}': a name or a file is missing")
        prior = load_prior(name, precision)
        if isinstance(prior, InitialPrior):
            _apart(names, prior, [] if priors.initial is None else [priors.initial])
            priors = dataclasses.replace(priors, initial=prior)
            continue
        prior.passes = passes
        _apart(names, prior, [other for other in priors.firsts if not _can_join(prior, other)])
        priors = dataclasses.replace(priors, firsts=(*priors.firsts, prior))
    return priors


def _can_join(one: PriorEstimator, other: PriorEstimator) -> bool:
    """Whether each undoes a damage of its own."""
    return isinstance(one, _JOINABLE) and isinstance(other, _JOINABLE) and _purpose(one) != _purpose(other)


def _purpose(prior: PriorEstimator) -> type:
    return JpegPrior if isinstance(prior, PlanesPrior) else type(prior)


def _apart(names: str, prior: Prior, others: Sequence[Prior]) -> None:
    """Raises PriorError where two are for the same thing."""
    if others:
        raise PriorError(f"prior {names}: {others[0].name} and {prior.name} are for the same thing; give one")

"""External-data priors: networks trained on other people's pictures."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from zssr.errors import PriorError
from zssr.priors import foreign
from zssr.priors.cards import FAMILIES, load_weights, sha256_of
from zssr.priors.foreign import Foreign
from zssr.priors.own import ComponentsPrior, Prior, RegionPrior

WEIGHTS = Path(__file__).parent / "weights"
_PINNED = re.compile(r"(.+)@([0-9a-fA-F]{8,64})")
_ROLES: dict[str, type[Prior]] = {"components": ComponentsPrior, "picture": RegionPrior, "initial": Prior}


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
        if path.suffix.lower() in foreign.SUFFIXES:
            raise PriorError(f"prior {name}: no such file")
        near = difflib.get_close_matches(name.lower(), known, 1)
        if "," in name:
            raise PriorError(f"prior '{name}': join two that are used together by +")
        if os.path.isfile(known.get(name.rpartition("@")[0], name.rpartition("@")[0])):
            raise PriorError(f"prior '{name}': behind @ belong 8 or more of the first digits of its SHA-256")
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}" if known else ""
        raise PriorError(
            f"prior '{name}': is neither a name nor a file of weights ({', '.join(foreign.SUFFIXES)}){hint}"
        )
    if path.suffix.lower() not in foreign.SUFFIXES:
        raise PriorError(f"prior {name}: is no file of weights ({', '.join(foreign.SUFFIXES)})")
    if digest and not (found := sha256_of(path)).startswith(digest):
        raise PriorError(f"prior {name}: is another file: its SHA-256 begins with {found[: len(digest)]}")
    return path


def load_prior(name: str, precision: torch.dtype = torch.float32) -> Prior | Foreign:
    """A shipped prior by its name, or one from a file: of ours, or of another project. Raises PriorError."""
    path = located(name)
    if not foreign.is_own(path):
        return Foreign(path, precision)
    family = load_weights(path)[1].family
    return _ROLES[FAMILIES[family].role](path, path.stem if path in shipped().values() else path.name, precision)


@dataclass(frozen=True)
class Priors:
    """What is to be used for one picture, at most one of a role: as the first estimate of a JPEG picture's
    components, or of a picture; and as initial weights."""

    components: ComponentsPrior | None = None
    picture: RegionPrior | Foreign | None = None
    initial: Prior | None = None

    def used(self) -> list[Prior | Foreign]:
        """All there are."""
        return [prior for prior in (self.components, self.picture, self.initial) if prior is not None]


def load_priors(names: str, precision: torch.dtype = torch.float32, passes: int = 1) -> Priors:
    """One or more, as in "jpegnet+meta"; "none" for none. passes: how often one for components is applied.

    Raises PriorError.
    """
    held: dict[str, Prior | Foreign] = {}
    for name in names_in(names):
        if not name:
            raise PriorError(f"prior '{names}': a name or a file is missing")
        prior = load_prior(name, precision)
        for other in held.values():
            if "initial" not in (prior.role, other.role) or prior.role == other.role:
                raise PriorError(f"prior {names}: {other.name} and {prior.name} are for the same thing; give one")
        if isinstance(prior, ComponentsPrior):
            prior.passes = passes
        held[prior.role] = prior
    return Priors(**held)  # type: ignore[arg-type]

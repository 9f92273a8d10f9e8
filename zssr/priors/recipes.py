"""How each family is trained, unless other numbers are given."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from zssr.errors import SettingsError, did_you_mean

FACTORS = (1, 2, 3, 4)  # that initial weights can be trained for; 1: JPEG pictures at their own size
LOSSES = ("l1", "l2", "relative-l1", "relative-l2")


@dataclass(frozen=True)
class Recipe:
    """How to train. crop: side in pixels. qualities: first and last. seed: of weights and samples.

    factors: those of FACTORS that initial weights are trained for; the weights for others stay as they were.
    loss: one of LOSSES; the relative ones are each sample's error over that of its first estimate: where damages of
    very different sizes are learned together, each then counts alike. last_loss: that of the last tenth of the steps.
    """

    steps: int
    batch: int
    crop: int
    lr: float
    loss: str
    weight_decay: float = 0.0
    qualities: tuple[int, int] = (5, 95)
    seed: int = 0
    factors: tuple[int, ...] = FACTORS
    last_loss: str | None = None


# Each after its paper, but for rates and batches, which fit short training with Adam.
RECIPES = {
    "srcnn": Recipe(steps=12_000, batch=16, crop=48, lr=1e-3, loss="l2", qualities=(8, 25)),
    "carcnn": Recipe(steps=10_000, batch=32, crop=32, lr=1e-3, loss="l2", qualities=(8, 25)),
    "resnet-car": Recipe(steps=8000, batch=8, crop=64, lr=5e-4, loss="l1", qualities=(5, 45)),
    "blockcnn": Recipe(steps=8000, batch=8, crop=48, lr=1e-3, loss="l1", qualities=(8, 25)),
    "jpegnet": Recipe(steps=18_000, batch=8, crop=64, lr=1e-3, loss="l1", weight_decay=1e-4, qualities=(5, 95)),
    "unet": Recipe(steps=8000, batch=8, crop=128, lr=4e-4, loss="relative-l1"),
    "sr": Recipe(steps=30_000, batch=64, crop=96, lr=1e-3, loss="l1", last_loss="l2", factors=(2,)),
    "jpegunet": Recipe(steps=30_000, batch=32, crop=128, lr=1e-3, loss="l1", last_loss="l2"),
    "denoise": Recipe(steps=20_000, batch=32, crop=128, lr=1e-3, loss="l1", last_loss="l2"),
    "meta": Recipe(steps=12_000, batch=8, crop=72, lr=1e-3, loss="l1", qualities=(5, 95)),
}


def recipe_for(family: str, qualities: str | None = None, factors: str | None = None, **changes: Any) -> Recipe:
    """The family's recipe with what is given. qualities: "LOW,HIGH". factors: as in "2,3,4". Raises SettingsError."""
    if family not in RECIPES:
        hint = did_you_mean(family, RECIPES, "")
        raise SettingsError(f"family '{family}': must be one of {', '.join(RECIPES)}{hint}")
    given = {name: value for name, value in changes.items() if value is not None}
    if qualities is not None:
        low, _, high = qualities.partition(",")
        if not (low.isdecimal() and high.isdecimal() and 1 <= int(low) <= int(high) <= 100):
            raise SettingsError(f"qualities '{qualities}': give the first and the last, 1 to 100, as in 5,95")
        given["qualities"] = (int(low), int(high))
    if factors is not None:
        if not set(factors.split(",")) <= set(map(str, FACTORS)):
            raise SettingsError(f"factors '{factors}': give some of {','.join(map(str, FACTORS))}; 1 is for JPEG")
        if family not in ("meta", "sr"):
            raise SettingsError(f"factors '{factors}': are for meta and sr only")
        if family == "sr" and "1" in factors.split(","):
            raise SettingsError(f"factors '{factors}': sr enlarges by 2, 3 or 4")
        given["factors"] = tuple(sorted(map(int, set(factors.split(",")))))
    if "loss" in given:
        given["last_loss"] = None
    if given.get("loss", "l1") not in LOSSES:
        raise SettingsError(f"loss '{given['loss']}': must be one of {', '.join(LOSSES)}")
    recipe = dataclasses.replace(RECIPES[family], **given)
    if recipe.seed >= 2**63:
        raise SettingsError(f"seed {recipe.seed}: must be less than 2 ** 63")
    for name, smallest in (("steps", 1), ("batch", 1), ("crop", 16), ("lr", 1e-9), ("seed", 0)):
        if not getattr(recipe, name) >= smallest:
            raise SettingsError(f"{name} {getattr(recipe, name)}: must be at least {smallest}")
    if recipe.crop % (whole := {"unet": 64, "meta": 24, "jpegunet": 16, "sr": 12}.get(family, 8)):
        raise SettingsError(f"crop {recipe.crop}: must be a multiple of {whole}")
    return recipe

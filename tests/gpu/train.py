"""Trains the networks that learn from batches made on the device, one after the other, within so many seconds.

python -m tests.gpu.train PHOTOGRAPHS OUT [--seconds 560] [--device cuda]

PHOTOGRAPHS: a folder, such as `zssr pack train --out PHOTOGRAPHS --smaller 2` makes. Weights go to OUT as soon as they
are there, the longest trainings first; those for factors 3 and 4 begin with those for 2. Needs torch, numpy, Pillow,
scipy, safetensors and tqdm alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

from zssr.priors.cards import load_weights, save_weights
from zssr.priors.families.sr import Enlarger
from zssr.priors.pretrain import pretrain, steps_within
from zssr.priors.recipes import recipe_for

# Family, factor of the enlargement, share of the time, crops in a step.
STAGES = [
    ("sr", 2, 0.3, 64),
    ("jpegunet", 0, 0.25, 64),
    ("denoise", 0, 0.25, 64),
    ("sr", 3, 0.1, 64),
    ("sr", 4, 0.1, 64),
]
SMALL_SIDE = 48  # pixels of a crop before it is enlarged
FINISHING = 3  # seconds for the last validation and for writing
LICENCE = "CC0, Unsplash, Pexels, NASA: see weights/README.md"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=560)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, help="crops in a step of all")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    options.out.mkdir(exist_ok=True)
    start: Path | None = None
    for number, (family, factor, share, batch) in enumerate(STAGES):
        rest = sum(stage[2] for stage in STAGES[number:])
        seconds = (end - time.monotonic()) * share / rest - FINISHING
        recipe = recipe_for(
            family, batch=options.batch or batch, factors=str(factor) if factor else None,
            crop=factor * SMALL_SIDE if factor else None,
        )  # fmt: skip
        steps = steps_within(seconds, family, options.photographs, recipe, options.device)
        out = options.out / f"{family}{factor or ''}.safetensors"
        print(f"{out.stem}: {steps} steps in {seconds:.0f} s", flush=True)
        if factor > 2 and start is not None:
            start = _begun(start, factor, options.out)
        card = pretrain(
            family, options.photographs, out, dataclasses.replace(recipe, steps=steps), device=options.device,
            save_every=max(1, steps // 10), licence=LICENCE, start=start if factor > 2 else None, overwrite=True,
        )  # fmt: skip
        print(f"{out.stem}: {card.validation}, {card.seconds} s", out.with_suffix(".csv").read_text(), flush=True)
        if factor:
            start = out


def _begun(start: Path, factor: int, folder: Path) -> Path:
    """The weights of `start`, those of this factor like those of 2."""
    network, card = load_weights(start)
    assert isinstance(network, Enlarger)
    network.begin(factor, 2)
    begun = folder / "begun.safetensors"
    save_weights(begun, network.state_dict(), card)
    return begun


if __name__ == "__main__":
    main()

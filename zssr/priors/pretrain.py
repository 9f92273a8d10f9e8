"""Training a family on a folder of pictures, for `zssr pretrain`."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from zssr.device import Compute, choose_device, choose_precision
from zssr.errors import PriorError, SettingsError, ZssrError
from zssr.priors.batches import Batches, Components, Enlargements, Noisy
from zssr.priors.cards import Card, load_weights, save_weights, sha256_of, untrained
from zssr.priors.checkpoint import TrainingFiles, replaced
from zssr.priors.learner import Learner
from zssr.priors.pictures import Picture, base_of, find, load, split
from zssr.priors.recipes import Recipe
from zssr.priors.samples import Holes, Pairs, Planes, Sample, Samples

VALIDATION_SIDE = 240
SMALLEST_SIDE = 24  # of a validation picture: whole blocks, and divisible by every factor
READ_EVERY = 20
TRIED_STEPS = 16  # for `steps_within`


# The others repair single components of JPEG files.
SAMPLES: dict[str, type[Samples] | type[Batches]] = {
    "unet": Holes, "meta": Pairs, "sr": Enlargements, "jpegunet": Components, "denoise": Noisy,
}  # fmt: skip


class _From(Sampler[int]):
    """The numbers from `first` on, in order."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last))

    def __len__(self) -> int:
        return self.last - self.first


def validate(network: nn.Module, pairs: Sequence[tuple[Tensor, Sample]], device: torch.device) -> tuple[float, float]:
    """(PSNR without the network, PSNR with it) in dB, means over the pairs; see `Samples.validation`."""
    before: list[float] = []
    after: list[float] = []
    network.eval()
    with torch.inference_mode():
        for plain, (*seen, whole) in pairs:
            restored = network(*(x.to(device) for x in seen)).cpu()
            for y, scores in ((plain, before), (restored, after)):
                error = y.clamp(0, 1).mul(255).round() - whole * 255
                scores.append(10 * math.log10(255**2 / max(error.square().mean().item(), 1e-3)))
    network.train()
    return sum(before) / len(before), sum(after) / len(after)


def _validation_pairs(
    samples: type[Samples] | type[Batches], recipe: Recipe, pictures: Sequence[Picture]
) -> list[tuple[Tensor, Sample]]:
    """Pairs of the middle of each picture."""
    pairs: list[tuple[Tensor, Sample]] = []
    for picture in pictures:
        side = min(VALIDATION_SIDE, *(length // SMALLEST_SIDE * SMALLEST_SIDE for length in picture.shape[1:]))
        top, left = ((length - side) // 2 for length in picture.shape[1:])
        middle = torch.from_numpy(np.ascontiguousarray(picture[:, top : top + side, left : left + side])).float()[None]
        pairs += samples.validation(middle, recipe)
    return pairs


class _Validation:
    """PSNR of averaged weights on pictures kept apart. before: without the network."""

    def __init__(self, learner: Learner, pairs: Sequence[tuple[Tensor, Sample]]) -> None:
        self._network = copy.deepcopy(learner.network)
        self._learner, self._pairs = learner, pairs
        self.before, _ = self._validate()

    def after(self) -> float:
        """With it, as it is now."""
        return self._validate()[1]

    def _validate(self) -> tuple[float, float]:
        self._network.load_state_dict(self._learner.average)
        return validate(self._network, self._pairs, self._learner.compute.device)


def pretrain(
    family: str,
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    workers: int = 1,
    device: str = "auto",
    precision: str = "auto",
    save_every: int = 500,
    licence: str = "unknown",
    start: Path | None = None,
    overwrite: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> Card:
    """Train a family and write its weights to `out`, a .safetensors file with the card in it, and a log (.csv).

    A checkpoint (.checkpoint) is written every `save_every` steps and removed at the end; where there is one, of the
    same recipe and pictures, training goes on from it. start: weights of the same family to begin with, instead of
    random ones. on_step: called with (steps done, mean loss).
    Raises SettingsError for bad names and numbers, PictureError for bad data, OutputError for what cannot be written.
    """
    if save_every < 1 or workers < 0:
        raise SettingsError("save_every must be at least 1, and workers at least 0")
    paths = TrainingFiles(out)
    paths.check(overwrite)
    where = choose_device(device)
    compute = Compute(where, choose_precision(precision, where))
    found = find(data)
    names = split(list(found))
    network, earlier = (None, None) if start is None else _started_from(start, family, names)
    network = network or untrained(family, recipe.seed)
    samples = SAMPLES.get(family, Planes)
    fingerprint = _fingerprint(family, recipe, names, found, earlier, network, samples)
    learner = Learner.new(network, recipe, compute, samples, paths.read_checkpoint(fingerprint, where))
    pictures = load(found, names["training"], recipe.crop)
    kept_apart = load(found, names["validation"], max(recipe.crop, samples.smallest))
    validation = _Validation(learner, _validation_pairs(samples, recipe, kept_apart))
    begin = time.monotonic() - learner.state.seconds

    def save() -> None:
        learner.state.curve.append((learner.state.steps, validation.after()))
        learner.state.seconds = time.monotonic() - begin
        paths.write_checkpoint(learner.checkpoint(fingerprint))
        paths.write_log(validation.before, learner.state.curve)

    batches = _batches(samples, pictures, recipe, learner.state.steps, workers, where)
    _learn_all(family, learner, batches, save_every, save, on_step, paths.checkpoint)
    state = learner.state
    paths.write_log(validation.before, state.curve)  # a kill may have come just before it
    card = Card(
        family=family, recipe=json.loads(json.dumps(asdict(recipe))), data=data.name, licence=licence, pictures=names,
        steps=state.steps, seconds=round(state.seconds),
        validation={"before": validation.before, "after": state.curve[-1][1]},
        torch=torch.__version__, machine=f"{platform.machine()}, {where}", start=earlier,
    )  # fmt: skip
    replaced(out, lambda path: save_weights(path, learner.average, card))
    paths.checkpoint.unlink(missing_ok=True)
    return card


def steps_within(
    seconds: float, family: str, data: Path, recipe: Recipe, device: str = "auto", precision: str = "auto"
) -> int:
    """How many steps of a recipe can be done in so many seconds, measured by a few of them; at least 1.

    Raises as `pretrain`.
    """
    begin = time.monotonic()
    where = choose_device(device)
    found = find(data)
    samples = SAMPLES.get(family, Planes)
    pictures = load(found, split(list(found))["training"], recipe.crop)
    compute = Compute(where, choose_precision(precision, where))
    learner = Learner(untrained(family, recipe.seed), recipe, compute, samples)
    enough = dataclasses.replace(recipe, steps=max(recipe.steps, 2 * TRIED_STEPS))
    batches = _batches(samples, pictures, enough, 0, 0, where)

    def learned(steps: int) -> float:
        start = time.monotonic()
        for _, batch in zip(range(steps), batches, strict=False):
            loss = learner.learn(batch)
        float(loss)  # waits for the device
        return time.monotonic() - start

    learned(TRIED_STEPS)  # in which libraries choose their kernels
    step = learned(TRIED_STEPS) / TRIED_STEPS
    return max(1, int((seconds - (time.monotonic() - begin)) / step))


def _batches(
    samples: type[Samples] | type[Batches], pictures: Sequence[Picture], recipe: Recipe, done: int, workers: int,
    device: torch.device,
) -> Iterable[Sample]:  # fmt: skip
    """Those after the first `done`, in order."""
    if issubclass(samples, Batches):
        training = samples(pictures, recipe, device)
        return (training[number] for number in range(done, recipe.steps))
    return _loader(samples(pictures, recipe), recipe, done, workers, device)


def _fingerprint(
    family: str, recipe: Recipe, names: dict[str, list[str]], found: Mapping[str, Path], earlier: dict[str, Any] | None,
    network: nn.Module, samples: type[Samples] | type[Batches],
) -> str:  # fmt: skip
    """Of all that a training depends on: from a checkpoint with another one it must not go on."""
    same = {
        "family": family, "recipe": asdict(recipe), "pictures": names,
        "sizes": [found[name].stat().st_size for part in names.values() for name in part], "start": earlier,
        "network": {name: list(value.shape) for name, value in network.state_dict().items()},
        "samples": samples.version,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def _loader(training: Samples, recipe: Recipe, steps: int, workers: int, device: torch.device) -> DataLoader[Sample]:
    """The batches after the first `steps`, in order."""
    return DataLoader(
        training, recipe.batch, sampler=_From(steps * recipe.batch, recipe.steps * recipe.batch),
        num_workers=workers, persistent_workers=False, pin_memory=device.type == "cuda",
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None, generator=torch.Generator(),
    )  # fmt: skip


def _learn_all(
    family: str, learner: Learner, batches: Iterable[Sample], save_every: int, save: Callable[[], None],
    on_step: Callable[[int, float], None] | None, checkpoint: Path,
) -> None:  # fmt: skip
    """Until the recipe's steps are done. Raises ZssrError where the training diverges."""
    losses: list[Tensor] = []
    for batch in batches:
        losses.append(learner.learn(batch))
        steps = learner.state.steps
        saves = steps % save_every == 0 or steps == learner.recipe.steps
        if len(losses) < READ_EVERY and not saves:
            continue
        mean = torch.stack(losses).mean().item()
        losses.clear()
        if not math.isfinite(mean):
            raise ZssrError(
                f"{family}: training diverged after {steps} steps; remove {checkpoint}, if it is there, and"
                " give a lower --lr"
            )
        if saves:
            save()
        if on_step is not None:
            on_step(steps, mean)


def _started_from(start: Path, family: str, names: dict[str, list[str]]) -> tuple[nn.Module, dict[str, Any]]:
    """The network to begin with, and what the card says of it. names: of the pictures, by part."""
    network, card = load_weights(start)
    if card.family != family:
        raise PriorError(f"{start}: is of the family {card.family}, not {family}")
    trained_on = {*card.pictures["training"], *(card.start or {}).get("further_pictures", ())}
    kept_apart = {*names["validation"], *names["test"]}
    # By the names of files alone, as folders are moved and joined.
    seen = {base_of(name) for name in kept_apart} & {base_of(name) for name in trained_on}
    if seen:
        raise PriorError(f"{start}: was trained on {min(seen)} and {len(seen) - 1} more that are now kept apart")
    return network.requires_grad_(True).train(), {
        "sha256": sha256_of(start), "steps": card.steps, "seconds": card.seconds, "start": card.start,
        "further_pictures": sorted(trained_on - set(names["training"])),
    }  # fmt: skip

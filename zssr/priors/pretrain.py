"""Training a family on a folder of pictures, for `zssr pretrain`."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import pickle
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from zssr.device import Compute, choose_device, choose_precision, repeatable
from zssr.errors import OutputError, PriorError, SettingsError, ZssrError
from zssr.files.writing import replacing
from zssr.priors.cards import Card, load_weights, save_weights, sha256_of, untrained
from zssr.priors.pictures import Picture, base_of, find, load, split
from zssr.priors.recipes import Recipe
from zssr.priors.samples import Holes, Pairs, Planes, Sample, Samples

VALIDATION_SIDE = 240
SMALLEST_SIDE = 24  # of a validation picture: whole blocks, and divisible by every factor
WARM_UP = 200
EMA_DECAY = 0.999
READ_EVERY = 20
GREY_LEVEL = 1 / 255


SAMPLES: dict[str, type[Samples]] = {"unet": Holes, "meta": Pairs}  # the others repair single components


class _From(Sampler[int]):
    """The numbers from `first` on, in order."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last))

    def __len__(self) -> int:
        return self.last - self.first


@dataclass
class State:
    """Where a training is: steps done, seconds spent, validation curve as (step, PSNR)."""

    steps: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)


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


def _validation(samples: type[Samples], recipe: Recipe, pictures: Sequence[Picture]) -> list[tuple[Tensor, Sample]]:
    """Pairs of the middle of each picture."""
    pairs: list[tuple[Tensor, Sample]] = []
    for picture in pictures:
        side = min(VALIDATION_SIDE, *(length // SMALLEST_SIDE * SMALLEST_SIDE for length in picture.shape[1:]))
        top, left = ((length - side) // 2 for length in picture.shape[1:])
        middle = torch.from_numpy(np.ascontiguousarray(picture[:, top : top + side, left : left + side])).float()[None]
        pairs += samples.validation(middle, recipe)
    return pairs


def rate(recipe: Recipe, step: int) -> float:
    """The learning rate: a rise over the first steps, then half a cosine to a hundredth."""
    rise = min(1.0, (step + 1) / min(WARM_UP, max(1, recipe.steps // 5)))
    return recipe.lr * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


def check_out(out: Path) -> None:
    """Raises OutputError for a name that weights cannot have."""
    if out.suffix != ".safetensors":
        raise OutputError(f"{out}: weights need a name that ends with .safetensors")


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
    check_out(out)
    checkpoint, log = out.with_suffix(".checkpoint"), out.with_suffix(".csv")
    if not overwrite:
        for path in (out,) if checkpoint.exists() else (out, log):
            if path.exists():
                raise OutputError(f"{path}: exists; give --overwrite or another name")
    if not out.parent.is_dir() or out.is_dir():
        raise OutputError(f"{out}: cannot be written there; is its folder missing?")
    where = choose_device(device)
    number_format = choose_precision(precision, where)
    found = find(data)
    names = split(list(found))
    sizes = [found[name].stat().st_size for part in names.values() for name in part]
    begun, earlier = (None, None) if start is None else _begun(start, family, names)
    samples = SAMPLES.get(family, Planes)
    network = begun or untrained(family, recipe.seed)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    same = {
        "family": family, "recipe": asdict(recipe), "pictures": names, "sizes": sizes, "start": earlier,
        "network": shapes, "samples": samples.version,
    }  # fmt: skip
    fingerprint = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
    held = _read_checkpoint(checkpoint, fingerprint, where)
    training = samples(load(found, names["training"], recipe.crop), recipe)
    validation = _validation(samples, recipe, load(found, names["validation"], max(recipe.crop, samples.smallest)))
    network = network.to(where).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, (0.9, 0.99), weight_decay=recipe.weight_decay)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    state = State()
    if held is not None:
        network.load_state_dict(held["network"])
        optimizer.load_state_dict(held["optimizer"])
        average, state = held["average"], State(**held["state"])
    begin = time.monotonic() - state.seconds
    judged = untrained(family, recipe.seed).to(where)
    judged.load_state_dict(average)
    before, _ = validate(judged, validation, where)

    def save() -> None:
        state.seconds = time.monotonic() - begin
        held = {
            "fingerprint": fingerprint, "network": network.state_dict(), "optimizer": optimizer.state_dict(),
            "average": average, "state": asdict(state),
        }  # fmt: skip
        _replaced(checkpoint, lambda path: torch.save(held, path))
        _replaced(log, lambda path: _write_log(path, before, state.curve))

    loader = DataLoader(
        training, recipe.batch, sampler=_From(state.steps * recipe.batch, recipe.steps * recipe.batch),
        num_workers=workers, persistent_workers=False, pin_memory=where.type == "cuda",
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None, generator=torch.Generator(),
    )  # fmt: skip
    losses: list[Tensor] = []
    for *seen, whole in loader:
        for group in optimizer.param_groups:
            group["lr"] = rate(recipe, state.steps)
        *seen, whole = (x.to(where, non_blocking=True) for x in (*seen, whole))
        with repeatable(where):
            with Compute(where, number_format).autocast():
                restored = network(*seen)
            loss = _loss(recipe.loss, restored.float(), whole, seen[0])
            optimizer.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        state.steps += 1
        decay = min(EMA_DECAY, (1 + state.steps) / (10 + state.steps))
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - decay)
                else:
                    average[name].copy_(value)
        losses.append(loss.detach())
        saves = state.steps % save_every == 0 or state.steps == recipe.steps
        if len(losses) < READ_EVERY and not saves:
            continue
        mean = torch.stack(losses).mean().item()
        losses.clear()
        if not math.isfinite(mean):
            raise ZssrError(
                f"{family}: training diverged after {state.steps} steps; remove {checkpoint}, if it is there, and"
                " give a lower --lr"
            )
        if saves:
            judged.load_state_dict(average)
            state.curve.append((state.steps, validate(judged, validation, where)[1]))
            save()
        if on_step is not None:
            on_step(state.steps, mean)
    _replaced(log, lambda path: _write_log(path, before, state.curve))  # a kill may have come just before it
    card = Card(
        family=family, recipe=json.loads(json.dumps(asdict(recipe))), data=data.name, licence=licence, pictures=names,
        steps=state.steps, seconds=round(state.seconds), validation={"before": before, "after": state.curve[-1][1]},
        torch=torch.__version__, machine=f"{platform.machine()}, {where}", start=earlier,
    )  # fmt: skip
    _replaced(out, lambda path: save_weights(path, average, card))
    checkpoint.unlink(missing_ok=True)
    return card


def _loss(kind: str, restored: Tensor, whole: Tensor, seen: Tensor) -> Tensor:
    """Of a batch; seen: the damaged pictures or their first estimates, and maybe hints behind them. See `Recipe`."""
    power = 2 if kind.endswith("l2") else 1
    errors = (restored - whole).abs().pow(power).mean((1, 2, 3))
    if not kind.startswith("relative"):
        return errors.mean()
    before = (seen[:, : whole.shape[1]] - whole).abs().pow(power).mean((1, 2, 3))
    return (errors / before.clamp_min((GREY_LEVEL / 4) ** power)).mean()


def _begun(start: Path, family: str, names: dict[str, list[str]]) -> tuple[nn.Module, dict[str, Any]]:
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


def _read_checkpoint(path: Path, fingerprint: str, device: torch.device) -> dict[str, Any] | None:
    """None where there is none. Raises OutputError for one that is broken or of another training."""
    if not path.exists():
        return None
    try:
        held = torch.load(path, map_location=device, weights_only=True)
        found = held["fingerprint"]
    except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError):
        raise OutputError(f"{path}: cannot be read as a checkpoint; remove it") from None
    if found != fingerprint:
        raise OutputError(f"{path}: is of another training; remove it or give --out another name")
    return held


def _write_log(path: Path, before: float, curve: Sequence[tuple[int, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "psnr", "psnr_without"])
        writer.writerows((step, f"{psnr:.4f}", f"{before:.4f}") for step, psnr in curve)


def _replaced(path: Path, write: Callable[[Path], Any]) -> None:
    """As `replacing`, with what may go wrong as an OutputError."""
    try:
        with replacing(path) as aside:
            write(aside)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OutputError(f"{path}: cannot be written ({reason})") from None

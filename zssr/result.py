"""A restored picture and all that is known about it, in memory and as files."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from zssr import files
from zssr.agreement import Agreement, agreement_of
from zssr.budget import Budget
from zssr.image import Image
from zssr.plan import Plan
from zssr.resample import fit, size_of
from zssr.settings import Settings
from zssr.train import TrainingReport
from zssr.version import __version__
from zssr.weights import Weights


@dataclass(frozen=True)
class Restored:
    """What the method made of a plan's picture.

    pixels: (1, C, *plan.out_size) in [0, 1]. learned: whether a network made it. spread: (1, 1, *plan.out_size), see
    Result. notes: what came up on the way.
    """

    pixels: Tensor
    learned: bool = False
    spread: Tensor | None = None
    weights: Weights | None = None
    reports: tuple[TrainingReport, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A restored picture and what is known about it.

    learned: whether a network made it; if not, it is interpolated or unchanged, and the notes say why.
    weights: of the network that made it, for `warm_start` of `restore`.
    spread: (1, H, W), where it was asked for: the standard deviation, in [0, 1] grey values, of the results of flips
    and rotations before they were joined and projected.
    """

    image: Image
    plan: Plan
    agreement: Agreement
    reports: tuple[TrainingReport, ...]
    seconds: float
    notes: tuple[str, ...]
    learned: bool
    weights: Weights | None = field(default=None, repr=False)
    spread: Tensor | None = field(default=None, repr=False)

    @property
    def settings(self) -> Settings:
        """Those it was made with."""
        return self.plan.settings

    @property
    def words(self) -> str:
        """How well it agrees with the input, for people."""
        return self.agreement.words(self.plan.last.degradation.noisy)

    @property
    def unknown(self) -> str:
        """What the input could not tell, in a few sentences."""
        if not self.plan.undoes:
            return "Every pixel is the input's own."
        lost = [part.lost for part in self.plan.last.degradation.parts]
        if self.plan.frame is not None:
            lost.append(self.plan.frame.lost)
        sentences = [*self._unknown_detail(), *filter(None, dict.fromkeys(lost))]
        if used := self.plan.priors.used():
            names = " and ".join(prior.name for prior in used)
            sentences.append(
                f"Some detail comes from other pictures, those that {names} learned from, not from this one."
            )
        return " ".join(sentences)

    def _unknown_detail(self) -> list[str]:
        measured, made = math.prod(self.plan.in_size), math.prod(self.plan.out_size)
        if measured == made:
            return []
        start = f"The result has {made} pixels and the input {measured}: "
        if not self.learned:
            return [
                f"{start}it is interpolated, nothing was learned, and detail finer than the input's pixels is missing."
            ]
        return [
            f"{start}detail finer than the input's pixels is an estimate learned from the picture's own larger"
            " structures, not a measurement."
        ]

    def pillow(self) -> PIL.Image.Image:
        """8 bits a channel: L, LA, RGB or RGBA."""
        return self.image.pillow()

    def numpy(self) -> np.ndarray:
        """(H, W) or (H, W, C), uint8 or uint16 as the input, alpha last."""
        return self.image.samples()

    def tensor(self) -> Tensor:
        """(C, H, W) float32 in [0, 1], without alpha."""
        return self.image.pixels

    def encode(self, format: str = "png") -> tuple[bytes, list[str]]:
        """The bytes of a file of this format (a key of formats.WRITABLE), and notes on what it could not hold."""
        return files.encode(self.image, format, self.settings.jpeg_quality, self.settings.strip)

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write it; the format follows the name. Raises OutputError."""
        files.write(self.encode(files.format_of(path))[0], path, overwrite)

    def sidecar(self) -> dict[str, Any]:
        """All of this as JSON, to be kept beside the picture."""
        height, width = self.plan.in_size
        shape = self.plan.network
        return {
            "version": __version__,
            "findings": [finding.to_json() for finding in self.plan.findings],
            "torch": torch.__version__,
            "input_size": [width, height],
            "output_size": [self.image.size[1], self.image.size[0]],
            "settings": self.settings.to_json(),
            "seed": self.settings.seed,
            "device": str(self.plan.device),
            "precision": str(self.plan.precision).removeprefix("torch."),
            "network": {"width": shape.width, "depth": shape.depth, "kernel_size": shape.kernel_size},
            "priors": [
                {"name": prior.name, "sha256": prior.sha256, "licence": prior.licence}
                for prior in self.plan.priors.used()
            ],
            "moves": sorted(self.plan.transforms),
            "steps": [
                {"size": [step.size[1], step.size[0]], "degradation": step.degradation.to_json()}
                for step in self.plan.steps
            ],
            "training": [_finite(dataclasses.asdict(report)) for report in self.reports],
            "seconds": round(self.seconds, 3),
            "learned": self.learned,
            "agreement": dataclasses.asdict(self.agreement),
            "unknown": self.unknown,
            "notes": list(self.notes),
        }

    def sidecar_json(self, **further: Any) -> bytes:
        """The sidecar as the bytes of a file, with `further` keys, which win."""
        return (json.dumps({**self.sidecar(), **further}, indent=1, allow_nan=False) + "\n").encode()


def make_result(image: Image, restored: Restored, plan: Plan, budget: Budget) -> Result:
    """Of the input picture and what was made of it."""
    notes = [*image.notes, *plan.notes, *restored.notes]
    initial = plan.priors.initial
    # A warm start may have had the prior's weights at its own beginning.
    if initial is not None and not restored.learned:
        notes.append(f"prior {initial.name}: not used in the end, as no network made the result")
        plan = dataclasses.replace(plan, priors=dataclasses.replace(plan.priors, initial=None))
    pixels = _weakened(restored.pixels[0].cpu(), image, plan)
    restored = dataclasses.replace(restored, pixels=pixels[None])  # the memory of the full strength is free again
    agreement = agreement_of(pixels, plan)
    spread = None if restored.spread is None else restored.spread[0].cpu()
    if plan.frame is not None:
        pixels = plan.frame.cut(pixels)
        spread = None if spread is None else plan.frame.cut(spread)
    if not plan.undoes:
        pixels = image.pixels
    alpha = image.alpha
    if alpha is not None and alpha.shape[-2:] != pixels.shape[-2:]:
        # As the picture is enlarged, so that edges of pixel art stay edges; unless a part of the result is kept.
        enlarge = fit if plan.frame is not None else plan.last.degradation.parts[0].plain
        alpha = enlarge(alpha, size_of(pixels)).clamp(0, 1)
    made = dataclasses.replace(image, pixels=pixels, alpha=alpha, notes=(), jpeg=None)
    notes += budget.note()
    return Result(
        image=made, plan=plan, agreement=agreement, reports=restored.reports, seconds=budget.used, notes=tuple(notes),
        learned=restored.learned, weights=restored.weights, spread=spread,
    )  # fmt: skip


def _weakened(pixels: Tensor, image: Image, plan: Plan) -> Tensor:
    """A result (C, *plan.out_size) mixed with the input, as the strength asks for."""
    if plan.settings.strength == 1:
        return pixels
    size = size_of(pixels) if plan.frame is None else plan.frame.size
    plain = image.pixels if image.size == size else fit(image.pixels, size).clamp_(0, 1)
    if plan.frame is not None:
        plain = plan.frame.filled(plain, size_of(pixels))
    return torch.lerp(plain, pixels, plan.settings.strength)


def _finite(x: Any) -> Any:
    """Without numbers that JSON cannot hold: training may have diverged."""
    if isinstance(x, dict):
        return {key: _finite(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_finite(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x

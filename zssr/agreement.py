"""How well a result agrees with its input: damaged again, it should be the input (data consistency)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zssr.damages import Chain
from zssr.image import as_stored
from zssr.plan import Plan

CONTRADICTION = 3.0  # grey levels, root mean square, above which a result does not agree with its input


@dataclass(frozen=True)
class Agreement:
    """How the result, damaged again, differs from the input, in grey levels of 255.

    rms: root mean square; worst: largest difference; both over all pixels and channels.
    coefficients: where compression came last, the share of the JPEG coefficients that are the same again; else None.
    """

    rms: float
    worst: float
    coefficients: float | None = None

    def words(self, noisy: bool) -> str:
        """For people. noisy: whether noise was taken out, so that a difference is the point."""
        figures = f"{self.rms:.2f} grey levels (worst {self.worst:.1f})"
        if noisy:
            words = f"differs from the input by {figures}, mostly the noise taken out"
        elif self.rms > CONTRADICTION:
            words = f"differs from the input by {figures}: the damage was not what was assumed, or not alone"
        else:
            words = f"agrees with the input to {figures}"
        if self.coefficients is not None:
            share = math.floor(1000 * self.coefficients) / 10  # 100 only where all are the same
            words += f", {share:.1f} % of the JPEG coefficients are the same again"
        return words


def agreement_of(pixels: Tensor, plan: Plan) -> Agreement:
    """Of a result (C, *plan.out_size) in [0, 1], before it is cut to the plan's frame."""
    if not plan.undoes:
        return Agreement(0.0, 0.0)
    # Without the noise: it is no part of what a result can agree with.
    expected = Chain(tuple(part for part in plan.last.degradation.parts if not part.noisy))
    last = expected.parts[-1] if expected.parts else None
    rng = torch.Generator().manual_seed(plan.settings.seed)
    squares, worst = 0.0, 0.0
    picture, alpha, peak = plan.image.pixels, plan.image.alpha, plan.image.peak
    visible = torch.ones(1, 1, 1) if alpha is None or not alpha.any() else (alpha > 0).float()
    # Channel by channel, which needs less memory, unless the damage mixes them.
    groups = [pixels] if any(part.joint_channels for part in expected.parts) else list(pixels.split(1))
    for group, target in zip(groups, picture.split(len(groups[0])), strict=True):
        again = expected.degrade(as_stored(group, peak)[None], rng)[0]
        if last is not None and last.overwrites and last.region is not None:  # nothing was measured there
            target = last.region.inside(again[None], target[None])[0]
        difference = (again - target).mul_(255).mul_(visible)
        squares += difference.square().mean().item() / visible.mean().item() / len(groups)
        worst = max(worst, difference.abs().max().item())
    further = {}
    if last is not None and last.figures:
        before = Chain(expected.parts[:-1]).degrade(as_stored(pixels, peak)[None], rng)
        further = dict(last.agreement(before, picture[None]))
    return Agreement(round(math.sqrt(squares), 4), round(worst, 4), **further)

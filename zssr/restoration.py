"""Restoration of one picture: a pure function of picture, settings and seed.

The method is that of ZSSR (Shocher, Cohen, Irani, CVPR 2018): a small network learns, on smaller copies of the picture
that are damaged as the picture was, to undo the damage, and is then applied to the picture.
"""

from __future__ import annotations

from typing import Any

import torch

from zssr.apply import apply
from zssr.budget import Budget
from zssr.device import computing_on
from zssr.examples import Examples
from zssr.first_estimate import FirstEstimate
from zssr.held_out import never_worse
from zssr.plan import Plan, make_plan
from zssr.preview import OnPreview
from zssr.prior_selection import settle
from zssr.progress import OnStep, Reporter
from zssr.result import Restored, Result, make_result
from zssr.settings import Settings, make
from zssr.source import Source, as_image
from zssr.train import TrainingReport, train
from zssr.weights import Weights, load_weights_of, new_network, weights_of

DIVERGED = (
    "training did not come near the first estimate, which was used instead: give it more steps (--num-epochs, --budget)"
    " or a lower --lr"
)


def restore(
    source: Source,
    settings: Settings | None = None,
    *,
    plan: Plan | None = None,
    on_step: OnStep | None = None,
    on_preview: OnPreview | None = None,
    budget_from: float | None = None,
    warm_start: Weights | None = None,
    spread: bool = False,
    **keywords: Any,
) -> Result:
    """Repair and enlarge one picture by learning from it alone.

    source: a path, the bytes of a file, an Image, a Pillow image, an array (H, W[, C]) of uint8 or
    uint16, or a tensor (C, H, W) float in [0, 1].
    settings: all settings at once; or give them as keywords: restore("a.jpg", scale=4).
    plan: what make_plan(source, settings) gave, where the caller has it already; its settings are used.
    on_step: called often with a Progress; return False to cancel.
    on_preview: called about once a second of training with the middle of the result as it is then; see zssr.preview.
    budget_from: time.monotonic() from which a budget counts, if that was before this call.
    warm_start: the weights of a similar picture's result; training then takes a quarter of the steps.
    spread: whether the result is to hold its spread.
    Raises the errors in zssr.errors; PictureError and SettingsError before any work is done.
    """
    if keywords and (settings is not None or plan is not None):
        raise TypeError("give either settings, a plan, or keywords")
    if settings is None:
        settings = make(**keywords)
        settings.for_one_picture()
    if plan is not None and plan.warm:
        raise TypeError("this plan is of a result with a warm start; give one that make_plan made")
    settings = settings if plan is None else plan.settings
    budget = Budget(settings.budget, budget_from)
    image = as_image(source, settings)
    plan = plan or make_plan(image, settings)
    with computing_on(plan.device, plan.out_size):
        plan = settle(plan, warm_start)  # priors that help are kept; from here on nothing changes it
        estimate = FirstEstimate(plan)
        reporter = Reporter(plan, on_step, on_preview)
        # Without a name for what is restored: its memory is needed while the result is made of it.
        return make_result(image, _restored(plan, estimate, budget, reporter, warm_start, spread), plan, budget)


def _restored(
    plan: Plan, estimate: FirstEstimate, budget: Budget, reporter: Reporter, warm_start: Weights | None, spread: bool
) -> Restored:
    """The method: learn from the picture, apply what was learned, make the result agree with the input.

    The network learns only what the first estimate leaves over; that is the damages' own, or a prior's.
    """
    if not plan.learns:
        return Restored(estimate.plain())
    rng = torch.Generator().manual_seed(plan.settings.seed)
    network = new_network(plan.network, plan.compute, rng)
    if plan.warm and warm_start is not None:
        load_weights_of(network, warm_start)
    elif plan.priors.initial is not None:
        plan.priors.initial.begin(network, plan.enlargement)
    pyramid = estimate.pyramid()  # smaller copies of the repaired picture: the fathers; sons are fathers damaged
    reports: list[TrainingReport] = []
    notes: list[str] = []
    for step in plan.steps:  # sizes on the way to the result: 1.5, 2, 3, 4 times; or the same size in two passes
        # 1. Learn to undo the damage on pairs made of the picture itself.
        examples = Examples(pyramid, step.degradation, plan.priors.estimator, plan.image.peak, rng)
        on_step = reporter.begin_training(step, network, estimate)
        seconds_left = budget.for_training(plan, step)
        reports.append(train(network, examples, step.training, plan.compute, on_step, seconds_left))
        if reports[-1].diverged:
            return Restored(estimate.plain(), reports=tuple(reports), notes=(DIVERGED,))
        # 2. Apply what was learned, in tiles, flipped and rotated as far as the damage and the budget allow.
        if step is plan.last:
            pyramid.clear()  # the result needs its memory
        transforms = budget.transforms(plan, step, reports[-1])
        if transforms != plan.transforms and step is plan.last:
            notes.append("the budget left no time for the self-ensemble")
        on_tile = reporter.begin_applying()
        applied = apply(network, estimate.seen(step), plan.tile, transforms, plan.compute, on_tile, spread)
        deviation, pixels = applied.spread, applied.pixels
        del applied
        if step is plan.last:
            pixels, share, worse = never_worse(pixels, network, estimate, plan)
            deviation = None if deviation is None else deviation * share
            notes += worse
        # 3. Make the result agree with the input; it then joins what later steps learn from.
        result = estimate.agreeing(pixels, step)
        del pixels
        if step is not plan.last:
            pyramid.add(result.to(plan.sampling))
    return Restored(result, True, deviation, weights_of(network), tuple(reports), tuple(notes))

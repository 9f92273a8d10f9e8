"""Which priors help one picture, and whether there is anything to learn: judged on pairs made of the picture itself,
before training starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zssr.errors import PriorError
from zssr.examples import Analytic, Estimator, Pair, draw_pair
from zssr.plan import Plan
from zssr.priors import PriorEstimator, Priors
from zssr.pyramid import Pyramid
from zssr.settings import AUTO
from zssr.weights import Weights, new_network

PAIRS = 8
PAIR_SIDE = 128  # pixels
TOLERATED_LOSS = 0.1 / 255  # by which a prior may be worse, as on flat pictures
# Of a sample's step: less cannot be seen.
FLAT = 0.25

# The pairs of a plan's picture, made when they are first asked for.
SelfPairs = Callable[[], Sequence[Pair]]


def settle(plan: Plan, warm_start: Weights | None) -> Plan:
    """The plan with the priors that help this picture, without training where there is nothing to learn, and with a
    warm start from a similar picture's weights. After that nothing changes it.

    Raises PriorError where only priors that help will do.
    """
    pairs = _made_once(plan)
    plan = _with_helpful_estimator(plan, pairs)
    if plan.settings.prior == AUTO and plan.priors.firsts:  # initial weights are for the damages' own first estimate
        plan = plan.with_priors(dataclasses.replace(plan.priors, initial=None))
    if plan.learns and _has_nothing_to_learn(plan):
        note = "the picture has no detail to learn from: a plain first estimate"
        plan = dataclasses.replace(plan, learns=False, notes=(*plan.notes, note))
    if not plan.learns:
        return plan
    plan = plan.warm_started(warm_start)
    return plan if plan.warm else _with_helpful_initial_weights(plan, pairs)


def self_pairs(plan: Plan) -> list[Pair]:
    """Always the same, from all over the picture.

    Fathers come from the picture itself: taken from a first estimate, they would favour that estimate.
    """
    rng = torch.Generator().manual_seed(0)
    picture = plan.image.pixels[None].to(plan.storage).to(plan.sampling)
    undamaged = None if plan.undamaged is None else plan.undamaged.float().to(plan.sampling)
    degradation = plan.last.degradation
    pyramid = Pyramid(picture, degradation.clean_scale_unrepaired, undamaged)
    return [draw_pair(pyramid, degradation, 1, PAIR_SIDE, plan.image.peak, rng) for _ in range(PAIRS)]


def _made_once(plan: Plan) -> SelfPairs:
    made: list[Pair] = []

    def pairs() -> Sequence[Pair]:
        if not made:
            made.extend(self_pairs(plan))
        return made

    return pairs


def _error(pairs: Sequence[Pair], restore: Callable[[Pair], Tensor]) -> float:
    """Mean absolute error, in [0, 1], of what `restore` makes of each son."""
    errors = [((restore(pair) - pair.father).abs() * pair.weight).mean() for pair in pairs]
    return torch.stack(errors).mean().item()


def _error_of(estimator: Estimator, pairs: Sequence[Pair]) -> float:
    return _error(pairs, lambda pair: estimator(pair.damage, pair.son, (pair.father.shape[-2], pair.father.shape[-1])))


def _with_helpful_estimator(plan: Plan, pairs: SelfPairs) -> Plan:
    """The analytic first estimate instead of a prior's that does worse; or the prior's milder version, if that is the
    better of the two."""
    kept: list[PriorEstimator] = []
    if not plan.priors.firsts:
        return plan
    without = _error_of(Analytic(thorough=True), pairs())
    for first in plan.priors.firsts:
        with_prior = _error_of(Priors((*kept, first)).estimator, pairs())
        if with_prior > without and (milder := first.milder(plan.channels)) is not None:
            with_milder = _error_of(Priors((*kept, milder)).estimator, pairs())
            if with_milder < with_prior:
                first, with_prior = milder, with_milder
        helps, note = _verdict(plan, first.label, with_prior, without)
        plan = plan.with_priors(plan.priors, note)
        if helps:
            kept.append(first)
            without = with_prior
    return plan.with_priors(dataclasses.replace(plan.priors, firsts=tuple(kept)))


def _with_helpful_initial_weights(plan: Plan, pairs: SelfPairs) -> Plan:
    """Without a prior's initial weights if with them the network does worse than the first estimate alone."""
    initial = plan.priors.initial
    if initial is None:
        return plan
    network = new_network(plan.network, plan.compute, torch.Generator().manual_seed(plan.settings.seed))
    initial.begin(network, plan.enlargement)
    estimator = plan.priors.estimator

    def restored(pair: Pair) -> Tensor:
        network_input = pair.example(estimator).network_input.to(plan.device)
        with torch.no_grad(), plan.compute.autocast():
            return network(network_input).float().to(pair.son.device)

    helps, note = _verdict(plan, initial.name, _error(pairs(), restored), _error_of(estimator, pairs()))
    return plan.with_priors(plan.priors if helps else dataclasses.replace(plan.priors, initial=None), note)


def _verdict(plan: Plan, label: str, with_prior: float, without: float) -> tuple[bool, str]:
    """Whether a prior is used, and a note on it. Raises PriorError if it is no better and only better ones will do."""
    error = "no numbers" if math.isnan(with_prior) else f"{with_prior * 255:.2f} grey levels of error"
    words = f"prior {label}: {error} on pairs of this picture, {without * 255:.2f} without it"
    better, tolerated = with_prior <= without, with_prior <= without + TOLERATED_LOSS
    if not better and plan.settings.prior_strict and plan.settings.prior != AUTO:
        raise PriorError(f"{words}; leave --prior-strict out to go on")
    return tolerated, f"{words}: {'used' if better else 'used, though no better' if tolerated else 'not used'}"


def _has_nothing_to_learn(plan: Plan) -> bool:
    """Whether the first estimate already gives the picture back: it is flat, and a network could only add errors."""
    degradation = plan.last.degradation
    if degradation.noisy:
        return False
    picture = plan.image.pixels[None].to(plan.storage)
    rng = torch.Generator().manual_seed(plan.settings.seed)
    damage = degradation.at_crop(plan.in_size, rng)
    base = plan.priors.estimator(damage, damage.degrade(picture, rng), plan.in_size)
    return bool((base - picture).abs().max() < FLAT / plan.image.peak)

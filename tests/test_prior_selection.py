"""What is decided on pairs of the picture itself before training; how single priors fare is in test_priors.py."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from conftest import QUICK, compressed, rounded

import zssr
from zssr import prior_selection
from zssr.damages import Mosaic, Region
from zssr.image import Image
from zssr.plan import Plan, make_plan
from zssr.prior_selection import self_pairs, settle
from zssr.settings import make


def planned(picture: Image, **settings: Any) -> Plan:
    return make_plan(picture, make(**{**QUICK, **settings}))


def test_pairs_are_the_same_every_time(cat: Image) -> None:
    plan = planned(zssr.load(compressed(cat, 20)))
    first, again = self_pairs(plan), self_pairs(plan)
    assert len(first) > 1
    assert all(torch.equal(one.father, other.father) for one, other in zip(first, again, strict=True))
    assert all(torch.equal(one.son, other.son) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0].father, first[1].father)


def test_pairs_do_not_count_what_is_damaged(cat: Image) -> None:
    region = Region.rectangle(cat.size, 20, 30, 64, 64)
    damaged = rounded(Mosaic(region, (8, 8), (4, 6)).degrade(cat.pixels[None]))[0]
    black = Image(torch.where(region.pixels[0], 0, damaged))  # to be seen in a father
    plan = dataclasses.replace(planned(Image(damaged), mosaic="30,20,64,64:8", repair="none"), image=black)
    pairs = self_pairs(plan)
    shown = [(pair.father.amax(1, keepdim=True) == 0) for pair in pairs]
    assert any(mask.any() for mask in shown)
    assert all(not pair.weight[mask].any() for pair, mask in zip(pairs, shown, strict=True))


def test_without_priors_no_pairs_are_made(picture: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(picture, scale=2, repair="none")
    monkeypatch.delattr(prior_selection, "self_pairs")
    assert settle(plan, None) == plan


def test_flat_pictures_are_not_learned_from() -> None:
    plan = settle(planned(Image(torch.full((3, 40, 48), 102 / 255)), scale=2, repair="none"), None)
    assert not plan.learns
    assert "no detail to learn from" in plan.notes[-1]
    noisy = settle(planned(Image(torch.full((3, 40, 48), 102 / 255)), noise=10, repair="none"), None)
    assert noisy.learns


def test_a_warm_start_takes_a_quarter_of_the_steps(picture: Image) -> None:
    plan = planned(picture, scale=3, repair="none")
    weights = zssr.restore(picture, plan=plan).weights
    warm = settle(plan, weights)
    assert warm.warm
    assert [step.training_steps for step in plan.steps] == [20, 10, 10]
    assert [step.training_steps for step in warm.steps] == [5, 3, 3]
    assert warm.steps[0].training.lr < plan.steps[0].training.lr
    assert warm.notes == plan.notes
    other = settle(planned(picture, scale=3, repair="none", model_width=12), weights)
    assert not other.warm
    assert "another kind of network" in other.notes[-1]
    assert [step.training_steps for step in other.steps] == [20, 10, 10]

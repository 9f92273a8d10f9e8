"""What a restoration costs, before it is done."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from conftest import QUICK

import zssr
from zssr.damages import Chain, Missing, Noise, Region
from zssr.effort import training_for
from zssr.errors import DeviceError
from zssr.image import Image
from zssr.plan import make_plan
from zssr.resources import (
    BYTES_OF_RUNTIME,
    check_memory,
    estimate_from_sizes,
    least_memory,
    pixels_of_a_step,
    pixels_to_apply,
    seconds_to_apply,
    step_flops,
)
from zssr.settings import Settings, make


@pytest.mark.parametrize("settings", [{"scale": 3}, {"scale": 2}, {"noise": 10}])
def test_progress_is_measured_by_the_costs_of_the_plan(picture: Image, settings: dict[str, Any]) -> None:
    seen: list[zssr.Progress] = []
    result = zssr.restore(picture, **{**QUICK, "repair": "none", **settings}, on_step=seen.append)
    stages = result.plan.stages
    assert [stage.name for stage in stages] == ["train", "apply"] * len(result.plan.steps)
    total = sum(stage.pixels for stage in stages)
    done = 0.0
    for number, stage in enumerate(stages):
        done += stage.pixels
        last = [progress for progress in seen if progress.stage_number == number][-1]
        assert last.stage == stage.name
        assert last.fraction == 1
        assert last.whole == pytest.approx(done / total)
    assert seen[-1].whole == pytest.approx(1)
    wholes = [progress.whole for progress in seen]
    assert wholes == sorted(wholes)
    assert wholes[0] > 0


CHEAPER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"quality": "fast"}, {}),
    ({}, {"quality": "best"}),
    ({"num_epochs": 100}, {"num_epochs": 200}),
    ({"crop_size": 48}, {"crop_size": 64}),
    ({"model_width": 16}, {"model_width": 32}),
    ({"model_depth": 4}, {"model_depth": 8}),
    ({"model_kernel_size": 1}, {"model_kernel_size": 3}),
    ({"batch_size": 1}, {"batch_size": 4}),
    ({"ensemble": False}, {}),
    ({"scale": 2}, {"scale": 4}),
    ({"noise": 10, "scale": 1}, {"noise": 10, "scale": 2}),
]


@pytest.mark.parametrize(("less", "more"), CHEAPER)
def test_cheaper_settings_cost_less(picture: Image, less: dict[str, Any], more: dict[str, Any]) -> None:
    cheap, dear = (make_plan(picture, make(**{"scale": 2, "repair": "none", **how})).flops for how in (less, more))
    assert 0 < cheap < dear


def test_without_learning_nothing_is_computed(picture: Image) -> None:
    assert make_plan(picture, make(scale=2, repair="none", num_epochs=0)).flops == 0


def test_memory_grows_with_the_result(picture: Image) -> None:
    memory = [make_plan(picture, make(scale=scale, repair="none")).memory for scale in (1.5, 2, 4, 8)]
    assert memory == sorted(memory)
    assert len(set(memory)) == 4
    assert memory[0] > BYTES_OF_RUNTIME
    grey = Image(picture.pixels[:1])
    assert make_plan(grey, make(scale=8, repair="none")).memory < memory[-1]
    alpha = dataclasses.replace(picture, alpha=torch.ones(1, *picture.size))
    assert make_plan(alpha, make(scale=8, repair="none")).memory > memory[-1]
    assert least_memory(3, (512, 576)) <= memory[-1]


def test_too_little_memory_is_said_before_work() -> None:
    check_memory((100, 100), BYTES_OF_RUNTIME + 1000)
    with pytest.raises(DeviceError, match="a result of 200x100 needs about 1000000"):
        check_memory((100, 200), 10**15)


def test_only_tiles_with_damage_are_computed() -> None:
    region = Region.rectangle((200, 300), 10, 10, 20, 20)
    assert pixels_to_apply((200, 300), 100, Chain((Noise(5.0),)), 1) == 200 * 300
    assert pixels_to_apply((200, 300), 100, Chain((Missing(region),)), 1) == 100 * 100
    assert pixels_to_apply((200, 300), 100, Chain((Missing(region),)), 8, halo=10) == 8 * 120 * 120


def test_seconds_to_apply_follow_the_speed_of_training(picture: Image) -> None:
    plan = make_plan(picture, make(scale=3, repair="none"))
    training = training_for(Settings(), 100, {}, False)
    sizes = [(step.size, step.degradation) for step in plan.steps]

    def seconds(transforms: int = 8, step_seconds: float = 0.1, last: bool = False) -> float:
        chosen = sizes[-1:] if last else sizes
        return seconds_to_apply(chosen, plan.tile, transforms, training, 96, (8, 3), step_seconds)

    assert seconds(step_seconds=0.2) == pytest.approx(2 * seconds(), rel=0.01)
    assert seconds(transforms=1) < seconds() / 6
    assert seconds(last=True) < seconds()


def test_estimates_from_sizes_are_near_those_of_the_plan() -> None:
    picture = Image(torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(0)))
    for settings in (make(scale=2, repair="none"), make(scale=2, repair="none", quality="fast"), make(noise=10)):
        plan = make_plan(picture, settings)
        pixels, memory = estimate_from_sizes(settings, picture.size, plan.out_size)
        assert pixels == pytest.approx(sum(stage.pixels for stage in plan.stages), rel=0.2)
        assert plan.memory / 2 < memory < 2 * plan.memory


def test_steps_cost_in_proportion_to_their_crops() -> None:
    assert pixels_of_a_step(96, 4) == 4 * pixels_of_a_step(96, 1) == 16 * pixels_of_a_step(48, 1)
    assert step_flops(make(crop_size=64)) == pytest.approx(4 * step_flops(make(crop_size=32)))
    assert step_flops(make(model_width=64)) > 2 * step_flops(make(model_width=32))
    assert math.isfinite(step_flops(Settings()))

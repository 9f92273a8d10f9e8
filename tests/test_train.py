from __future__ import annotations

import dataclasses
import math
import random
import time

import pytest
import skimage.data
import torch
from torch import Tensor

from zssr import train as training_module
from zssr.damages import Chain, Downscale
from zssr.device import Compute
from zssr.effort import training_for
from zssr.errors import DeviceError
from zssr.examples import Analytic, Examples
from zssr.image import from_array
from zssr.network import UNSHUFFLE, Network
from zssr.pyramid import Pyramid
from zssr.resample import ratio
from zssr.settings import Settings
from zssr.train import SlopeSchedule, Training, TrainingReport, fitted_line, train

CPU = Compute(torch.device("cpu"), torch.float32)


def training(steps: int, **changes: float) -> Training:
    """With the default settings, but for the changes."""
    return dataclasses.replace(training_for(Settings(), steps, {}, False), **changes)  # type: ignore[arg-type]


HALF = Chain((Downscale(ratio((2, 2), (1, 1))),))


def test_fitted_line_of_a_line() -> None:
    fall, spread = fitted_line([10 - 0.5 * i for i in range(21)])
    assert fall == pytest.approx(10)
    assert spread == pytest.approx(0, abs=1e-9)


def test_fitted_line_of_noise_around_a_level() -> None:
    numbers = random.Random(1)
    fall, spread = fitted_line([numbers.gauss(1, 0.1) for _ in range(2000)])
    assert abs(fall) < 0.03
    assert spread == pytest.approx(0.1, rel=0.05)


def rates(errors: list[float], rule: Training) -> list[float]:
    schedule = SlopeSchedule(rule)
    out = []
    for error in errors:
        schedule.record(error)
        out.append(schedule.rate(1000, 0))
    return out


RULE = training(steps=1000, lr=1.0, lr_stop=0.01, lr_decay=0.1, lr_decay_ratio=1.0, lr_decay_range=20, lr_decay_step=5)


def test_rate_stays_while_errors_fall() -> None:
    noisy_fall = [100 - i + (-1) ** i for i in range(100)]
    assert set(rates(noisy_fall, RULE)) == {1.0}


def test_rate_is_lowered_when_errors_stop_falling() -> None:
    level = [5 + (-1) ** i for i in range(60)]
    out = rates(level, RULE)
    assert out[18] == 1.0  # the line needs its whole range
    assert out[19] == pytest.approx(0.1)
    assert out[38] == pytest.approx(0.1)  # and after a decay again
    assert out[39] == pytest.approx(0.01)


def test_rising_errors_lower_the_rate() -> None:
    assert rates([float(i) for i in range(30)], RULE)[-1] < 1.0


def test_a_larger_ratio_is_less_patient() -> None:
    slow = [10 - 0.1 * i + (-1) ** i for i in range(40)]  # falls 1.9 in 20 steps, spread 1
    assert min(rates(slow, RULE)) == 1.0
    patient = dataclasses.replace(RULE, lr_decay_ratio=3.0)
    assert min(rates(slow, patient)) < 1.0


def test_a_budget_shortens_the_schedule_rather_than_cutting_it_off() -> None:
    schedule = SlopeSchedule(training(steps=100, lr=1e-3, lr_stop=1e-5))
    assert schedule.rate(50, 0) == 1e-3
    assert schedule.rate(50, 0.5) == pytest.approx((1e-3 + 1e-5) / 2)
    assert schedule.rate(50, 1) == pytest.approx(1e-5)
    assert not schedule.finished(0.999)
    assert schedule.finished(1)


def test_the_rate_rises_over_the_first_steps() -> None:
    schedule = SlopeSchedule(training(steps=1000, lr=1e-3))
    assert [schedule.rate(step, 0) for step in (0, 49, 99, 500)] == pytest.approx([1e-5, 5e-4, 1e-3, 1e-3])
    short = SlopeSchedule(training(steps=5, lr=1e-3))
    assert short.rate(0, 0) == 1e-3


def test_training_ends_below_lr_stop() -> None:
    schedule = SlopeSchedule(RULE)
    for _ in range(80):
        schedule.record(1.0)
    assert schedule.finished(0.1)


def run(
    scene: Tensor, how: Training, width: int = 8, depth: int = 4, **options: object
) -> tuple[Network, TrainingReport]:
    rng = torch.Generator().manual_seed(0)
    network = Network(3, width, depth, rng=rng)
    examples = Examples(Pyramid(scene[None]), HALF, Analytic(), 255, rng)
    report = train(network, examples, how, CPU, **options)  # type: ignore[arg-type]
    return network, report


def test_training_beats_the_base_and_reports_truly() -> None:
    scene = from_array(skimage.data.chelsea()[100:164, 130:202]).pixels
    network, report = run(scene, training(600, crop_size=48, lr=3e-3), width=16, depth=6)
    assert report.steps == 600
    assert report.stopped_by == "num_epochs"
    assert report.error < 0.95 * report.base_error
    assert [step for step, _, _ in report.curve] == list(range(20, 601, 20))
    son = HALF.degrade(scene[None], torch.Generator())
    base = HALF.base(son, (64, 72))
    with torch.no_grad():
        restored = network(base)
    assert (restored - scene).abs().mean() < 0.95 * (base - scene).abs().mean()


def test_time_ends_training_at_a_low_rate(scene: Tensor) -> None:
    run(scene, training(1))  # the first step loads parts of torch
    seen: list[tuple[float, float]] = []
    start = time.monotonic()
    _, report = run(
        scene,
        training(100_000, crop_size=32),
        seconds_left=lambda _: start + 1.0 - time.monotonic(),
        on_step=lambda progress, _, __, rate: seen.append((progress, rate)),
    )
    assert report.stopped_by == "budget"
    assert report.steps < 100_000
    assert seen[-1][1] < 1e-4


def test_out_of_memory_makes_smaller_batches_then_a_clear_error(scene: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = []
    real = Network.forward

    def forward(self: Network, base: Tensor) -> Tensor:
        pixels.append(base.numel() // 3)
        if pixels[-1] > limit:
            raise torch.OutOfMemoryError("out of memory")
        return real(self, base)

    monkeypatch.setattr(training_module.Network, "forward", forward)
    limit = 24 * 24
    _, report = run(scene, training(3, crop_size=64, batch_size=4))
    assert report.steps == 3
    assert pixels[0] == 4 * 64 * 64
    assert pixels[-1] <= limit
    limit = 0
    with pytest.raises(DeviceError, match="too little memory"):
        run(scene, training(3, crop_size=64))


def test_other_runtime_errors_are_not_taken_for_memory(scene: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Network, base: Tensor) -> Tensor:
        raise RuntimeError("something else")

    monkeypatch.setattr(Network, "forward", forward)
    with pytest.raises(RuntimeError, match="something else"):
        run(scene, training(3))


@pytest.mark.parametrize("depth", [2, 3, 8, 9])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_network_sees_as_far_as_it_says(depth: int, kernel_size: int) -> None:
    network = Network(1, 4, depth, kernel_size)
    assert sum(1 for module in network.modules() if isinstance(module, torch.nn.Conv2d)) == depth
    x = torch.zeros(1, 1, 4 * network.receptive_radius + 8, 8, requires_grad=True)
    middle = 2 * network.receptive_radius + 4
    network(x)[0, 0, middle].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()[:, 0]
    # One position more, as one of the unshuffled picture covers two rows.
    assert middle - network.receptive_radius - UNSHUFFLE < rows.min() <= middle
    assert middle <= rows.max() < middle + network.receptive_radius + UNSHUFFLE


def test_channels_one_at_a_time() -> None:
    network = Network(1, 4, 3)
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(network(x)[:, 1:2], network(x[:, 1:2]), atol=1e-6)


def test_fathers_are_in_range_and_of_the_asked_size(scene: Tensor, rng: torch.Generator) -> None:
    pyramid = Pyramid(scene[None])
    fathers, undamaged = pyramid.fathers(40, 32, rng)
    assert undamaged is None
    assert fathers.shape == (40, 3, 32, 32)
    assert fathers.min() >= 0
    assert fathers.max() <= 1
    again, _ = pyramid.fathers(40, 32, torch.Generator().manual_seed(1))
    assert torch.equal(fathers, again)


def test_fathers_have_no_black_corners(rng: torch.Generator) -> None:
    bright = Pyramid(torch.full((1, 1, 40, 48), 0.8))
    assert (bright.fathers(60, 36, rng)[0] - 0.8).abs().max() < 1e-5


def test_fathers_come_from_every_source(scene: Tensor, rng: torch.Generator) -> None:
    pyramid = Pyramid(torch.zeros(1, 1, 32, 32))
    pyramid.add(torch.ones(1, 1, 64, 64))
    share = sum(pyramid.fathers(1, 32, rng)[0].mean().item() for _ in range(300)) / 300
    assert 0.55 < share < 0.78  # by side: two thirds from the larger one


def test_affine_fathers_do_not_alias(rng: torch.Generator) -> None:
    """The finest grating, which no smaller father can hold, is gone rather than folded into a coarse one."""
    x = ((torch.arange(96)[:, None] + torch.arange(96)) % 2).float()[None, None]
    flat = [father for father in Pyramid(x).fathers(200, 32, rng)[0] if father.std() < 0.12]
    coarse = [
        father
        for father in Pyramid(x).fathers(200, 32, rng)[0]
        if torch.nn.functional.avg_pool2d(father[None], 8).std() > 0.15
    ]
    assert len(flat) > 40
    assert not coarse


def test_damaged_pixels_are_told_wherever_they_are_sampled(rng: torch.Generator) -> None:
    undamaged = torch.ones(1, 1, 96, 96)
    undamaged[..., 30:50, 30:50] = 0
    picture = undamaged.expand(1, 3, 96, 96) * 0.5 + 0.2  # dark where damaged
    fathers, told = Pyramid(picture, undamaged=undamaged).fathers(60, 48, rng)
    assert told is not None
    assert set(told.unique().tolist()) == {0.0, 1.0}
    assert (fathers[:, :1][told == 1] - 0.7).abs().max() < 0.01


def test_fathers_of_a_damaged_picture_are_smaller(rng: torch.Generator) -> None:
    """A grating that a copy of half the size cannot hold is never a father's."""
    x = (torch.arange(96) % 2).float().expand(1, 1, 96, 96)
    fathers, _ = Pyramid(x, largest=0.5).fathers(50, 32, rng)
    assert fathers.std(dim=(1, 2, 3)).max() < 0.12


def test_progress_is_told(scene: Tensor) -> None:
    told: list[float] = []
    run(scene, training(50, crop_size=32), on_step=lambda progress, *_: told.append(progress))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert all(math.isfinite(value) for value in told)

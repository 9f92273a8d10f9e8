"""Training the network on one picture, and the rule that lowers the learning rate."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zssr.degrade import Degradation
from zssr.device import computing, is_out_of_memory
from zssr.errors import DeviceError
from zssr.network import Network
from zssr.pyramid import Pyramid

SMALLEST_CROP = 16
WARM_UP = 100  # steps in which the rate rises to its first value, while Adam's averages fill
BETAS = (0.9, 0.99)  # of Adam: shorter second average than usual, as training is short


@dataclass(frozen=True)
class Training:
    """How to train: most steps, and the settings of the same names.

    lr_stop: training ends when the rate falls below it. lr_decay: factor at each decay.
    Every lr_decay_step steps a line is fitted to the last lr_decay_range errors; the rate is lowered
    when the line falls by less than lr_decay_ratio times the spread around it.
    """

    steps: int
    lr: float
    lr_stop: float
    lr_decay: float
    lr_decay_ratio: float
    lr_decay_range: int
    lr_decay_step: int
    crop_size: int
    batch_size: int


class SlopeSchedule:
    """The learning rate from the recent errors and from how much of the time is used. Numbers only.

    The rate is the lower of two: one that starts at `lr` and is multiplied by `lr_decay` whenever the
    errors have stopped falling (after ZSSR, section 3.4), and half a cosine from `lr` to `lr_stop` over
    the steps or the seconds allowed, so that training that is not finished is brought to an end rather
    than cut off. It rises to its first value over the first steps.
    """

    def __init__(self, training: Training) -> None:
        self._training = training
        self._errors: deque[float] = deque(maxlen=training.lr_decay_range)
        self._recorded = 0
        self._plateau_rate = training.lr
        self._warm_up = min(WARM_UP, max(1, training.steps // 5))

    def record(self, error: float) -> None:
        """Add one step's error and lower the rate if the errors have stopped falling."""
        self._errors.append(error)
        self._recorded += 1
        full = len(self._errors) == self._training.lr_decay_range
        if full and self._recorded % self._training.lr_decay_step == 0:
            fall, spread = fitted_line(list(self._errors))
            if fall <= self._training.lr_decay_ratio * spread:
                self._plateau_rate *= self._training.lr_decay
                self._errors.clear()  # the next line is fitted to errors at the new rate only

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step, counted from 0, at `progress` (0 to 1) of what is allowed."""
        first, last = self._training.lr, self._training.lr_stop
        cosine = last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return min(self._plateau_rate, cosine) * min(1.0, (step + 1) / self._warm_up)

    def finished(self, progress: float) -> bool:
        return progress >= 1 or self._plateau_rate < self._training.lr_stop


def fitted_line(errors: list[float]) -> tuple[float, float]:
    """Least squares through errors at 0, 1, 2, ...: how far the line falls from first to last, and the
    standard deviation around it."""
    count = len(errors)
    middle = (count - 1) / 2
    mean = sum(errors) / count
    slope = sum((i - middle) * (e - mean) for i, e in enumerate(errors)) / sum((i - middle) ** 2 for i in range(count))
    spread = math.sqrt(sum((e - mean - slope * (i - middle)) ** 2 for i, e in enumerate(errors)) / count)
    return -slope * (count - 1), spread


@dataclass
class Report:
    """What happened in training: the curve has (step, error, learning rate) about every 20 steps.

    Errors are mean absolute differences in [0, 1] grey values; base_error is the base's own on the
    same fathers.
    """

    steps: int = 0
    seconds: float = 0.0
    error: float = 0.0
    base_error: float = 0.0
    stopped_by: str = ""
    curve: list[tuple[int, float, float]] = field(default_factory=list)


# Errors are read from the device in groups, so that a GPU need not wait for the host at every step.
READ_EVERY = 10
CURVE_EVERY = 20
# Called after every group of steps with (progress 0 to 1, smoothed error, that of the base, learning rate).
OnStep = Callable[[float, float, float, float], None]


def train(
    network: Network,
    pyramid: Pyramid,
    degradation: Degradation,
    training: Training,
    rng: torch.Generator,
    peak: int,
    device: torch.device,
    precision: torch.dtype,
    on_step: OnStep | None = None,
    seconds_left: Callable[[float], float] | None = None,
) -> Report:
    """Train in place on (base of son, father) pairs with L1 loss and Adam.

    rng: on the CPU. peak: the input's largest sample value, 255 or 65535.
    seconds_left: given the mean seconds of a step so far, how many seconds training may still take; training is
    then not reproducible, as it depends on the machine's speed.
    Raises DeviceError when the device's memory does not suffice even for the smallest batch.
    """
    report = Report()
    schedule = SlopeSchedule(training)
    optimizer = torch.optim.Adam(network.parameters(), training.lr, BETAS, fused=device.type != "mps")
    side, batch_size = training.crop_size, training.batch_size
    start = time.monotonic()
    progress = time_used = 0.0  # shares of what is allowed
    waiting: list[Tensor] = []
    while not schedule.finished(progress):
        rate = schedule.rate(report.steps, progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        try:
            father, weight = pyramid.fathers(batch_size, side, rng)
            father = father.to(device)
            size = (father.shape[-2], father.shape[-1])
            drawn = degradation.drawn(size, rng)
            # Rounded as the input is, so that rounding errors are not taken for detail and sharpened.
            son = drawn.degrade(father, rng).clamp_(0, 1).mul_(peak).round_().div_(peak)
            base = drawn.base(son, size)
            told = torch.cat([base, drawn.hints(son, size)], 1)
            with computing(device, precision):
                result = network(told)
            weight = weight_of(weight, drawn.damaged(size), father)
            loss = ((result.float() - father).abs() * weight).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if batch_size == 1 and side <= SMALLEST_CROP:
                raise DeviceError(f"{device}: too little memory to train even on a {side}x{side} crop") from None
            if batch_size > 1:
                batch_size //= 2
            else:
                side = max(SMALLEST_CROP, side // 2)
            continue
        waiting.append(torch.stack([loss.detach(), ((base - father).abs() * weight).mean()]))
        report.steps += 1
        progress = max(report.steps / training.steps, time_used)
        if len(waiting) < READ_EVERY and progress < 1:
            continue
        for number, (result_error, base_error) in enumerate(torch.stack(waiting).tolist()):
            # Relative to the base, so that easy and hard crops count alike.
            schedule.record(result_error / max(base_error, 1e-6))
            memory = 1 / min(report.steps - len(waiting) + number + 1, 50)  # a mean over the last 50 or so
            report.error += (result_error - report.error) * memory
            report.base_error += (base_error - report.base_error) * memory
        waiting.clear()
        report.seconds = time.monotonic() - start
        if seconds_left is not None:
            allowed = report.seconds + seconds_left(report.seconds / report.steps)
            time_used = report.seconds / max(allowed, 1e-9)
            progress = max(progress, time_used)
        if report.steps % CURVE_EVERY == 0:
            report.curve.append((report.steps, round(report.error, 6), rate))
        if on_step is not None:
            on_step(min(progress, 1.0), report.error, report.base_error, rate)
    report.stopped_by = "lr_stop" if progress < 1 else "num_epochs" if report.steps >= training.steps else "budget"
    return report


def weight_of(known: Tensor | None, damaged: Tensor | None, father: Tensor) -> Tensor:
    """(N or 1, 1, H, W) or (1,): of each pixel's error; only what is known, and was damaged, teaches."""
    weight = father.new_ones(1) if known is None else known.to(father)
    if damaged is not None:
        weight = weight * damaged.to(father)
    return weight / weight.mean().clamp(min=0.01)

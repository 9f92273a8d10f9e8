"""Training the network on one picture, and the rule that lowers the learning rate."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zssr.device import Compute, is_out_of_memory
from zssr.errors import DeviceError
from zssr.examples import Example, Examples
from zssr.network import Network

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
class TrainingReport:
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

    @property
    def diverged(self) -> bool:
        """Whether the network does worse than the base it was to improve, as with far too high a learning rate."""
        return not self.error < 1.5 * self.base_error  # NaN is caught too

    def record(self, step: int, error: float, base_error: float) -> None:
        """Add one step's errors to means over the last 50 or so."""
        memory = 1 / min(step, 50)
        self.error += (error - self.error) * memory
        self.base_error += (base_error - self.base_error) * memory


# Errors are read from the device in groups, so that a GPU need not wait for the host at every step.
READ_EVERY = 10
CURVE_EVERY = 20
# Called after every group of steps with (progress 0 to 1, smoothed error, that of the base, learning rate).
OnTrainingStep = Callable[[float, float, float, float], None]
# Given the mean seconds of a step so far, how many seconds training may still take.
SecondsLeft = Callable[[float], float]


def train(
    network: Network,
    examples: Examples,
    training: Training,
    compute: Compute,
    on_step: OnTrainingStep | None = None,
    seconds_left: SecondsLeft | None = None,
) -> TrainingReport:
    """Train in place on pairs of a picture with itself, with L1 loss and Adam.

    With seconds_left training is not reproducible, as it depends on the machine's speed.
    Raises DeviceError when the device's memory does not suffice even for the smallest batch.
    """
    report = TrainingReport()
    schedule = SlopeSchedule(training)
    optimizer = torch.optim.Adam(network.parameters(), training.lr, BETAS, fused=compute.device.type != "mps")
    batch = _Batch(training.batch_size, training.crop_size, compute.device)
    start = time.monotonic()
    progress = time_used = 0.0  # shares of what is allowed
    waiting: list[Tensor] = []
    while not schedule.finished(progress):
        rate = schedule.rate(report.steps, progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        try:
            example = examples.draw(batch.count, batch.side, compute.device)
            loss = _loss(network, example, compute)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            batch.halve()
            continue
        waiting.append(torch.stack([loss.detach(), _error(example.base, example)]))
        report.steps += 1
        progress = max(report.steps / training.steps, time_used)
        if len(waiting) < READ_EVERY and progress < 1:
            continue
        for number, (own_error, base_error) in enumerate(torch.stack(waiting).tolist()):
            # Relative to the base, so that easy and hard crops count alike.
            schedule.record(own_error / max(base_error, 1e-6))
            report.record(report.steps - len(waiting) + number + 1, own_error, base_error)
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


def _loss(network: Network, example: Example, compute: Compute) -> Tensor:
    with compute.autocast():
        result = network(example.network_input)
    return _error(result.float(), example)


def _error(x: Tensor, example: Example) -> Tensor:
    """Mean absolute error where it counts."""
    return ((x - example.father).abs() * example.weight).mean()


@dataclass
class _Batch:
    """How many crops of which side are learned from at once."""

    count: int
    side: int
    device: torch.device

    def halve(self) -> None:
        """For less memory. Raises DeviceError where no smaller batch makes sense."""
        if self.count == 1 and self.side <= SMALLEST_CROP:
            raise DeviceError(
                f"{self.device}: too little memory to train even on a {self.side}x{self.side} crop"
            ) from None
        if self.count > 1:
            self.count //= 2
        else:
            self.side = max(SMALLEST_CROP, self.side // 2)

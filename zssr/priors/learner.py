"""A network in training: its weights, the optimizer, the average of the weights that is kept, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zssr.device import Compute, repeatable
from zssr.priors.batches import Batches
from zssr.priors.muon import Muon
from zssr.priors.recipes import Recipe
from zssr.priors.samples import Samples

WARM_UP = 200
EMA_DECAY = 0.999
LATE = 0.9  # share of the steps after which the recipe's last loss is used
GREY_LEVEL = 1 / 255
EAGER_STEPS = 3  # before a step is recorded, so that libraries have chosen their kernels


def rate(recipe: Recipe, step: int) -> float:
    """The learning rate: a rise over the first steps, then half a cosine to a hundredth."""
    rise = min(1.0, (step + 1) / min(WARM_UP, max(1, recipe.steps // 5)))
    return recipe.lr * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


@dataclass
class State:
    """Where a training is: steps done, seconds spent, validation curve as (step, PSNR)."""

    steps: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)


class Learner:
    """Learns from one batch after the other.

    Batches that are made on a CUDA device are learned from by recorded steps: the hundreds of kernels of a small
    network take longer to start one by one than to run.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, compute: Compute, samples: type[Samples] | type[Batches]
    ) -> None:
        device = compute.device
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.recipe, self.compute, self.state = recipe, compute, State()
        on_device = issubclass(samples, Batches)
        self.optimizer: torch.optim.Optimizer = (
            Muon(network.parameters(), recipe.lr)
            if on_device
            else torch.optim.AdamW(network.parameters(), recipe.lr, (0.9, 0.99), weight_decay=recipe.weight_decay)
        )
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.records = on_device and device.type == "cuda"
        self._share = torch.zeros((), device=device)  # of the newest weights in the average
        self._channels = torch.tensor(samples.weights, device=device)[:, None, None]
        self._recorded: dict[tuple[object, ...], _Recorded] = {}

    @classmethod
    def new(
        cls, network: nn.Module, recipe: Recipe, compute: Compute, samples: type[Samples] | type[Batches],
        checkpoint: dict[str, Any] | None,
    ) -> Learner:  # fmt: skip
        """From a checkpoint, if there is one."""
        learner = cls(network, recipe, compute, samples)
        if checkpoint is not None:
            network.load_state_dict(checkpoint["network"])
            learner.optimizer.load_state_dict(checkpoint["optimizer"])
            learner.average, learner.state = checkpoint["average"], State(**checkpoint["state"])
        return learner

    def checkpoint(self, fingerprint: str) -> dict[str, Any]:
        """All that `new` goes on from."""
        return {
            "fingerprint": fingerprint, "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "average": self.average, "state": asdict(self.state), "steps": self.recipe.steps,
        }  # fmt: skip

    def learn(self, batch: Sequence[Tensor]) -> Tensor:
        """One step; the loss. batch: what the network sees, and last what it should give."""
        for group in self.optimizer.param_groups:
            new = rate(self.recipe, self.state.steps)
            group["lr"] = group["lr"].fill_(new) if isinstance(group["lr"], Tensor) else new
        late = self.recipe.last_loss is not None and self.state.steps >= LATE * self.recipe.steps
        loss = (self.recipe.last_loss if late else self.recipe.loss) or self.recipe.loss
        self.state.steps += 1
        self._share.fill_(1 - min(EMA_DECAY, (1 + self.state.steps) / (10 + self.state.steps)))
        # A number for the whole batch stays where it is, as reading it back would wait for the device.
        inputs = [x.to(self.compute.device, non_blocking=True) if x.ndim > 1 else x for x in batch]
        if not self.records:
            with repeatable(self.compute.device):
                return self._step(loss, inputs)
        kind = (loss, *(x.shape if x.ndim > 1 else x.item() for x in inputs))
        if kind not in self._recorded:
            self._recorded[kind] = _Recorded(self, loss)
        return self._recorded[kind](inputs)

    def _step(self, loss: str, inputs: Sequence[Tensor]) -> Tensor:
        """Of the weights and of their average; the loss. inputs: on the device."""
        *seen, whole = inputs
        self.optimizer.zero_grad()
        with self.compute.autocast():
            restored = self.network(*seen)
        error = _loss(loss, restored.float(), whole, seen[0], self._channels)
        error.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            values = self.network.state_dict()
            names = [name for name, value in values.items() if value.is_floating_point()]
            changes = torch._foreach_sub([values[name] for name in names], [self.average[name] for name in names])
            torch._foreach_mul_(changes, self._share)
            torch._foreach_add_([self.average[name] for name in names], changes)
            for name in values.keys() - names:
                self.average[name].copy_(values[name])
        return error.detach()


class _Recorded:
    """A learner's steps with one loss as a CUDA graph, for batches that are all of one shape."""

    def __init__(self, learner: Learner, loss: str) -> None:
        self._learner, self._loss, self._steps = learner, loss, 0
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream()
        self._inputs: list[Tensor] = []

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        self._steps += 1
        torch.backends.cudnn.benchmark = True  # the network and the shapes never change
        if self._steps <= EAGER_STEPS:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = self._learner._step(self._loss, inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if not self._inputs:
            self._inputs = [x.clone() for x in inputs]
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._result = self._learner._step(self._loss, self._inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._result.clone()


def _loss(kind: str, restored: Tensor, whole: Tensor, seen: Tensor, channels: Tensor) -> Tensor:
    """Of a batch; seen: the damaged pictures or their first estimates, and maybe hints behind them. See `Recipe`.
    channels: (C or 1, 1, 1), the weight of each one's errors."""
    power = 2 if kind.endswith("l2") else 1
    errors = ((restored - whole).abs().pow(power) * channels).mean((1, 2, 3))
    if not kind.startswith("relative"):
        return errors.mean()
    before = (seen[:, : whole.shape[1]] - whole).abs().pow(power).mean((1, 2, 3))
    return (errors / before.clamp_min((GREY_LEVEL / 4) ** power)).mean()

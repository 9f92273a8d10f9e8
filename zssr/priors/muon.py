"""An optimizer for small convolutional networks that are trained for a short time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.99)
EPSILON = 1e-8
# Of the quintic Newton-Schulz iteration, which brings all singular values near one (Jordan et al., 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
SIZE = 0.2  # of an update's elements, as Adam's are (Liu et al., 2025)
NARROW = 32  # layers with fewer inputs or outputs are left to Adam


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each kernel, as a matrix of outputs by inputs, is made orthogonal; Adam for the rest.

    After Jordan et al. (2024), with updates as large as Adam's (Liu et al., 2025), so that the same rates fit both.
    The first and last layers, of few inputs or outputs, are left to Adam, as are offsets. The rate of each group is a
    tensor, so that a recorded step sees it change. torch.optim.Muon takes matrices alone.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        kernels: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in parameters:
            wide = parameter.ndim == 4 and min(parameter.shape[:2]) >= NARROW
            (kernels if wide else others).append(parameter)
        groups = [
            {
                "params": group, "orthogonal": group is kernels, "lr": torch.tensor(lr, device=group[0].device),
                "steps": torch.zeros((), device=group[0].device),
            }
            for group in (kernels, others) if group
        ]  # fmt: skip
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            group["steps"].add_(1)
            if not parameters:
                continue
            if group["orthogonal"]:
                self._orthogonal(parameters, group["lr"])
            else:
                self._adam(parameters, group["lr"], group["steps"])

    def _orthogonal(self, parameters: list[Tensor], lr: Tensor) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            by_shape[parameter.shape].append(parameter)
        for shape, alike in by_shape.items():
            gradients = [_gradient(parameter) for parameter in alike]
            momenta = [self._state(parameter, "momentum") for parameter in alike]
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
            updates = orthogonalised(torch.stack([one.flatten(1) for one in ahead])).to(alike[0].dtype)
            updates *= -lr * (SIZE * max(updates.shape[-2:]) ** 0.5)
            torch._foreach_add_(alike, [one.view(shape) for one in updates])

    def _adam(self, parameters: list[Tensor], lr: Tensor, steps: Tensor) -> None:
        gradients = [_gradient(parameter) for parameter in parameters]
        first = [self._state(parameter, "first") for parameter in parameters]
        second = [self._state(parameter, "second") for parameter in parameters]
        torch._foreach_lerp_(first, gradients, 1 - ADAM_BETAS[0])
        torch._foreach_mul_(second, ADAM_BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1 - ADAM_BETAS[1])
        roots = torch._foreach_sqrt(second)
        torch._foreach_mul_(roots, (1 - ADAM_BETAS[1] ** steps).rsqrt())
        torch._foreach_add_(roots, EPSILON)
        updates = list(torch._foreach_div(first, roots))
        torch._foreach_mul_(updates, -lr / (1 - ADAM_BETAS[0] ** steps))
        torch._foreach_add_(parameters, updates)

    def _state(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        return state[name]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.contiguous()


def orthogonalised(matrices: Tensor) -> Tensor:
    """(N, m, n) with their singular values near one."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).contiguous()

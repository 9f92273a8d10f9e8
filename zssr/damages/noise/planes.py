"""Brightness and differences of colour, in which noise is filtered and measured."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

RGB = 3


@functools.lru_cache(maxsize=8)
def planes_of(channels: tuple[float, float, float] | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """(3, 3) and its inverse: brightness, red against blue, green against both, whose noise is not correlated.

    channels: standard deviation of the noise in each, which is not correlated. Where they are alike (None) the matrix
    is orthonormal. Where not, what brightness shares with the noise of the differences, which hold little else, is
    taken off it.
    """
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    rows /= rows.norm(dim=1, keepdim=True)
    if channels is None:
        return rows.to(device), rows.T.to(device)
    noise = rows.double() * torch.tensor(channels, dtype=torch.float64).clamp(min=1e-3)
    whitening = torch.linalg.cholesky(torch.linalg.inv(noise @ noise.T)).T
    matrix = whitening / whitening.diagonal()[:, None] @ rows.double()
    return matrix.float().to(device), torch.linalg.inv(matrix).float().to(device)

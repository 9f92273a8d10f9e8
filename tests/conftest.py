"""Pictures made for the tests."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import Tensor

from zssr.image import Image

# The pictures are tiny: threads would wait for each other longer than they compute. Here and in all that tests start,
# as their number decides the order of sums, and so the last bits.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def scene() -> Tensor:
    """(3, 64, 72) in [0, 1]: smooth colours, edges at many angles, a fine grating; no symmetry."""
    return make_scene(64, 72)


@pytest.fixture(scope="session")
def picture(scene: Tensor) -> Image:
    return Image((scene * 255).round() / 255)


def make_scene(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height) / 64, torch.arange(width) / 64, indexing="ij")
    smooth = 0.5 + 0.25 * torch.sin(5 * x + 2 * y) * torch.cos(3 * y)
    disc = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05).float()
    bar = ((x * 0.7 + y) % 0.5 < 0.12).float()
    grating = 0.1 * torch.sin(40 * x + 15 * y)
    return torch.stack(
        [smooth + 0.3 * disc - 0.2 * bar, 0.8 * smooth + 0.2 * bar + grating, 1 - smooth - 0.2 * disc]
    ).clamp(0, 1)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.fixture
def samples() -> np.random.Generator:
    return np.random.default_rng(0)

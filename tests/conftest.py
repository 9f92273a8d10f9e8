"""Pictures and settings for the tests."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from zssr.files import load
from zssr.image import Image

# The pictures are tiny: threads would wait for each other longer than they compute. Here and in all that tests start,
# as their number decides the order of sums, and so the last bits.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

PICTURES = Path(__file__).parents[1] / "examples"
# Training that takes a second, the same to the bit on any processor of a kind.
QUICK: dict[str, Any] = {"num_epochs": 20, "model_width": 8, "model_depth": 4, "crop_size": 32, "precision": "fp32"}
# The same for the command line.
QUICK_FLAGS = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="session")
def scene() -> Tensor:
    """(3, 64, 72) in [0, 1]: smooth colours, edges at many angles, a fine grating; no symmetry."""
    return make_scene(64, 72)


@pytest.fixture(scope="session")
def picture(scene: Tensor) -> Image:
    return Image((scene * 255).round() / 255)


@pytest.fixture(scope="session")
def cat() -> Image:
    """A photograph of 225x150."""
    return load(PICTURES / "cat.png")


def make_scene(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height) / 64, torch.arange(width) / 64, indexing="ij")
    smooth = 0.5 + 0.25 * torch.sin(5 * x + 2 * y) * torch.cos(3 * y)
    disc = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05).float()
    bar = ((x * 0.7 + y) % 0.5 < 0.12).float()
    grating = 0.1 * torch.sin(40 * x + 15 * y)
    return torch.stack(
        [smooth + 0.3 * disc - 0.2 * bar, 0.8 * smooth + 0.2 * bar + grating, 1 - smooth - 0.2 * disc]
    ).clamp(0, 1)


def photo(name: str) -> Tensor:
    """A photograph of the examples and its mirror images: larger, and with no other statistics."""
    pixels = load(PICTURES / name).pixels[:3]
    row = torch.cat([pixels, pixels.flip(2)], dim=2)
    return torch.cat([row, row.flip(1)], dim=1)


def rounded(x: Tensor) -> Tensor:
    """As a file of 8 bits holds it."""
    return x.clamp(0, 1).mul(255).round().div(255)


def compressed(picture: Image | PIL.Image.Image, quality: int, **options: Any) -> bytes:
    """A JPEG file. options: of Pillow's encoder."""
    stream = io.BytesIO()
    pillow = picture.pillow() if isinstance(picture, Image) else picture
    pillow.save(stream, "JPEG", quality=quality, **options)
    return stream.getvalue()


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.fixture
def samples() -> np.random.Generator:
    return np.random.default_rng(0)

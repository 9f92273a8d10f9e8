"""Noise is measured as it was added, and is not seen where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zssr.diagnose import noise
from zssr.files import load

EXAMPLES = Path(__file__).parents[1] / "examples"


def photo(name: str) -> Tensor:
    """The picture and its mirror images: larger, and with no other statistics."""
    pixels = load(EXAMPLES / name).pixels[:3]
    row = torch.cat([pixels, pixels.flip(2)], dim=2)
    return torch.cat([row, row.flip(1)], dim=1)


def stored(pixels: Tensor) -> Tensor:
    return (pixels.clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("sigma", [5, 15, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_strength(sigma: float, channels: int, rng: torch.Generator) -> None:
    clean = photo("cat.png")[:channels]
    found = noise.find(stored(clean + sigma / 255 * torch.randn(clean.shape, generator=rng)))
    assert found is not None
    assert found.sigma == pytest.approx(sigma, rel=0.1)
    assert found.slope == 0
    assert found.offset == pytest.approx(found.sigma**2)
    assert 0.5 < found.confidence <= 1


def test_growth_with_the_brightness(rng: torch.Generator) -> None:
    clean = photo("coffee.png")
    variance = (25 + 2 * 255 * clean) / 255**2
    found = noise.find(stored(clean + variance.sqrt() * torch.randn(clean.shape, generator=rng)))
    assert found is not None
    assert found.slope == pytest.approx(2, rel=0.15)
    assert found.sigma == pytest.approx(255 * float(variance.mean().sqrt()), rel=0.1)


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "astronaut.png"])
def test_clean(name: str) -> None:
    assert noise.find(photo(name)) is None


def test_drawn() -> None:
    ramp = stored(torch.linspace(0, 1, 200).expand(3, 150, 200))
    letters = torch.ones(1, 160, 160)
    letters[:, 20:140:16, 20:140:3] = 0
    for pixels in (ramp, letters, torch.zeros(1, 1, 1), torch.ones(3, 64, 64)):
        assert noise.find(pixels) is None

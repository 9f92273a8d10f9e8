"""Noise is measured as it was added, and is not seen where there is none."""

from __future__ import annotations

import pytest
import torch
from conftest import photo, rounded

from zssr.damages.noise.find import find_noise


@pytest.mark.parametrize("sigma", [5, 15, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_strength(sigma: float, channels: int, rng: torch.Generator) -> None:
    clean = photo("cat.png")[:channels]
    found = find_noise(rounded(clean + sigma / 255 * torch.randn(clean.shape, generator=rng)))
    assert found is not None
    assert found.sigma == pytest.approx(sigma, rel=0.1)
    assert found.slope == 0
    assert found.offset == pytest.approx(found.sigma**2)
    assert 0.5 < found.confidence <= 1


def test_growth_with_the_brightness(rng: torch.Generator) -> None:
    clean = photo("coffee.png")
    variance = (25 + 2 * 255 * clean) / 255**2
    found = find_noise(rounded(clean + variance.sqrt() * torch.randn(clean.shape, generator=rng)))
    assert found is not None
    assert found.slope == pytest.approx(2, rel=0.15)
    assert found.sigma == pytest.approx(255 * float(variance.mean().sqrt()), rel=0.1)


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "astronaut.png"])
def test_clean(name: str) -> None:
    assert find_noise(photo(name)) is None


def test_drawn() -> None:
    ramp = rounded(torch.linspace(0, 1, 200).expand(3, 150, 200))
    letters = torch.ones(1, 160, 160)
    letters[:, 20:140:16, 20:140:3] = 0
    for pixels in (ramp, letters, torch.zeros(1, 1, 1), torch.ones(3, 64, 64)):
        assert find_noise(pixels) is None

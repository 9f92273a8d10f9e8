"""Noise is measured as it was added, and is not seen where there is none."""

from __future__ import annotations

import pytest
import torch
from conftest import photo, rounded

from zssr.damages import Noise, from_json
from zssr.damages.noise.find import find_noise
from zssr.diagnose import diagnose
from zssr.errors import SettingsError
from zssr.image import Image


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


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "astronaut.png"])
def test_channels_that_differ(name: str, rng: torch.Generator) -> None:
    clean = photo(name)
    true = Noise(1.0, channels=(30.0, 20.0, 35.0))
    (finding,) = diagnose(Image(rounded(true.degrade(clean[None], rng)[0])), {"noise"})
    noise = finding.damage
    assert isinstance(noise, Noise)
    assert noise.channels is not None
    assert [share * noise.sigma for share in noise.channels] == pytest.approx([30, 20, 35], rel=0.1)
    assert "in red, green and blue" in finding.words
    assert from_json(noise.to_json()) == noise
    assert from_json({"name": "noise", "sigma": 3.0, "slope": 0.0}) == Noise(3.0)  # of an earlier version
    with pytest.raises(SettingsError, match="three numbers"):
        Noise(1.0, channels=(1.0, 2.0, float("nan")))
    (finding,) = diagnose(Image(rounded(Noise(25.0).degrade(clean[None], rng)[0])), {"noise"})
    assert isinstance(finding.damage, Noise)
    assert finding.damage.channels is None


def test_the_filter_uses_what_the_channels_have(rng: torch.Generator) -> None:
    clean = photo("cat.png")[None, :, :150, :200]
    true = Noise(1.0, channels=(40.0, 10.0, 40.0))
    y = rounded(true.degrade(clean, rng))
    errors = [(noise.base(y, (150, 200)) - clean).square().mean() for noise in (true, Noise((3300 / 3) ** 0.5))]
    assert errors[0] < 0.97 * errors[1]
    assert torch.equal(true.strengths(clean[:1])[0, :, 0, 0] * 255, torch.tensor([40.0, 10.0, 40.0]))
    grey = clean[:, :1]
    assert torch.equal(true.base(grey, (150, 200)), Noise(1.0).base(grey, (150, 200)))

"""Noise is measured as it was added, and is not seen where there is none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from conftest import compressed, photo, rounded
from torch import Tensor

from zssr.damages import Noise, from_json
from zssr.damages.noise.find import find_noise
from zssr.damages.noise.find_spectrum import find_spectrum
from zssr.damages.noise.planes import planes_of
from zssr.damages.noise.spectrum import Spectrum, drawn, halved
from zssr.dct_shrinkage import dct_matrix
from zssr.diagnose import diagnose
from zssr.errors import SettingsError
from zssr.files import load
from zssr.image import Image
from zssr.repairs import repairs_for
from zssr.settings import make

FALLING: Spectrum = (tuple(30.0 / (1 + (u * u + v * v) / 6) for u in range(8) for v in range(8)),)


def coarse(shape: torch.Size, sigma: float, rng: torch.Generator) -> Tensor:
    """White noise, its neighbours averaged as in demosaicing."""
    taps = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    white = torch.randn(shape[0], 1, shape[1] + 2, shape[2] + 2, generator=rng)
    return functional.conv2d(white, taps[None, None])[:, 0] * (sigma / 255)


def measured(planes: Tensor) -> Tensor:
    """(planes, 64) standard deviations of the coefficients of patches of (planes, H, W)."""
    patches = planes.unfold(1, 8, 4).unfold(2, 8, 4)
    coefficients = dct_matrix() @ patches @ dct_matrix().T
    return coefficients.square().mean((1, 2)).sqrt().flatten(1)


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


def test_noise_is_drawn_with_its_spectrum(rng: torch.Generator) -> None:
    noise = drawn(FALLING, torch.Size((1, 1, 400, 400)), rng, torch.float32)[0]
    for planes, spectrum in ((noise, FALLING), (functional.avg_pool2d(noise, 2), halved(FALLING))):
        ratios = measured(planes)[0] / torch.tensor(spectrum[0])
        assert ratios[1:].median() == pytest.approx(1, abs=0.02)
        assert ((ratios[1:] - 1).abs() < 0.15).all()
    white = halved(((2.0,) * 64,))
    assert torch.allclose(torch.tensor(white), torch.ones(1, 64), atol=1e-4)


@pytest.mark.parametrize("name", ["cat.png", "coffee.png"])
def test_noise_that_is_not_white(name: str, rng: torch.Generator) -> None:
    clean = photo(name)
    noise = coarse(clean.shape, 30, rng)
    (finding,) = diagnose(Image(rounded(clean + noise)), {"noise"})
    assert finding.sure
    assert "correlated between pixels" in finding.words
    found = finding.damage
    assert isinstance(found, Noise)
    assert found.spectrum is not None
    assert found.sigma == pytest.approx(255 * float(noise.std()), rel=0.15)
    true = measured(torch.einsum("kc,chw->khw", planes_of(None, noise.device)[0], noise * 255))
    ratios = (found.sigma * torch.tensor(found.spectrum) / true)[true > 0.2 * true.max()]
    assert ratios.median() == pytest.approx(1, abs=0.1)
    assert ratios.log().abs().mean() < 0.15
    assert from_json(found.to_json()) == found
    again = found.degrade(torch.full((1, *clean.shape), 0.5), rng)[0] - 0.5
    assert float(again.std() / noise.std()) == pytest.approx(1, rel=0.15)
    y, size = rounded(clean + noise)[None], (clean.shape[1], clean.shape[2])
    errors = [float((part.base(y, size) - clean).square().mean()) for part in (found, Noise(found.sigma))]
    assert errors[0] < 0.7 * errors[1]
    fine, twice = (float(found.strengths(y, halvings).mean()) for halvings in (0, 1))
    assert 1.4 * fine < twice < 2 * fine


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "astronaut.png"])
def test_neither_texture_nor_white_noise_has_a_spectrum(name: str, rng: torch.Generator) -> None:
    clean = photo(name)
    for pixels in (
        clean,
        load(compressed(Image(clean), 90)).pixels,
        clean + 0.1 * torch.randn(clean.shape, generator=rng),
    ):
        assert find_spectrum(rounded(pixels)) is None


def test_growth_of_noise_that_is_not_white(rng: torch.Generator) -> None:
    clean = torch.linspace(0.15, 0.85, 400).expand(3, 200, 400)
    found = find_spectrum(rounded(clean + coarse(clean.shape, 30, rng) * (0.2 + 2 * clean).sqrt()))
    assert found is not None
    assert found.slope * 255 / (found.slope * 255 + found.offset) == pytest.approx(2 / 2.2, rel=0.2)


@pytest.mark.parametrize(("quality", "kinds"), [(85, ["noise", "jpeg"]), (50, ["jpeg"])])
def test_noise_that_was_compressed(quality: int, kinds: list[str], rng: torch.Generator) -> None:
    clean = photo("cat.png")
    image = load(compressed(Image(rounded(Noise(20.0).degrade(clean[None], rng)[0])), quality))
    repairs = repairs_for(image, make(), enlarges=False)
    assert [part.kind for part in repairs.parts] == kinds


def test_a_spectrum_that_is_none() -> None:
    for plane in ((1.0,) * 63, (-1.0,) * 64, (float("nan"),) * 64):
        with pytest.raises(SettingsError, match="64 numbers"):
            Noise(1.0, spectrum=(plane,))

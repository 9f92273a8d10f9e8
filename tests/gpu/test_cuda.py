"""The CUDA path against the CPU's. Skipped where there is no such device."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import make_scene
from zssr import Image, restore
from zssr.damages import Blur, Chain, Degradation, Downscale, Jpeg, Missing, Mosaic, Noise, Region
from zssr.damages.jpeg.tables import standard_tables
from zssr.device import Compute
from zssr.errors import DeviceError
from zssr.priors import load_priors
from zssr.priors.batches import drawn
from zssr.priors.cards import untrained
from zssr.priors.learner import Learner
from zssr.priors.pretrain import SAMPLES
from zssr.priors.recipes import recipe_for

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIZE = (96, 112)
FEW_STEPS: dict[str, Any] = {"num_epochs": 150, "crop_size": 48, "precision": "fp32", "seed": 1}
PARTS = Region.rectangle(SIZE, 16, 16, 48, 64)
DAMAGES: dict[str, Degradation] = {
    "smaller": Downscale((Fraction(1, 2), Fraction(1, 2))),
    "jpeg": Jpeg(standard_tables(15)),
    "noise": Noise(20.0),
    "growing noise": Noise(4.0, 1.0),
    "blur": Blur("gaussian:1.5"),
    "mosaic": Mosaic(PARTS, (8, 8), (0, 0)),
    "blurred part": Blur("gaussian:4", PARTS),
    "missing": Missing(Region.rectangle(SIZE, 30, 30, 5, 60)),
}


@pytest.fixture(scope="module")
def whole() -> Tensor:
    """(1, 3, 96, 112) in [0, 1]."""
    return (make_scene(*SIZE) * 255).round()[None] / 255


def damaged(whole: Tensor, damage: Degradation) -> Tensor:
    y = damage.degrade(whole, torch.Generator().manual_seed(0))
    return (y * 255).round().clamp(0, 255) / 255


def psnr(x: Tensor, y: Tensor) -> float:
    return float(-10 * (x.cpu() - y.cpu()).square().mean().clamp_min(1e-12).log10())


@pytest.mark.parametrize("name", DAMAGES)
def test_first_estimate_and_projection_are_those_of_the_cpu(name: str, whole: Tensor) -> None:
    chain = Chain((DAMAGES[name],))
    y = damaged(whole, DAMAGES[name])
    results = []
    for device in (CPU, CUDA):
        estimate = chain.base(y.to(device), SIZE)
        assert estimate.device.type == device.type
        results.append((estimate, chain.project(estimate.clamp(0, 1), y.to(device)), chain.hints(y.to(device), SIZE)))
    for what, on_cpu, on_cuda in zip(("estimate", "projected", "hints"), *results, strict=True):
        if on_cpu.numel():
            assert (on_cpu - on_cuda.cpu()).abs().max() < 1 / 255, what
            assert (on_cpu - on_cuda.cpu()).abs().mean() < 0.02 / 255, what


@pytest.mark.parametrize(
    ("name", "options"),
    [("smaller", {"scale": 2, "kernel": "bicubic"}), ("jpeg", {"jpeg": 15}), ("noise", {"noise": 20.0})],
)
def test_restoration_is_as_good_as_on_the_cpu(name: str, options: dict[str, Any], whole: Tensor) -> None:
    picture = Image(damaged(whole, DAMAGES[name])[0])
    options = {**FEW_STEPS, "scale": 1, "repair": "none", **options}
    on_cpu, on_cuda = (restore(picture, **options, device=device).image.pixels[None] for device in ("cpu", "cuda"))
    assert abs(psnr(on_cpu, whole) - psnr(on_cuda, whole)) < 0.3
    assert psnr(on_cpu, on_cuda) > 35


def test_a_result_can_be_had_again(whole: Tensor) -> None:
    picture = Image(damaged(whole, DAMAGES["smaller"])[0])
    first, again = (restore(picture, scale=2, device="cuda", **FEW_STEPS).image.pixels for _ in range(2))
    assert torch.equal(first, again)


def test_bf16_is_as_good(whole: Tensor) -> None:
    picture = Image(damaged(whole, DAMAGES["smaller"])[0])
    options = {**FEW_STEPS, "scale": 2, "device": "cuda"}
    full, short = (restore(picture, **{**options, "precision": name}).image.pixels[None] for name in ("fp32", "bf16"))
    assert abs(psnr(full, whole) - psnr(short, whole)) < 0.3


def test_too_little_memory_is_one_line(whole: Tensor) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0005)
    try:
        with pytest.raises(DeviceError, match="memory does not suffice"):
            restore(Image(whole[0].repeat(1, 8, 8)), scale=4, device="cuda", **FEW_STEPS)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize(("prior", "name"), [("jpegnet", "jpeg"), ("blockcnn", "jpeg"), ("unet", "mosaic")])
def test_priors_are_those_of_the_cpu(prior: str, name: str, whole: Tensor) -> None:
    y = damaged(whole, DAMAGES[name])
    results = []
    for device in (CPU, CUDA):
        first = load_priors(prior).first
        assert first is not None
        results.append(first(Chain((DAMAGES[name],)), y.to(device), SIZE))
    assert (results[0] - results[1].cpu()).abs().max() < 1 / 255


@pytest.mark.parametrize("family", ["sr", "jpegunet", "denoise"])
def test_a_recorded_step_is_an_eager_one(family: str) -> None:
    recipe = recipe_for(family, steps=100, batch=2, crop=96)
    samples: Any = SAMPLES[family]
    batches = samples([drawn(number) for number in range(3)], recipe, CUDA)
    learner, eager = (Learner(untrained(family, 0), recipe, Compute(CUDA, torch.float32), samples) for _ in range(2))
    eager.records = False
    losses, eager_losses = ([float(one.learn(batches[i])) for i in range(8)] for one in (learner, eager))
    assert losses == pytest.approx(eager_losses, rel=2e-2)
    assert len(set(losses)) == len(losses)
    for key, value in learner.average.items():
        assert (value - eager.average[key]).abs().max() < 2e-3, key

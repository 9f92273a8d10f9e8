"""Priors for whole pictures: JPEG compression of all components, noise, enlarging; and several of them together."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

import zssr
from tests.conftest import QUICK, make_scene, photo
from zssr.cli import main
from zssr.damages import Chain, Degradation, Downscale, Jpeg, Noise
from zssr.damages.jpeg.tables import standard_tables
from zssr.device import Compute
from zssr.errors import PriorError
from zssr.image import Image
from zssr.priors import load_priors
from zssr.priors.batches import Batches, drawn
from zssr.priors.cards import Card, save_weights, untrained
from zssr.priors.estimators import EnlargingPrior, JpegPrior, NoisePrior, enlarging, jpeg, noise
from zssr.priors.learner import Learner
from zssr.priors.muon import Muon, orthogonalised
from zssr.priors.pretrain import SAMPLES
from zssr.priors.recipes import recipe_for

SIZE = (76, 90)
PRIORS: dict[str, Any] = {"jpegunet": JpegPrior, "denoise": NoisePrior, "sr": EnlargingPrior}
ROOMS = {"jpegunet": jpeg, "denoise": noise, "sr": enlarging}
DAMAGES: dict[str, list[Degradation]] = {
    "jpegunet": [
        Jpeg(standard_tables(20)), Jpeg(standard_tables(20), "4:4:4"), Jpeg(standard_tables(20), "4:2:0", (3, 5)),
        Jpeg(standard_tables(20), "4:2:2"),
    ],
    "denoise": [Noise(20.0), Noise(4.0, 1.0)],
    "sr": [Downscale((Fraction(1, f), Fraction(1, f))) for f in (2, 3, 4)]
    + [Downscale((Fraction(2, 3), Fraction(1, 2))), Downscale((Fraction(1, 5), Fraction(1, 5)))],
}  # fmt: skip
CASES = [(family, damage) for family, damages in DAMAGES.items() for damage in damages]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of each family that change a picture little, and of one that does not change it."""
    folder = tmp_path_factory.mktemp("weights")
    for family in PRIORS:
        network = untrained(family, 0)
        card = Card(
            family, {}, "none", "none", {"training": [], "validation": [], "test": []}, 1, 1,
            {"before": 1.0, "after": 1.0}, "", "",
        )  # fmt: skip
        save_weights(folder / f"{family}.safetensors", network.state_dict(), card)
        still = {
            name: torch.zeros_like(value) if "tail" in name else value for name, value in network.state_dict().items()
        }
        save_weights(folder / f"{family}-still.safetensors", still, card)
    return folder


@pytest.fixture(scope="module")
def whole() -> Tensor:
    return make_scene(*SIZE)[None]


def damaged(whole: Tensor, damage: Degradation) -> Tensor:
    return damage.degrade(whole, torch.Generator().manual_seed(0)).mul(255).round().clamp(0, 255) / 255


@pytest.mark.parametrize(("family", "damage"), CASES)
def test_without_a_change_it_is_the_damaged_picture(
    family: str, damage: Degradation, folder: Path, whole: Tensor
) -> None:
    prior = PRIORS[family](folder / f"{family}-still.safetensors", "a")
    y = damaged(whole, damage)
    result = prior(Chain((damage,)), y, SIZE)
    if damage.scale != (1, 1):
        # By 5, and by different factors, on the way of a whole factor.
        plain = damage.plain(y, SIZE) if damage.scale[0] in (Fraction(1, 2), Fraction(1, 3), Fraction(1, 4)) else None
    else:
        plain = y
    assert result.shape == whole.shape
    if plain is not None:
        assert (result - plain).abs().mean() < 0.6 / 255


@pytest.mark.parametrize(("family", "damage"), CASES)
def test_tiles_turns_and_grey(
    family: str, damage: Degradation, folder: Path, whole: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = PRIORS[family](folder / f"{family}.safetensors", "a")
    y = damaged(whole, damage)
    one = prior(Chain((damage,)), y, SIZE)
    monkeypatch.setattr(ROOMS[family], "TILE", 32)
    assert (one - prior(Chain((damage,)), y, SIZE)).abs().max() < 1e-4
    turned = prior.ensembled()(Chain((damage,)), y, SIZE)
    assert 1e-5 < (turned - one).abs().mean() < 0.05
    grey = Jpeg((standard_tables(20)[0],), "grey") if isinstance(damage, Jpeg) else damage
    assert prior(Chain((grey,)), damaged(whole[:, :1], grey), SIZE).shape == (1, 1, *SIZE)


def test_a_restored_jpeg_picture_agrees_with_its_file(folder: Path, whole: Tensor) -> None:
    """Whatever the network says, luma stays near its steps."""
    damage = Jpeg(standard_tables(10))
    y = damaged(whole, damage)
    result = JpegPrior(folder / "jpegunet.safetensors", "a")(Chain((damage,)), y, SIZE)
    assert damage.agreement(result, y)["coefficients"] > 0.9


def test_the_strength_of_noise_is_told(folder: Path, whole: Tensor) -> None:
    prior = NoisePrior(folder / "denoise.safetensors", "a")
    results = [prior(Chain((Noise(sigma),)), whole, SIZE) for sigma in (5.0, 50.0)]
    assert not torch.equal(*results)
    growing = Noise(3.0, 2.0).strengths(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)) * 255
    assert growing.flatten().tolist() == pytest.approx([3, (9 + 2 * 255) ** 0.5])


def test_several_together(folder: Path, whole: Tensor) -> None:
    names = [str(folder / f"{family}.safetensors") for family in ("denoise", "sr")]
    priors = load_priors("+".join(names))
    noisy, smaller = Noise(10.0), Downscale((Fraction(1, 2), Fraction(1, 2)))
    y = damaged(damaged(whole, smaller), noisy)
    first, second = (PRIORS[family](Path(name), "a") for family, name in zip(("denoise", "sr"), names, strict=True))
    half = smaller.out_size(SIZE)
    expected = second.undo(smaller, first.undo(noisy, y, half), SIZE)
    assert torch.equal(priors.estimator(Chain((smaller, noisy)), y, SIZE), expected)
    with pytest.raises(PriorError, match="for the same thing"):
        load_priors(f"jpegnet+{folder / 'jpegunet.safetensors'}")
    alone, notes = priors.fitting(Chain((noisy,)), False)
    assert [prior.name for prior in alone.used()] == ["denoise.safetensors"]
    assert "keep its size" in notes[0]


def test_auto_takes_what_fits(whole: Tensor) -> None:
    compressed = Image(damaged(whole, Jpeg(standard_tables(10)))[0])
    result = zssr.restore(compressed, scale=1, jpeg=10, prior="auto", **{**QUICK, "num_epochs": 0})
    (used,) = result.plan.priors.used()
    assert used.name in ("jpegnet", "jpegunet")
    without = zssr.restore(compressed, scale=1, jpeg=10, **{**QUICK, "num_epochs": 0})
    errors = [(one.image.pixels - whole[0]).abs().mean() for one in (result, without)]
    assert errors[0] < errors[1]


def test_priors_for_a_picture(tmp_path: Path, whole: Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    zssr.save(Image(damaged(whole, Jpeg(standard_tables(10)))[0]), path)
    assert main(["priors", "--for", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("--prior ")
    for words in (["--for", str(path), "x.safetensors"], ["--scale", "2"]):
        with pytest.raises(SystemExit):
            main(["priors", *words])
    assert main(["priors", "--for", str(path), "--scale", "no"]) == 2
    assert "scale 'no'" in capsys.readouterr().err


@pytest.mark.parametrize("family", PRIORS)
def test_batches_come_from_their_number_and_teach(family: str) -> None:
    samples: Any = SAMPLES[family]
    assert issubclass(samples, Batches)
    recipe = recipe_for(family, steps=40, batch=2, crop=48)
    batches = samples([drawn(number) for number in range(2)], recipe, torch.device("cpu"))
    again = samples([drawn(number) for number in range(2)], recipe, torch.device("cpu"))
    for number in (11, 3):
        for one, other in zip(batches[number], again[number], strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(batches[0][0], batches[1][0])
    learner = Learner(untrained(family, 0), recipe, Compute(torch.device("cpu"), torch.float32), samples)
    losses = [float(learner.learn(batches[0])) for _ in range(12)]
    assert losses[-1] < losses[0]


def test_muon_makes_updates_orthogonal() -> None:
    matrices = torch.randn(3, 32, 90, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrices))
    assert values.min() > 0.4
    assert values.max() < 1.4
    tall = orthogonalised(matrices.mT)
    assert torch.linalg.svdvals(tall).max() < 1.4
    # Small layers are Adam's: its first step is as large as the rate, whatever the gradient.
    parameter = torch.nn.Parameter(torch.zeros(4))
    optimizer = Muon([parameter], 0.1)
    parameter.grad = torch.tensor([1.0, -5.0, 0.01, 2.0])
    optimizer.step()
    assert parameter.tolist() == pytest.approx([-0.1, 0.1, -0.1, -0.1], rel=1e-3)


def test_auto_on_the_command_line(tmp_path: Path, whole: Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "a.jpg", tmp_path / "b.png"
    PIL.Image.fromarray((whole[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path, quality=10)
    assert main([str(path), "--scale", "1", "--prior", "auto", "--num-epochs", "0", "-o", str(out)]) == 0
    assert "prior jpeg" in "".join(capsys.readouterr())


def test_auto_leaves_out_what_does_not_fit(whole: Tensor) -> None:
    """It never ends the run: nobody named a prior."""
    grey = Image(whole[0, :1])
    for options in ({"model_depth": 4}, {"model_width": 8}, {"prior_strict": True, "num_epochs": 2}):
        settings = {"scale": 2, "kernel": "bicubic", "prior": "auto", **QUICK, **options}
        assert zssr.restore(grey, **settings).image.size == (152, 180)


def test_factors_together_are_steps_of_their_own_shapes() -> None:
    recipe = recipe_for("sr", steps=40, batch=1, crop=48, factors="2,3")
    batches = SAMPLES["sr"]([drawn(0)], recipe, torch.device("cpu"))  # type: ignore[call-arg]
    assert {int(batches[number][1]) for number in (0, 8)} == {2, 3}


def test_crops_as_large_as_asked_for() -> None:
    recipe = recipe_for("denoise", steps=40, batch=1, crop=576)
    batches = SAMPLES["denoise"]([drawn(0, 600)], recipe, torch.device("cpu"))  # type: ignore[call-arg]
    assert batches[0][0].shape == (1, 3, 576, 576)


def test_denoise_that_comes_with_zssr(whole: Tensor) -> None:
    """Is better than the filter without other pictures, and auto takes it."""
    size = (150, 200)
    clean = photo("coffee.png")[None, :, : size[0], : size[1]]
    noise = Noise(25.0)
    y = damaged(clean, noise)
    prior = load_priors("denoise").estimator
    errors = [(x - clean).square().mean() for x in (prior(Chain((noise,)), y, size), noise.thorough_base(y, size))]
    assert errors[0] < 0.9 * errors[1]
    plan = zssr.make_plan(Image(y[0]), zssr.Settings(scale=1, noise=25, prior="auto"))
    assert [one.name for one in plan.priors.used()] == ["denoise"]

"""Training on other people's pictures, on a tiny scale."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

from zssr.cli import main
from zssr.errors import OutputError, PictureError, PriorError, SettingsError, ZssrError
from zssr.priors.cards import FAMILIES, load_weights, save_weights
from zssr.priors.checkpoint import TrainingFiles
from zssr.priors.families.sr import Enlarger
from zssr.priors.learner import rate
from zssr.priors.pictures import find, load, make_smaller, pack, split
from zssr.priors.pretrain import pretrain
from zssr.priors.recipes import RECIPES, recipe_for
from zssr.priors.samples import Holes, Pairs, Planes

TINY = recipe_for("srcnn", steps=12, batch=2, crop=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of random strokes."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.random((6, 7, 3)).repeat(12, 0).repeat(12, 1) * 255
        PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def curve(out: Path) -> str:
    return out.with_suffix(".csv").read_text()


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.role == "components"])
def test_families_keep_the_size_and_see_no_further_than_they_say(family: str) -> None:
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        network = FAMILIES[family].build().eval()
        for parameter in network.parameters():  # as if trained
            parameter.data += 0.02 * torch.randn_like(parameter)
        x = torch.rand(1, 1, 128, 128)
    table = torch.full((1, 64), 20.0)
    with torch.inference_mode():
        one = network(x, table)
        assert one.shape == x.shape
        x[..., 64, 64] = 1 - x[..., 64, 64]
        changed = (network(x, table) != one)[0, 0].nonzero()
    assert len(changed) > 1
    assert (changed - 64).abs().max() <= FAMILIES[family].reach


def test_a_killed_training_goes_on_to_the_same_result(data: Path, tmp_path: Path) -> None:
    recipe = recipe_for("srcnn", steps=400, batch=2, crop=16)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    pretrain("srcnn", data, whole, recipe, save_every=20, precision="fp32", device="cpu")
    process = subprocess.Popen([
        sys.executable, "-m", "zssr", "pretrain", "srcnn", "--data", str(data), "--out", str(broken), "--steps", "400",
        "--batch", "2", "--crop", "16", "--save-every", "20", "--precision", "fp32", "--device", "cpu", "-q",
    ])  # fmt: skip
    while not broken.with_suffix(".checkpoint").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.3))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = broken.with_suffix(".checkpoint").exists()  # unless it had ended before
    told: list[int] = []
    pretrain(
        "srcnn", data, broken, recipe, save_every=20, precision="fp32", device="cpu", overwrite=True,
        on_step=lambda step, loss: told.append(step),
    )  # fmt: skip
    assert told[0] >= 40 or not kept
    assert curve(broken) == curve(whole)
    assert len(curve(whole).splitlines()) == 21
    weights = [safetensors.torch.load_file(path) for path in (whole, broken)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not broken.with_suffix(".checkpoint").exists()


def test_learns(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    card = pretrain("srcnn", data, out, recipe_for("srcnn", steps=300, batch=4, crop=32), workers=0, device="cpu")
    assert card.validation["after"] > card.validation["before"] + 0.1
    network, again = load_weights(out)
    assert again == card
    assert not network.training
    assert set(card.pictures) == {"training", "validation", "test"}


def test_split_is_by_picture_and_does_not_move() -> None:
    names = [f"folder/{number}.png" for number in range(100)]
    parts = split(names)
    assert {part: len(some) for part, some in parts.items()} == {"test": 5, "validation": 5, "training": 90}
    assert len(set().union(*map(set, parts.values()))) == 100
    assert split(names[::-1]) == parts
    twice = [f"{folder}/{number}.png" for number in range(40) for folder in "xy"]
    parts = split(twice)
    assert split(twice[::-1]) == parts
    bases = [{name.rpartition("/")[2] for name in some} for some in parts.values()]
    assert sum(map(len, bases)) == 40  # the same name is in one part only
    with pytest.raises(PictureError, match="different names"):
        split([f"{number}/a.png" for number in range(9)])


def test_samples_come_from_their_number(data: Path) -> None:
    pictures = load(find(data), list(find(data)), 16)
    first, again = (Planes(pictures, recipe_for("jpegnet", steps=25, batch=2, crop=16)) for _ in range(2))
    for number in (0, 7, 23):
        assert all(torch.equal(a, b) for a, b in zip(first[number], again[number], strict=True))
        damaged, table, whole = first[number]
        assert damaged.shape == whole.shape == (1, 16, 16)
        assert table.shape == (64,)
        assert not torch.equal(damaged, whole)
    assert not torch.equal(first[0][2], first[1][2])


def test_pairs_of_a_batch_are_of_one_kind(data: Path) -> None:
    recipe = recipe_for("meta", steps=24, batch=2, crop=48)
    samples = Pairs(load(find(data), list(find(data)), 48), recipe)
    kinds = [(samples[number][0].shape[0], samples[number][1].item()) for number in range(48)]
    assert kinds[::2] == kinds[1::2]
    assert set(kinds) == {(8, 1), (3, 2), (3, 3), (3, 4)}
    for number in (0, 2, 5, 9):
        told, factor, father = samples[number]
        assert father.shape == (3, 48, 48)
        assert 0 < (told[:3] - father).abs().mean() < 0.1
        assert all(torch.equal(a, b) for a, b in zip(samples[number], (told, factor, father), strict=True))


def test_detailed_crops(data: Path) -> None:
    flat = np.full((3, 64, 300), 128, np.uint8)
    flat[:, :, 200:] = np.random.default_rng(0).integers(0, 256, (3, 64, 100))
    samples = Pairs([flat], recipe_for("meta", steps=100, batch=1, crop=48))
    rng = np.random.default_rng(1)
    crops = [samples._detailed(flat, 48, rng) for _ in range(60)]
    assert all(crop.shape == (1, 3, 48, 48) and crop.min() >= 0 and crop.max() <= 255 for crop in crops)
    # About three of five places show only grey; all four tries seldom do.
    assert sum(crop.std().item() > 1 for crop in crops) > 45
    noise = [crop.diff(dim=-1).abs().mean().item() for crop in crops if crop.std() > 1]
    assert min(noise) < 0.5 * max(noise)  # smaller ones are smoother
    exact = flat[:, :48, 252:]
    assert samples._detailed(exact, 48, rng).sum().item() == exact.sum()


def test_holes(data: Path) -> None:
    samples = Holes(load(find(data), list(find(data)), 64), recipe_for("unet", steps=20, batch=2, crop=64))
    for number in range(40):
        told, father = samples[number]
        region = told[3] > 0
        assert told.shape == (6, 64, 64)
        assert 0 < region.float().mean() < 1
        assert (told[:3] - father)[:, ~region].abs().max() < 0.003  # rounded
        assert (told[:3] - father)[:, region].abs().mean() > 0.003


def test_shards_give_the_same_training(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(data), "--out", str(tmp_path / "shards"), "--shard-MB", "0.03"]) == 0
    assert len(list((tmp_path / "shards").iterdir())) > 1
    for family, crop in (("srcnn", 16), ("unet", 64)):
        recipe = recipe_for(family, steps=2, batch=2, crop=crop)
        for folder, name in ((data, "a"), (tmp_path / "shards", "b")):
            pretrain(family, folder, tmp_path / f"{family}{name}.safetensors", recipe, workers=1, device="cpu")
        first, second = (load_weights(tmp_path / f"{family}{name}.safetensors") for name in "ab")
        assert first[1].pictures == second[1].pictures
        states = [network.state_dict() for network, _ in (first, second)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(OutputError, match="is not empty"):
        pack(data, tmp_path / "shards", 1)
    with pytest.raises(PictureError, match="packed already"):
        pack(tmp_path / "shards", tmp_path / "again", 1)
    shutil.copytree(data, tmp_path / "broken")
    (tmp_path / "broken" / "9.png").write_bytes(b"nothing")
    with pytest.raises(PictureError, match=r"9\.png"):
        pack(tmp_path / "broken", tmp_path / "again", 0.03)
    assert not list((tmp_path / "again").iterdir())
    for path in (tmp_path / "shards").iterdir():
        assert path.stat().st_mode & 0o777 == (data / "0.png").stat().st_mode & 0o777
    (tmp_path / "shards" / "pictures-00000.safetensors").write_bytes(b"nothing")
    with pytest.raises(PictureError, match="cannot be read"):
        find(tmp_path / "shards")


def test_going_on_from_weights(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    pretrain("srcnn", data, first, recipe_for("srcnn", steps=40, batch=2, crop=16), workers=0, device="cpu")
    recipe = recipe_for("srcnn", steps=1, batch=2, crop=16, lr=1e-6)
    card = pretrain("srcnn", data, second, recipe, workers=0, device="cpu", start=first)
    assert card.start is not None
    assert card.start["steps"] == 40
    weights = [safetensors.torch.load_file(path) for path in (first, second)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])
    with pytest.raises(PriorError, match="is of the family srcnn, not carcnn"):
        pretrain("carcnn", data, tmp_path / "c.safetensors", recipe_for("carcnn", crop=16), start=first)
    network, card = load_weights(first)
    kept_apart = {"training": [f"elsewhere/{card.pictures['test'][0]}"], "validation": [], "test": []}
    changes: list[dict[str, Any]] = [
        {"pictures": kept_apart}, {"start": {"steps": 1, "further_pictures": kept_apart["training"]}},
    ]  # fmt: skip
    for change in changes:
        save_weights(first, network.state_dict(), dataclasses.replace(card, **change))
        with pytest.raises(PriorError, match="now kept apart"):
            pretrain("srcnn", data, tmp_path / "c.safetensors", recipe, start=first)


def test_one_factor_alone(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    changes: dict[str, Any] = {"steps": 2, "batch": 1, "crop": 24, "lr": 1e-3}
    pretrain("meta", data, first, recipe_for("meta", factors="1,2,3", **changes), workers=0, device="cpu")
    card = pretrain("meta", data, second, recipe_for("meta", factors="2", **changes), workers=0, start=first)
    assert card.recipe["factors"] == [2]
    weights = [safetensors.torch.load_file(path) for path in (first, second)]
    for name in weights[0]:
        assert torch.equal(weights[0][name], weights[1][name]) == (not name.startswith("doubling")), name
    for factors in ("5", "", "2,x"):
        with pytest.raises(SettingsError, match="give some of 1,2,3,4"):
            recipe_for("meta", factors=factors)
    with pytest.raises(SettingsError, match="loss 'l3': must be one of l1, l2,"):
        recipe_for("unet", loss="l3")
    with pytest.raises(SettingsError, match="for meta and sr only"):
        recipe_for("unet", factors="2")


def test_rate_rises_and_falls() -> None:
    recipe = RECIPES["jpegnet"]
    rates = [rate(recipe, step) for step in (0, 100, 200, recipe.steps // 2, recipe.steps - 1)]
    assert rates[0] < rates[1] < rates[2] > rates[3] > rates[4] > 0


def test_bad_data_and_files(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.safetensors"
    with pytest.raises(PictureError, match="is no folder"):
        pretrain("srcnn", tmp_path / "nothing", out, TINY)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="holds no pictures"):
        pretrain("srcnn", tmp_path / "empty", out, TINY)
    with pytest.raises(PictureError, match="smaller than a crop of 96"):
        pretrain("srcnn", data, out, dataclasses.replace(TINY, crop=96))
    with pytest.raises(SettingsError, match="did you mean srcnn"):
        recipe_for("srcn")
    with pytest.raises(SettingsError, match="multiple of 8"):
        recipe_for("srcnn", crop=30)
    with pytest.raises(SettingsError, match="first and the last"):
        recipe_for("srcnn", qualities="40,10")
    pretrain("srcnn", data, out, TINY, workers=0)
    before = out.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        pretrain("srcnn", data, out, TINY)
    assert out.read_bytes() == before
    assert main(["pretrain", "srcnn", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "b.safetensors")]) == 1
    assert main(["pretrain", "nonsense", "--data", str(data), "--out", str(tmp_path / "b.safetensors")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("a.pt", {}, OutputError, "ends with .safetensors"),
        ("a.checkpoint", {}, OutputError, "ends with .safetensors"),
        ("missing/a.safetensors", {}, OutputError, "cannot be written there"),
        ("a.safetensors", {"save_every": 0}, SettingsError, "save_every"),
        ("a.safetensors", {"workers": -1}, SettingsError, "workers"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(
    data: Path, tmp_path: Path, name: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        pretrain("srcnn", data, tmp_path / name, TINY, **options)
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_lost(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    log = out.with_suffix(".csv")
    log.write_text("mine")
    with pytest.raises(OutputError, match=r"a\.csv: exists"):
        pretrain("srcnn", data, out, TINY)
    assert log.read_text() == "mine"
    log.unlink()
    for text in (b"", b"nonsense"):
        out.with_suffix(".checkpoint").write_bytes(text)
        with pytest.raises(OutputError, match="cannot be read as a checkpoint"):
            pretrain("srcnn", data, out, TINY)


def test_diverging_is_said(data: Path, tmp_path: Path) -> None:
    recipe = recipe_for("srcnn", steps=60, batch=1, crop=16, lr=1e30)
    with pytest.raises(ZssrError, match="diverged"):
        pretrain("srcnn", data, tmp_path / "a.safetensors", recipe, workers=0, save_every=3)


def test_random_state_is_untouched(data: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    pretrain("srcnn", data, tmp_path / "a.safetensors", TINY)
    load_weights(tmp_path / "a.safetensors")
    assert torch.equal(before, torch.get_rng_state())


def test_a_checkpoint_of_another_training_is_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"

    class StopError(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        raise StopError

    with pytest.raises(StopError):
        pretrain("srcnn", data, out, recipe_for("srcnn", steps=40, batch=2, crop=16), save_every=5, on_step=stop)
    assert out.with_suffix(".checkpoint").exists()
    with pytest.raises(OutputError, match="another training"):
        pretrain("srcnn", data, out, TINY)


def test_weights_that_are_none(data: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    with pytest.raises(PriorError, match="cannot be read"):
        load_weights(text)
    bare = tmp_path / "bare.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(3)}, bare)
    with pytest.raises(PriorError, match="holds no card"):
        load_weights(bare)
    out = tmp_path / "a.safetensors"
    pretrain("srcnn", data, out, TINY, workers=0)
    with safetensors.safe_open(out, "pt") as file:
        card = json.loads(file.metadata()["card"])
    held = safetensors.torch.load_file(out)
    changes: list[dict[str, Any]] = [
        {"start": "abc"}, {"start": {"steps": 1, "further_pictures": 5}}, {"start": {"steps": "1"}},
        {"family": ["srcnn"]},
        {"validation": None}, {"pictures": None}, {"pictures": {"training": 5}},
        {"pictures": {"training": []}}, {"validation": {"before": 1, "after": "2"}},
    ]  # fmt: skip
    for change in changes:
        safetensors.torch.save_file(held, out, {"card": json.dumps(card | change)})
        with pytest.raises(PriorError, match="holds no card"):
            load_weights(out)
    safetensors.torch.save_file(held, out, {"card": json.dumps(card | {"family": "carcnn"})})
    with pytest.raises(PriorError, match="do not fit"):
        load_weights(out)


def test_made_smaller(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    assert main(["pack", str(data), "--out", str(out), "--smaller", "2", "-q"]) == 0
    before, after = find(data), find(out)
    assert list(before) == list(after)
    assert split(list(before)) == split(list(after))
    sizes = [PIL.Image.open(found["0.png"]).size for found in (before, after)]
    assert sizes == [(84, 72), (42, 36)]
    with pytest.raises(OutputError, match="not empty"):
        make_smaller(data, out, 2)
    assert main(["pack", str(data), "--out", str(tmp_path / "x"), "--smaller", "1"]) == 1
    twice = tmp_path / "twice"
    for part in "ab":
        (twice / part).mkdir(parents=True)
        shutil.copy(before["0.png"], twice / part / "0.png")
    with pytest.raises(PictureError, match=r"two pictures are named 0\.png"):
        make_smaller(twice, tmp_path / "y", 2)
    PIL.Image.open(before["0.png"]).save(twice / "a" / "1.jpg")
    (twice / "b" / "0.png").unlink()
    with pytest.raises(PictureError, match="must be PNG or WebP"):
        make_smaller(twice, tmp_path / "y", 2)
    assert not (tmp_path / "y").exists()


def test_as_many_steps_as_take_so_long(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.safetensors"
    words = ["pretrain", "denoise", "--data", str(data), "--out", str(out), "--batch", "1", "--crop", "16", "-q"]
    assert main([*words, "--minutes", "0.1", "--device", "cpu", "--precision", "fp32"]) == 0
    assert 2 <= load_weights(out)[1].steps < 5000
    assert main([*words, "--minutes", "1", "--steps", "2", "--overwrite"]) == 2
    assert "no --steps" in capsys.readouterr().err
    assert TrainingFiles(out).planned_steps() is None


@pytest.mark.parametrize("factors", ["1", "2,5"])
def test_factors_of_sr(factors: str) -> None:
    with pytest.raises(SettingsError, match="factors"):
        recipe_for("sr", factors=factors)


def test_a_factor_begins_like_another() -> None:
    network = FAMILIES["sr"].build()
    assert isinstance(network, Enlarger)
    network.begin(3, 2)
    x = torch.rand(1, 48, 5, 5)
    two, three = network.factors["2"], network.factors["3"]
    assert torch.equal(two.blocks[0](x), three.blocks[0](x))
    assert three.tail.weight.shape[0] == 27

"""Networks trained on other pictures, as the first estimate."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import zssr
from zssr import priors
from zssr.cli import main
from zssr.degrade import Jpeg
from zssr.degrade.jpeg import standard_tables
from zssr.errors import PriorError
from zssr.image import Image
from zssr.priors import FAMILIES, Card, Prior, load_prior, save_weights

QUICK: dict[str, Any] = {"num_epochs": 15, "model_width": 8, "model_depth": 4, "crop_size": 32, "precision": "fp32"}
CARD = Card("srcnn", {}, "nothing", "CC0", {"training": []}, 1, 1, {"before": 30.0, "after": 31.0}, "", "")


def weights(path: Path, family: str, noise: float) -> Path:
    """Untrained ones, with noise added."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        network = FAMILIES[family].build()
        for parameter in network.parameters():
            parameter.data += noise * torch.randn_like(parameter)
    card = Card(**{**CARD.__dict__, "family": family})
    save_weights(path, network.state_dict(), card)
    return path


@pytest.fixture(scope="module")
def cat() -> Image:
    return zssr.load(Path(__file__).parent.parent / "examples" / "cat.png")


@pytest.fixture
def compressed(cat: Image) -> bytes:
    stream = io.BytesIO()
    cat.pillow().crop((0, 0, 96, 80)).save(stream, "JPEG", quality=20)
    return stream.getvalue()


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.role == "components"])
def test_tiles_do_not_show(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = Prior(weights(tmp_path / "a.safetensors", family, 0.02), "a")
    x = torch.rand(1, 1, 200, 168, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor(standard_tables(20)[0]).reshape(8, 8).float()
    whole = prior(x, steps)
    monkeypatch.setattr(priors, "TILE", 64)
    assert (whole - prior(x, steps)).abs().max() < 1e-4
    assert (whole - x).abs().max() > 1e-3


def test_the_prior_takes_the_place_of_the_filter(cat: Image) -> None:
    seen = []

    def prior(planes: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        seen.append((tuple(planes.shape), float(steps[0, 0])))
        return planes + 0.02

    tables = standard_tables(20)
    jpeg = Jpeg(tables, prior=prior)
    x = cat.pixels[None, :, :80, :96]
    y = jpeg.degrade(x)
    base = jpeg.base(y, (80, 96))
    assert seen == [((1, 1, 80, 96), tables[0][0])] + 2 * [((1, 1, 40, 48), tables[1][0])]
    assert (base - y).mean() > 0.005
    assert jpeg.drawn((32, 32), torch.Generator()).prior is prior
    assert jpeg.same_coefficients(base, y) > 0.9


def test_a_worse_prior_is_not_used(compressed: bytes, tmp_path: Path) -> None:
    path = weights(tmp_path / "bad.safetensors", "srcnn", 0.1)
    plain = zssr.restore(compressed, **QUICK)
    result = zssr.restore(compressed, prior=str(path), **QUICK)
    assert any("not used" in note for note in result.notes)
    assert torch.equal(result.image.pixels, plain.image.pixels)
    with pytest.raises(PriorError, match="grey levels of error"):
        zssr.restore(compressed, prior=str(path), prior_strict=True, **QUICK)


def test_a_better_prior_is_used(compressed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(tmp_path / "good.safetensors", "srcnn", 0)
    filtered = Jpeg.base

    def worse(self: Jpeg, y: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return filtered(self, y, size) + (0 if self.prior else 0.2)

    monkeypatch.setattr(Jpeg, "base", worse)
    result = zssr.restore(compressed, prior=str(path), **QUICK)
    assert any(note.startswith("prior") and "not used" not in note for note in result.notes)
    assert result.agreement.coefficients is not None
    assert result.agreement.coefficients > 0.9


def test_without_compression_a_prior_is_left_out(cat: Image, tmp_path: Path) -> None:
    path = weights(tmp_path / "a.safetensors", "srcnn", 0)
    result = zssr.restore(cat, prior=str(path), **QUICK)
    assert any("there is none to undo" in note for note in result.notes)


def test_priors_side_by_side(cat: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").mkdir()
    zssr.save(Image(cat.pixels[:, :48, :56].contiguous()), tmp_path / "pictures" / "a.png")
    path = weights(tmp_path / "mine.safetensors", "srcnn", 0)
    command = ["evaluate", str(tmp_path / "pictures"), "--damage", "jpeg:10", "--num-epochs", "0", "-q"]
    assert main([*command, "--prior", f"none,{path}", "--json", str(tmp_path / "a.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [["none", "0"], ["mine.safetensors", "8129"]]
    assert set(json.loads((tmp_path / "a.json").read_text())) == {"none", str(path)}
    assert main([*command, "--prior", f"none,{path}", "--save", str(tmp_path)]) == 2


def test_unknown_priors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PriorError, match="neither a name nor"):
        load_prior("nonsense")
    with pytest.raises(PriorError, match="cannot be read"):
        load_prior(str(tmp_path / "nothing.safetensors"))
    assert main(["priors", str(tmp_path / "nothing.safetensors")]) == 1
    assert main(["priors", str(weights(tmp_path / "a.safetensors", "jpegnet", 0))]) == 0
    assert "told its table" in capsys.readouterr().out

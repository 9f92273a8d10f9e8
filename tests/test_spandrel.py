"""Networks of other projects as the first estimate."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as functional
from conftest import QUICK_FLAGS
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DnCNN import DnCNN
from torch import nn

import zssr
from zssr.cli import main
from zssr.damages import Chain, Downscale, Jpeg
from zssr.damages.jpeg.tables import standard_tables
from zssr.errors import PriorError
from zssr.image import Image
from zssr.priors import load_prior, spandrel
from zssr.resample import fit, ratio


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Path:
    """A small one for factor 2, trained for a moment."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        network = Compact(num_feat=16, num_conv=2, upscale=2)
    whole = cat.pixels[None, :, :128, :128]
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(150):
        loss = functional.l1_loss(network(fit(whole, (64, 64))), whole)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("other") / "compact.safetensors"
    safetensors.torch.save_file(network.state_dict(), path, {"license": "MIT"})
    return path


def test_through_the_command_line(
    compact: Path, cat: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zssr.save(Image(cat.pixels[:, 40:100, 50:120].contiguous()), tmp_path / "a.png")
    for scale, size in (("2", (120, 140)), ("3", (180, 210))):
        out = tmp_path / f"{scale}.png"
        command = [str(tmp_path / "a.png"), "-o", str(out), "--scale", scale, "--prior", str(compact), *QUICK_FLAGS]
        assert main(command) == 0
        assert zssr.load(out).size == size
        assert "prior compact.safetensors" in "".join(capsys.readouterr())
    assert main(["priors", str(compact)]) == 0
    text = capsys.readouterr().out
    assert "Compact" in text
    assert "licence: MIT" in text
    assert "SHA-256" in text


def test_tiles_do_not_show(compact: Path, cat: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = spandrel.SpandrelPrior(compact)
    y = cat.pixels[None, :, :140, :130]
    chain = Chain((Downscale(ratio((280, 260), (140, 130))),))
    whole = prior(chain, y, (280, 260))
    monkeypatch.setattr(spandrel, "TILE", 64)
    assert torch.allclose(prior(chain, y, (280, 260)), whole, atol=1e-5)
    assert whole.shape == (1, 3, 280, 260)
    # It shows the same scene, nothing moved.
    plain = fit(y, (280, 260))
    assert (whole - plain).abs().mean() < 0.05
    assert prior(chain, y[:, :1], (210, 195)).shape == (1, 1, 210, 195)


def test_one_that_keeps_the_size(cat: Image, tmp_path: Path) -> None:
    network = DnCNN(in_nc=1, out_nc=1, nc=8, nb=17, act_mode="R")
    torch.save(network.state_dict(), tmp_path / "dncnn.pth")
    prior = spandrel.SpandrelPrior(tmp_path / "dncnn.pth")
    y = cat.pixels[None, :, :40, :48]
    chain = Chain((Downscale(ratio((80, 96), (40, 48))), Jpeg(standard_tables(30))))
    assert prior(chain, y, (80, 96)).shape == (1, 3, 80, 96)
    assert prior.scale == 1


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_what_is_not_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripted, pickled, bare = tmp_path / "a.pt", tmp_path / "b.pth", tmp_path / "c.safetensors"
    with pytest.warns(FutureWarning):  # still what such files are
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), scripted)
    disguised = [tmp_path / "f.pt", tmp_path / "g.pth"]
    for path in disguised:  # torch finds a file in an archive whatever the case of its name
        with zipfile.ZipFile(scripted) as archive, zipfile.ZipFile(path, "w") as other:
            for name in archive.namelist():
                other.writestr(name.replace("/code/", "/CODE/"), archive.read(name))
    with pickled.open("wb") as file:
        pickle.dump({"weights": _Code()}, file)
    safetensors.torch.save_file({"strange": torch.zeros(2)}, bare)
    safetensors.torch.save_file(
        {f"body.{number}.weight": torch.zeros(3) for number in (0, 1)}, tmp_path / "h.safetensors"
    )
    (tmp_path / "d.pth").write_bytes(b"nothing")
    torch.save({"weights": torch.zeros(9)}, tmp_path / "i.pth")
    (tmp_path / "i.pth").write_bytes((tmp_path / "i.pth").read_bytes()[:-40])
    torch.save(torch.zeros(9), tmp_path / "j.pth")
    torch.save({"weights": torch.zeros(9)}, tmp_path / "k.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "k.pth").write_bytes((tmp_path / "k.pth").read_bytes()[:18])
    torch.save({"weights": _Code()}, tmp_path / "e.pth")
    for path, words in (
        *((path, "holds code") for path in (scripted, *disguised)),
        (tmp_path / "h.safetensors", "cannot be read"),
        (tmp_path / "i.pth", "cannot be read"),
        (tmp_path / "k.pth", "cannot be read"),
        (tmp_path / "j.pth", "no weights by name"),
        (pickled, "more than weights|cannot be read"),
        (bare, "no architecture"),
        (tmp_path / "d.pth", "cannot be read|more than weights"),
        (tmp_path / "e.pth", "more than weights"),
    ):
        with pytest.raises(PriorError, match=words):
            load_prior(str(path))
        assert main(["priors", str(path)]) == 1
    assert "run" not in capsys.readouterr().out

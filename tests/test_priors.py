"""Networks trained on other pictures, as the first estimate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, compressed

import zssr
from zssr.cli import main
from zssr.damages import Chain, Jpeg, Mosaic, Region
from zssr.damages.jpeg.tables import standard_tables
from zssr.dihedral import dihedral
from zssr.errors import PriorError
from zssr.examples import Analytic
from zssr.image import Image
from zssr.network import Network
from zssr.priors import load_prior, load_priors
from zssr.priors.cards import FAMILIES, Card, save_weights, untrained
from zssr.priors.estimators import InitialPrior, PlanesPrior, RegionPrior, planes
from zssr.priors.families import Initial

PARTS: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
CARD = Card("srcnn", {}, "nothing", "CC0", PARTS, 1, 1, {"before": 30.0, "after": 31.0}, "", "")


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


@pytest.fixture
def small_jpeg(cat: Image) -> bytes:
    return compressed(Image(cat.pixels[:, :80, :96]), 20)


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.role == "components"])
def test_tiles_do_not_show(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = PlanesPrior(weights(tmp_path / "a.safetensors", family, 0.02), "a")
    x = torch.rand(1, 1, 200, 168, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor(standard_tables(20)[0]).reshape(8, 8).float()
    whole = prior.restore(x, steps)
    monkeypatch.setattr(planes, "TILE", 64)
    assert (whole - prior.restore(x, steps)).abs().max() < 1e-4
    assert (whole - x).abs().max() > 1e-3


def test_passes(tmp_path: Path) -> None:
    prior = PlanesPrior(weights(tmp_path / "a.safetensors", "srcnn", 0.02), "a")
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor(standard_tables(20)[0]).reshape(8, 8).float()
    twice = prior.restore(prior.restore(x, steps), steps)
    prior.passes = 2
    assert torch.equal(prior.restore(x, steps), twice)


def test_the_prior_takes_the_place_of_the_filter(cat: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def restore(self: PlanesPrior, planes: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        seen.append((tuple(planes.shape), float(steps[0, 0])))
        return planes + 0.02

    monkeypatch.setattr(PlanesPrior, "restore", restore)
    prior = PlanesPrior(weights(tmp_path / "a.safetensors", "srcnn", 0), "a")
    tables = standard_tables(20)
    jpeg = Jpeg(tables)
    x = cat.pixels[None, :, :80, :96]
    y = jpeg.degrade(x)
    base = prior(Chain((jpeg,)), y, (80, 96))
    assert seen == [((1, 1, 80, 96), tables[0][0])] + 2 * [((1, 1, 40, 48), tables[1][0])]
    assert (base - y).mean() > 0.005
    assert torch.equal(jpeg.base_by_planes(y, (80, 96), prior.restore, False), base)
    crop = jpeg.at_crop((32, 32), torch.Generator())
    y_of_crop = crop.degrade(x[..., :32, :32])
    assert not torch.equal(prior(Chain((crop,)), y_of_crop, (32, 32)), crop.base(y_of_crop, (32, 32)))
    assert jpeg.agreement(base, y)["coefficients"] > 0.9


def test_a_hash_that_differs_is_refused(tmp_path: Path) -> None:
    path = weights(tmp_path / "a@0123abcd.safetensors", "srcnn", 0)
    held = load_prior(str(path))
    assert load_prior(f"{path}@{held.sha256[:12].upper()}").sha256 == held.sha256
    assert load_prior(f"meta@{load_prior('meta').sha256}").name == "meta"
    wrong = f"{path}@{'0' * 12}"
    with pytest.raises(PriorError, match=f"another file: its SHA-256 begins with {held.sha256[:12]}$"):
        load_priors(wrong)
    with pytest.raises(PriorError, match="no such file"):
        load_prior(str(tmp_path / "b.safetensors@0123abcd"))
    for short in ("meta@69", f"{path}@"):
        with pytest.raises(PriorError, match="behind @ belong 8 or more"):
            load_prior(short)


def test_a_worse_prior_is_not_used(small_jpeg: bytes, tmp_path: Path) -> None:
    path = weights(tmp_path / "bad.safetensors", "srcnn", 0.1)
    plain = zssr.restore(small_jpeg, **QUICK)
    result = zssr.restore(small_jpeg, prior=str(path), **QUICK)
    assert any("not used" in note for note in result.notes)
    assert torch.equal(result.image.pixels, plain.image.pixels)
    with pytest.raises(PriorError, match="grey levels of error"):
        zssr.restore(small_jpeg, prior=str(path), prior_strict=True, **QUICK)


def test_a_better_prior_is_used(small_jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(tmp_path / "good.safetensors", "srcnn", 0)
    filtered = Jpeg.base
    monkeypatch.setattr(Jpeg, "base", lambda self, y, size: filtered(self, y, size) + 0.2)
    result = zssr.restore(small_jpeg, prior=str(path), **QUICK)
    assert any(note.startswith("prior") and "not used" not in note for note in result.notes)
    assert result.agreement.coefficients is not None
    assert result.agreement.coefficients > 0.9


def test_a_prior_that_harms_chroma_is_used_for_luma(small_jpeg: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def restore(self: PlanesPrior, planes: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        # Chroma is seen at half the size.
        return planes if max(planes.shape[-2:]) > 80 else planes + 0.1

    jpeg = Jpeg(standard_tables(20))
    y = torch.full((1, 3, 32, 32), 0.5)
    by_planes = jpeg.base_by_planes(y, (32, 32), lambda planes, steps: planes + 0.1, luma_alone=True)
    changed = by_planes - jpeg.base(y, (32, 32))
    assert changed.amin() > 0.005
    assert (changed - changed.mean(1, keepdim=True)).abs().max() < 1e-5  # luma alone
    monkeypatch.setattr(PlanesPrior, "restore", restore)
    result = zssr.restore(small_jpeg, prior="jpegnet", **QUICK)
    assert any("jpegnet on luma alone" in note for note in result.notes)


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
    assert "priors used: none" in lines
    assert json.loads((tmp_path / "a.json").read_text())[str(path)]["priors_used"] == {}
    assert [line.split()[:2] for line in lines[-2:]] == [["none", "0"], ["mine.safetensors", "8129"]]
    assert set(json.loads((tmp_path / "a.json").read_text())) == {"none", str(path)}
    assert main([*command, "--prior", f"none,{path}", "--save", str(tmp_path)]) == 2


def test_unknown_priors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PriorError, match="neither a name nor"):
        load_prior("nonsense")
    with pytest.raises(PriorError, match="did you mean jpegnet"):
        load_prior("JPEGNET")
    with pytest.raises(PriorError, match=r"together by \+"):
        load_prior("srcnn,meta")
    with pytest.raises(PriorError, match="is missing"):
        load_priors("jpegnet+")
    path = weights(tmp_path / "a+b,c.safetensors", "srcnn", 0)
    assert isinstance(load_priors(str(path)).estimator, PlanesPrior)
    for name in "ab":
        zssr.save(Image(torch.rand(3, 16, 16)), tmp_path / f"{name}.png")
    assert main([str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--prior", "nonsense"]) == 2
    assert capsys.readouterr().err.count("nonsense") == 1
    with pytest.raises(PriorError, match="no such file"):
        load_prior(str(tmp_path / "nothing.safetensors"))
    assert main(["priors", str(tmp_path / "nothing.safetensors")]) == 1
    assert main(["priors", str(weights(tmp_path / "a.safetensors", "jpegnet", 0))]) == 0
    assert "told its table" in capsys.readouterr().out


def fitted_mosaic(size: tuple[int, int], top: int, left: int) -> Chain:
    region = Region.rectangle(size, top, left, 40, 48)
    return Chain((Mosaic(region, (8, 8), (top % 8, left % 8)),))


def test_the_unet_changes_only_the_damaged_part(cat: Image, tmp_path: Path) -> None:
    prior = load_prior(str(weights(tmp_path / "u.safetensors", "unet", 0.01)))
    assert isinstance(prior, RegionPrior)
    for x, top, left in ((cat.pixels[None, :, :90, :101], 19, 21), (cat.pixels[None, :1, :64, :64], 8, 8)):
        size = (x.shape[-2], x.shape[-1])
        chain = fitted_mosaic(size, top, left)
        y = chain.degrade(x, torch.Generator())
        base = prior(chain, y, size)
        region = chain.mask(size)
        assert region is not None
        region = region.expand_as(x)
        assert base.shape == x.shape
        assert torch.equal(base[~region], x[~region])
        assert (base - chain.base(y, size))[region].abs().mean() > 1e-3
    assert prior.unfit(chain, enlarges=False) is None
    assert prior.unfit(chain, enlarges=True)
    assert prior.unfit(Chain((Jpeg(standard_tables(20)),)), enlarges=False)
    assert prior.unfit(Chain((*chain.parts, Jpeg(standard_tables(20)))), enlarges=False)


def test_the_unet_sees_every_mosaic_from_a_cells_corner(cat: Image, tmp_path: Path) -> None:
    prior = load_prior(str(weights(tmp_path / "u.safetensors", "unet", 0.01)))
    assert isinstance(prior, RegionPrior)
    results = []
    for first in (0, 3):  # the same cells, the picture cut elsewhere
        x = cat.pixels[None, :, first:128, first:128]
        size = (x.shape[-2], x.shape[-1])
        chain = fitted_mosaic(size, 48 - first, 48 - first)
        results.append(
            prior(chain, chain.degrade(x, torch.Generator()), size)[..., 48 - first : 88 - first, 48 - first :]
        )
    assert (results[0] - results[1][..., : results[0].shape[-1]]).abs().max() < 0.02


def test_an_ensembled_unet_does_not_know_which_way_up(cat: Image, tmp_path: Path) -> None:
    prior = load_prior(str(weights(tmp_path / "u.safetensors", "unet", 0.02)), torch.float32)
    assert isinstance(prior, RegionPrior)
    x = cat.pixels[None, :, :128, :128]
    size = (128, 128)
    mosaic = Mosaic(Region.rectangle(size, 32, 48, 48, 64), (8, 8))
    for transform in (1, 2, 4, 7):
        other = Mosaic(Region(dihedral(mosaic.region.pixels, transform)), (8, 8))
        y = mosaic.degrade(x)

        def difference(prior: RegionPrior) -> float:
            turned = prior(Chain((other,)), dihedral(y, transform), size)  # noqa: B023
            return (turned - dihedral(prior(Chain((mosaic,)), y, size), transform)).abs().max().item()  # noqa: B023

        assert difference(prior.ensembled()) < 1e-4 < difference(prior)


def test_a_unet_is_the_first_estimate_of_a_mosaic(cat: Image, tmp_path: Path) -> None:
    path = weights(tmp_path / "u.safetensors", "unet", 0)
    x = cat.pixels[:, :96, :96]
    chain = fitted_mosaic((96, 96), 16, 24)
    damaged = Image(chain.degrade(x[None], torch.Generator())[0])
    result = zssr.restore(damaged, prior=str(path), repair="mosaic", **QUICK)
    assert any(note.startswith("prior") and "not used" not in note for note in result.notes)
    bad = weights(tmp_path / "bad.safetensors", "unet", 0.1)
    assert any("not used" in note for note in zssr.restore(damaged, prior=str(bad), repair="mosaic", **QUICK).notes)
    result = zssr.restore(Image(x), prior=str(path), scale=1.5, **QUICK)
    assert any("is for one part" in note for note in result.notes)


@pytest.mark.parametrize(
    ("channels", "hints", "factor", "depth"),
    [(3, 0, 2, 8), (3, 5, 1, 12), (1, 0, 3.0, 8), (1, 3, 1, 8), (3, 4, 1.5, 10)],
)
def test_initial_weights_do_the_same_in_any_network(channels: int, hints: int, factor: float, depth: int) -> None:
    initial = untrained("meta", 0)
    assert isinstance(initial, Initial)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in initial.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=rng))
    network = Network(channels, depth=depth, hints=hints)
    initial.begin(network, factor)
    held = initial.jpeg if factor == 1 else initial.enlarging if factor == 3 else initial.doubling
    assert torch.equal(network.pairs[0][0].weight, held.pairs[0][0].weight)
    x = torch.rand(1, channels, 32, 32, generator=rng)
    told = torch.rand(1, hints, 32, 32, generator=rng)
    seen = [x.expand(-1, 3, -1, -1)]
    if factor == 1:
        seen += [told[:, :2], told[:, 2:].expand(-1, 3, -1, -1)]
    with torch.no_grad():
        expected = initial(torch.cat(seen, 1), torch.tensor([factor]))
        result = network(torch.cat([x, told], 1))
    assert (result - x).abs().mean() > 1e-3
    assert torch.allclose(result, expected if channels == 3 else expected.mean(1, keepdim=True), atol=1e-5)


def test_initial_weights_are_for_networks_of_their_kind() -> None:
    initial = untrained("meta", 0)
    assert isinstance(initial, Initial)
    for network in (Network(3, width=32), Network(3, kernel_size=5), Network(3, depth=9), Network(3, depth=6)):
        with pytest.raises(PriorError, match="is for networks"):
            initial.begin(network, 2)


# Initial weights are for networks of the usual shape.
SHORT: dict[str, Any] = {"num_epochs": 3, "crop_size": 32, "precision": "fp32"}


def initial_weights(path: Path, enlarging_bias: float | None = None) -> str:
    """Some that do nothing, which is no worse than the first estimate; at factors of 3 and more not so, if given."""
    initial = untrained("meta", 0)
    assert isinstance(initial, Initial)
    for network in (initial.doubling, initial.jpeg):
        network.tail.weight.data.zero_()
        network.tail.bias.data.zero_()
    if enlarging_bias is not None:
        initial.enlarging.tail.weight.data.fill_(enlarging_bias)
    save_weights(path, initial.state_dict(), Card(**{**CARD.__dict__, "family": "meta"}))
    return str(path)


@pytest.fixture
def good(tmp_path: Path) -> str:
    return initial_weights(tmp_path / "good.safetensors")


@pytest.fixture
def small(cat: Image) -> Image:
    return Image(cat.pixels[:, :40, :48])


@pytest.fixture(params=["enlarged", "JPEG"])
def task(request: pytest.FixtureRequest, small: Image, small_jpeg: bytes) -> dict[str, Any]:
    """Keywords of restore."""
    return {**SHORT, **({"source": small, "scale": 2} if request.param == "enlarged" else {"source": small_jpeg})}


def test_helpful_initial_weights_are_used_and_named(task: dict[str, Any], good: str) -> None:
    result = zssr.restore(**task, prior=good)
    assert any(note.startswith("prior") and "not used" not in note for note in result.notes)
    assert "comes from other pictures" in result.unknown
    assert [prior["name"] for prior in result.sidecar()["priors"]] == ["good.safetensors"]


def test_harmful_initial_weights_change_nothing(task: dict[str, Any], tmp_path: Path) -> None:
    result = zssr.restore(**task, prior=str(weights(tmp_path / "bad.safetensors", "meta", 0.2)))
    assert any("not used" in note for note in result.notes)
    assert "other pictures" not in result.unknown
    assert result.sidecar()["priors"] == []
    assert torch.equal(result.image.pixels, zssr.restore(**task).image.pixels)


def test_a_warm_start_names_the_initial_weights_that_its_own_weights_began_with(
    task: dict[str, Any], good: str
) -> None:
    first = zssr.restore(**task, prior=good)
    result = zssr.restore(**task, prior=good, warm_start=first.weights)
    assert "other pictures" in result.unknown
    assert result.sidecar()["priors"] == first.sidecar()["priors"]


def test_initial_weights_without_training_are_not_named(task: dict[str, Any], good: str) -> None:
    result = zssr.restore(**{**task, "num_epochs": 0}, prior=good)
    assert any("not used in the end" in note for note in result.notes)
    assert "other pictures" not in result.unknown
    assert result.sidecar()["priors"] == []


@pytest.mark.parametrize(("scale", "used"), [(2, True), (3, False)])
def test_initial_weights_are_judged_at_the_factor_of_the_result(
    small: Image, tmp_path: Path, scale: int, used: bool
) -> None:
    prior = initial_weights(tmp_path / "good.safetensors", enlarging_bias=0.1)
    result = zssr.restore(small, prior=prior, scale=scale, **SHORT)
    assert bool(result.plan.priors.used()) == used


def test_initial_weights_for_another_network_or_another_damage(small: Image, good: str) -> None:
    with pytest.raises(PriorError, match="is for networks of 8, 10, 12"):
        zssr.restore(small, prior=good, scale=2, model_depth=6, **SHORT)
    result = zssr.restore(small, prior=good, noise=20, **SHORT)
    assert any("for enlarging and for JPEG" in note for note in result.notes)


def test_initial_weights_are_a_prior_of_their_own_kind(good: str) -> None:
    priors = load_priors(good)
    assert isinstance(priors.initial, InitialPrior)
    assert not priors.firsts
    assert isinstance(priors.estimator, Analytic)
    assert priors.used() == [priors.initial]


def test_priors_together(small_jpeg: bytes, tmp_path: Path) -> None:
    first = str(weights(tmp_path / "a.safetensors", "srcnn", 0))
    second = str(weights(tmp_path / "b.safetensors", "meta", 0))
    result = zssr.restore(small_jpeg, prior=f"{first}+{second}", num_epochs=3, crop_size=32)
    assert sum(note.startswith("prior") for note in result.notes) == 2
    rejected = str(weights(tmp_path / "c.safetensors", "srcnn", 0.1))
    alone = zssr.restore(small_jpeg, prior=second, num_epochs=3, crop_size=32)
    both = zssr.restore(small_jpeg, prior=f"{rejected}+{second}", num_epochs=3, crop_size=32)
    assert both.notes[1:] == alone.notes  # judged against what is used, not against what is not
    with pytest.raises(PriorError, match="for the same thing"):
        zssr.restore(small_jpeg, prior=f"{first}+{first}")


def test_evaluating_what_a_prior_was_trained_on(cat: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").mkdir()
    for name in "abc":
        zssr.save(Image(cat.pixels[:, :64, :96].contiguous()), tmp_path / "pictures" / f"{name}.png")
    parts = {"training": ["a.png"], "validation": ["b.png"], "test": ["c.png"]}
    path = tmp_path / "mine.safetensors"
    save_weights(path, untrained("srcnn", 0).state_dict(), Card(**{**CARD.__dict__, "pictures": parts}))
    command = ["evaluate", str(tmp_path / "pictures"), "--damage", "jpeg:10", "--num-epochs", "0", "-q"]
    command += ["--prior", str(path), "--longest", "48", "--part"]
    assert main([*command, "training"]) == 0
    assert "mean of 1" in (seen := capsys.readouterr().out)
    assert "a.png" in seen
    assert main([*command, "held-out"]) == 0
    assert "mean of 2" in capsys.readouterr().out
    assert main([word if word != str(path) else "none" for word in [*command, "training"]]) == 2


def test_the_ensemble_treats_all_directions_alike(tmp_path: Path) -> None:
    prior = PlanesPrior(weights(tmp_path / "a.safetensors", "jpegnet", 0.02), "a")
    x = torch.rand(1, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    steps = torch.arange(1.0, 65).reshape(8, 8)
    assert (prior.restore(x.mT.contiguous(), steps.T).mT - prior.restore(x, steps)).abs().max() > 1e-3
    restore = prior.ensembled().restore
    assert torch.allclose(restore(x.mT.contiguous(), steps.T).mT, restore(x, steps), atol=1e-5)
    assert torch.allclose(restore(x.flip(-1), steps).flip(-1), restore(x, steps), atol=1e-5)

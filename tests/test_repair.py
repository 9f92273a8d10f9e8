"""Repair as a whole: what is found or given is undone, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from conftest import PICTURES, QUICK, compressed, make_scene, rounded

import zssr
from zssr.cli import main
from zssr.damages import Blur, Jpeg, Missing, Mosaic, Noise, Region
from zssr.damages.missing import random_scratches
from zssr.diagnose import diagnose
from zssr.errors import SettingsError
from zssr.evaluate import TestDamage
from zssr.image import Image
from zssr.plan import make_plan
from zssr.settings import make

CAT = PICTURES / "cat.png"


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean())


def test_clean_pictures_stay_as_they_are(cat: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = zssr.restore(CAT)
    assert torch.equal(result.image.pixels, cat.pixels)
    assert not result.learned
    assert any("nothing to repair" in note for note in result.notes)
    assert main([str(CAT), "-o", str(tmp_path / "out.png")]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert torch.equal(zssr.load(tmp_path / "out.png").pixels, cat.pixels)


def test_jpeg_is_repaired_and_agrees_with_the_file(cat: Image) -> None:
    data = compressed(cat, 15)
    result = zssr.restore(data, **QUICK)
    assert error(result.image.pixels, cat.pixels) < 0.9 * error(zssr.load(data).pixels, cat.pixels)
    assert result.agreement.rms < 1
    assert result.agreement.coefficients is not None
    assert result.agreement.coefficients > 0.95
    assert result.image.jpeg is None
    part = result.plan.last.degradation.parts[0]
    assert isinstance(part, Jpeg)
    assert part.coefficients is not None
    assert "quality about 15" in result.plan.describe()


def test_jpeg_of_a_png_with_a_shifted_grid(cat: Image) -> None:
    decoded = zssr.load(compressed(cat, 30)).pixels[:, 3:, 5:]
    plan = make_plan(Image(decoded.contiguous()), make())
    (part,) = plan.last.degradation.parts
    assert isinstance(part, Jpeg)
    assert (part.offset[0] % 8, part.offset[1] % 8) == (5, 3)
    assert part.sampling == "4:2:0"
    again = part.degrade(decoded[None])
    assert ((again - decoded).abs().mean() * 255) < 1.0  # the chroma blocks are where they were, too


def test_jpeg_and_enlarging_go_together(cat: Image) -> None:
    result = zssr.restore(compressed(cat, 30), scale=2, **QUICK)
    names = [part.to_json()["name"] for part in result.plan.last.degradation.parts]
    assert names == ["downscale", "jpeg"]
    assert result.image.size == (300, 450)
    assert result.agreement.rms < 2


def test_repair_none_leaves_even_a_jpeg_alone(cat: Image) -> None:
    data = compressed(cat, 15)
    assert torch.equal(zssr.restore(data, repair="none").image.pixels, zssr.load(data).pixels)


def test_mosaic_by_hand(cat: Image) -> None:
    mosaic = Mosaic(Region.rectangle(cat.size, 30, 41, 64, 72), (6, 6), (0, 5))
    y = rounded(mosaic.degrade(cat.pixels[None]))
    result = zssr.restore(y[0], mosaic="41,30,72,64:6", repair="none", **QUICK)
    inside = mosaic.region.pixels[0].expand(3, -1, -1)
    assert torch.equal(result.image.pixels[~inside], y[0][~inside])
    assert error(result.image.pixels[inside], cat.pixels[inside]) < error(y[0][inside], cat.pixels[inside])
    assert (mosaic.degrade(rounded(result.image.pixels)[None]) - y).abs().max() < 1.01 / 255
    assert "identifies nobody" in result.unknown


def test_whole_picture_mosaic_is_a_small_picture(cat: Image) -> None:
    size = cat.size
    y = rounded(Mosaic(Region.rectangle(size, 0, 0, *size), (4, 4)).degrade(cat.pixels[None]))[0]
    result = zssr.restore(y, mosaic="all:4", **QUICK)
    assert result.image.size == size
    assert result.plan.in_size == (38, 57)
    assert error(result.image.pixels, cat.pixels) < error(y, cat.pixels)


def test_a_whole_mosaic_takes_any_kernel(cat: Image) -> None:
    """The kernel is of a blur at scale 1, and the mosaic's cells are a smaller picture with a kernel of their own."""
    result = zssr.restore(cat, mosaic="all:4", kernel="box", **{**QUICK, "num_epochs": 0})
    assert result.plan.in_size == (38, 57)


def test_missing_parts_and_nothing_else(cat: Image, tmp_path: Path) -> None:
    holes = random_scratches(cat.size, 0.04, 3)
    path = tmp_path / "mask.png"
    zssr.save(Image(holes[None].float()), path)
    y = cat.pixels.masked_fill(holes, 1.0)
    result = zssr.restore(y, mask=str(path), repair="none", **QUICK)
    assert torch.equal(result.image.pixels[:, ~holes], y[:, ~holes])
    assert error(result.image.pixels[:, holes], cat.pixels[:, holes]) < 0.2 * error(y[:, holes], cat.pixels[:, holes])
    assert result.agreement.worst == 0
    assert isinstance(result.plan.last.degradation.parts[-1], Missing)


def test_blurred_part_and_whole_blur(cat: Image) -> None:
    blur = Blur("gaussian:2", Region.rectangle(cat.size, 30, 40, 70, 80))
    y = rounded(blur.degrade(cat.pixels[None]))[0]
    result = zssr.restore(y, blurred="40,30,80,70:2", repair="none", **QUICK)
    assert error(result.image.pixels, cat.pixels) < error(y, cat.pixels)
    y = rounded(Blur("gaussian:1.5").degrade(cat.pixels[None]))[0]
    result = zssr.restore(y, kernel="gaussian:1.5", repair="none", **QUICK)
    assert error(result.image.pixels, cat.pixels) < 0.8 * error(y, cat.pixels)


def test_noise_by_hand_and_found(cat: Image) -> None:
    y = rounded(Noise(25.0).degrade(cat.pixels[None], torch.Generator().manual_seed(0)))[0]
    found = [finding for finding in diagnose(Image(y)) if finding.kind == "noise"]
    assert len(found) == 1
    assert isinstance(found[0].damage, Noise)
    assert found[0].damage.sigma == pytest.approx(25, rel=0.15)
    result = zssr.restore(y, noise=25, repair="none", **QUICK)
    assert error(result.image.pixels, cat.pixels) < 0.4 * error(y, cat.pixels)


def test_strength(cat: Image) -> None:
    data = compressed(cat, 15)
    y = zssr.load(data).pixels
    full, half, none = (zssr.restore(data, strength=s, **QUICK).image.pixels for s in (1.0, 0.5, 0.0))
    assert torch.allclose(none, y, atol=1e-6)
    assert torch.allclose(half, (y + full) / 2, atol=1e-5)


@pytest.mark.parametrize("grey", [False, True])
def test_local_damage_goes_with_enlarging(cat: Image, tmp_path: Path, grey: bool) -> None:
    picture = Image(cat.pixels[:1]) if grey else cat
    path = tmp_path / "mask.png"
    zssr.save(Image(random_scratches(cat.size, 0.04, 3)[None].float()), path)
    for settings in ({"mask": str(path)}, {"mosaic": "40,30,64,64:6"}, {"blurred": "40,30,64,64:2"}):
        result = zssr.restore(picture, scale=2, repair="none", **settings, **QUICK)
        assert result.image.size == (300, 450)
        assert len(result.reports) == 2


def test_cells_larger_than_a_crop(cat: Image) -> None:
    mosaic = Mosaic(Region.rectangle(cat.size, 13, 11, 130, 130), (40, 40), (13, 11))
    y = rounded(mosaic.degrade(cat.pixels[None]))[0]
    result = zssr.restore(y, mosaic="11,13,130,130:40", repair="none", **QUICK)
    inside = mosaic.region.pixels[0].expand(3, -1, -1)
    assert result.learned
    assert (result.image.pixels - y)[inside].abs().mean() > 1 / 255
    assert (mosaic.degrade(rounded(result.image.pixels)[None])[0] - y).abs().max() < 1.01 / 255
    assert torch.equal(result.image.pixels[~inside], y[~inside])


def test_outside_stays_without_projection(cat: Image) -> None:
    result = zssr.restore(cat, blurred="40,30,20,20:2", repair="none", projection=False, **QUICK)
    outside = ~Region.rectangle(cat.size, 30, 40, 20, 20).pixels[0].expand(3, -1, -1)
    assert torch.equal(result.image.pixels[outside], cat.pixels[outside])


def test_first_estimate_alone(cat: Image) -> None:
    result = zssr.restore(compressed(cat, 15), **{**QUICK, "num_epochs": 0})
    assert not result.learned
    assert any("no training" in note for note in result.notes)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"mosaic": "200,100,64,64:8"}, "reaches outside the picture"),
        ({"mosaic": "0,0,0,5:8"}, "empty"),
        ({"mosaic": "0,0,10,10:12"}, "larger than its area"),
        ({"mosaic": "0,0,64,64:2.5"}, "whole number"),
        ({"mosaic": "0,0,64,64:0"}, "at least 2 pixels"),
        ({"jpeg": 50.7}, "whole number"),
        ({"mosaic": "0,0,64:8"}, "WIDTH"),
        ({"mosaic": "0,0,64,64"}, "no cells can be seen"),
        ({"blurred": "0,0,64,64:99"}, "SIGMA"),
        ({"blurred": "300,0,10,10:2"}, "reaches outside"),
        ({"mask": "nowhere.png"}, "nowhere.png: no such file"),
        ({"repair": "jpg"}, "did you mean 'jpeg'"),
        ({"jpeg": 0}, "between 1 and 100"),
        ({"jpeg": "many"}, "must be a number or 'auto'"),
        ({"noise": -1}, "between 0 and 100"),
        ({"strength": 2}, "between 0 and 1"),
        ({"kernel": "box"}, "at scale 1"),
    ],
)
def test_what_does_not_fit_is_refused(cat: Image, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        make_plan(cat, make(**settings))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mask", "complaint"), [("small", "is 10x10"), ("black", "nothing in it is white"), ("white", "all of it")]
)
def test_masks_that_do_not_fit(cat: Image, tmp_path: Path, mask: str, complaint: str) -> None:
    height, width = (10, 10) if mask == "small" else cat.size
    PIL.Image.new("L", (width, height), 255 if mask == "white" else 0).save(tmp_path / "mask.png")
    with pytest.raises(SettingsError, match=complaint):
        make_plan(cat, make(mask=str(tmp_path / "mask.png")))


def test_diagnose_command(cat: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(compressed(cat, 34))
    assert main(["diagnose", str(tmp_path / "a.jpg")]) == 0
    assert "JPEG, quality about 34, 4:2:0 (from the file)" in capsys.readouterr().out
    assert main(["diagnose", "--json", str(tmp_path / "a.jpg")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["size"] == [225, 150]
    assert found["findings"][0]["damage"]["sampling"] == "4:2:0"
    assert main(["diagnose", str(tmp_path / "b.jpg")]) == 1


@pytest.mark.parametrize("damage", ["jpeg:10", "jpeg:30+scale:2", "mosaic:8", "noise:25", "blur:2.0", "missing:5"])
def test_every_damage_is_evaluated_by_one_command(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zssr.save(Image(rounded(make_scene(80, 96))), tmp_path / "a.png")
    assert main(["evaluate", str(tmp_path), "--damage", damage, "--num-epochs", "0", "-q"]) == 0
    assert "mean of 1" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["jpg:10", "jpeg", "jpeg:0", "jpeg:10+jpeg:20", "noise:loud", "scale:1"])
def test_damages_that_are_none(text: str) -> None:
    with pytest.raises(SettingsError, match="damage"):
        TestDamage.parse(text)


def test_a_mosaic_given_by_hand_is_not_undone_as_a_blur_too(cat: Image) -> None:
    region = Region.rectangle(cat.size, 16, 16, 64, 64)
    pixels = Mosaic(region, (16, 16)).degrade(cat.pixels[None])[0]
    plan = make_plan(Image(pixels), make(mosaic="16,16,64,64:16"))
    assert [type(part) for part in plan.last.degradation.parts] == [Mosaic]

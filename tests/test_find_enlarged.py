"""Finding that a picture was enlarged before, by how much and with which filter."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import zssr
from zssr.damages import Enlarged, Finding
from zssr.diagnose import diagnose, diagnose_for
from zssr.errors import SettingsError
from zssr.image import Image, from_pillow
from zssr.metrics import psnr
from zssr.plan import make_plan
from zssr.settings import make

EXAMPLES = Path(__file__).parent.parent / "examples"
FILTERS = {
    "nearest": PIL.Image.Resampling.NEAREST,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "Lanczos": PIL.Image.Resampling.LANCZOS,
}

BOTH = {"bilinear", "bicubic"}


def photograph(name: str = "astronaut.png") -> PIL.Image.Image:
    return PIL.Image.open(EXAMPLES / name).convert("RGB")


def enlarged(picture: PIL.Image.Image, factor: float, filter: str, **saving: int) -> Image:
    """As it is loaded from a PNG file, or from a JPEG file of quality=..."""
    large = picture.resize((round(picture.width * factor), round(picture.height * factor)), FILTERS[filter])
    stream = io.BytesIO()
    large.save(stream, "JPEG" if saving else "PNG", **saving)
    return zssr.load(stream.getvalue())


def found(image: Image) -> list[Finding]:
    return [finding for finding in diagnose(image, {"enlarged"}) if finding.kind == "enlarged"]


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("factor", [1.25, 1.7, 2.0])
def test_factor_and_filter_are_found(filter: str, factor: float) -> None:
    picture = photograph()
    (finding,) = found(enlarged(picture, factor, filter))
    assert finding.sure
    assert isinstance(finding.damage, Enlarged)
    # Of twice the size, both are the same.
    assert finding.damage.filter == filter or (factor == 2 and {finding.damage.filter, filter} == BOTH)
    assert [float(one) for one in finding.damage.factors] == pytest.approx([factor, factor], rel=0.01)


@pytest.mark.parametrize("filter", ["nearest", "bicubic"])
@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_they_are_found_under_compression(filter: str, factor: float) -> None:
    (finding,) = found(enlarged(photograph(), factor, filter, quality=90))
    assert isinstance(finding.damage, Enlarged)
    assert [float(one) for one in finding.damage.factors] == pytest.approx([factor, factor], rel=0.01)


@pytest.mark.parametrize("name", ["astronaut.png", "cat.png", "coffee.png"])
@pytest.mark.parametrize("saving", [{}, {"quality": 90}, {"quality": 70}])
def test_other_pictures_were_not_enlarged(name: str, saving: dict[str, int]) -> None:
    assert not found(enlarged(photograph(name), 1, "bicubic", **saving))


def test_drawings_are_left_alone() -> None:
    drawing = np.random.default_rng(0).integers(0, 2, (60, 60), np.uint8) * 255
    assert not found(enlarged(PIL.Image.fromarray(drawing), 3, "nearest"))


@pytest.mark.parametrize("filter", FILTERS)
def test_the_smaller_picture_is_what_it_was(filter: str) -> None:
    picture = photograph().crop((0, 0, 200, 150))
    image = enlarged(picture, 1.7, filter)
    plan = make_plan(image, make(scale=2))
    assert plan.in_size == (150, 200)
    assert plan.out_size == (2 * image.size[0], 2 * image.size[1])
    assert psnr(plan.image.pixels, from_pillow(picture).pixels) > 40
    assert any("200x150 pixels that it was made of" in note for note in plan.notes)


def test_compression_is_undone_before_the_enlargement() -> None:
    picture = photograph().crop((0, 0, 200, 150))
    plan = make_plan(enlarged(picture, 1.5, "bicubic", quality=60), make(scale=2, enlarged=1.5))
    assert [part.kind for part in plan.last.degradation.parts] == ["downscale"]
    assert psnr(plan.image.pixels, from_pillow(picture).pixels) > 28


def test_it_is_restored_at_its_own_size_too() -> None:
    image = enlarged(photograph().crop((0, 0, 120, 100)), 1.5, "bilinear")
    result = zssr.restore(image, num_epochs=0)
    assert result.image.size == image.size
    assert "enlarged before" in result.unknown
    assert not make_plan(image, make(enlarged=0)).undoes


def test_a_factor_given_by_hand_must_enlarge() -> None:
    with pytest.raises(SettingsError, match="must be above 1"):
        make_plan(zssr.load(EXAMPLES / "cat.png"), make(enlarged=0.5))


@pytest.mark.parametrize("size", [(2, 64), (40, 30)])
def test_small_pictures_are_taken_for_bicubic(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    plan = make_plan(from_pillow(PIL.Image.fromarray(noise)), make(enlarged=1.5, scale=2))
    assert "bicubic" in " ".join(plan.notes)


def test_what_happened_after_the_enlargement_is_said() -> None:
    image = enlarged(photograph(), 1.5, "bicubic", quality=60)
    result = zssr.restore(image, enlarged=1.5, num_epochs=0)
    assert any("then JPEG compression" in note for note in result.notes)
    assert "enlarged before" in result.unknown
    assert "compression's tables" in result.unknown


def test_a_scale_that_is_too_large_for_what_it_was_made_of_is_no_error() -> None:
    image = enlarged(photograph().crop((0, 0, 30, 40)), 5, "bicubic")
    plan = make_plan(image, make(scale=8))
    assert plan.in_size == image.size
    with pytest.raises(SettingsError, match="over 32 times"):
        make_plan(image, make(scale=8, enlarged=5))


def test_diagnosis_looks_at_what_it_was_made_of_too() -> None:
    image = enlarged(photograph(), 2, "bicubic")
    first, *others = diagnose_for(image, (2 * image.size[0], 2 * image.size[1]))
    assert first.kind == "downscale"
    assert "enlarged" in [finding.kind for finding in others]
    assert first.damage.scale == make_plan(image, make(scale=2)).last.degradation.scale

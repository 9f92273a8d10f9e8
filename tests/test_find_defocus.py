"""Finding defocus: the radius of the disc, and no disc where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch

import zssr
from zssr.damages import Blur, Defocus, Degradation, Noise
from zssr.damages.defocus.find import find_defocus
from zssr.diagnose import describe, diagnose
from zssr.image import Image, as_stored, from_pillow
from zssr.metrics import psnr

EXAMPLES = Path(__file__).parent.parent / "examples"
OTHERS = [Noise(0.0), Noise(10.0), Blur("gaussian:1"), Blur("gaussian:3"), Blur(((1.0,) * 5,) * 5)]
PICTURES = ["cat.png", "astronaut.png", "coffee.png"]


def damaged(name: str, degradation: Degradation) -> Image:
    pixels = zssr.load(EXAMPLES / name).pixels
    return Image(as_stored(degradation.degrade(pixels[None], torch.Generator().manual_seed(0))[0], 255))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("radius", [2.0, 3.5, 6.0])
def test_the_radius_is_found(name: str, radius: float) -> None:
    (finding,) = [one for one in diagnose(damaged(name, Defocus(radius))) if one.kind == "defocus"]
    assert isinstance(finding.damage, Defocus)
    assert finding.damage.radius == pytest.approx(radius, rel=0.05)
    assert finding.words == f"defocus of {finding.damage.radius:.1f} pixels"


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("damage", OTHERS)
def test_other_pictures_show_no_disc(name: str, damage: Degradation) -> None:
    assert find_defocus(damaged(name, damage).pixels) is None


def test_drawn_dots_of_one_size_are_no_defocus() -> None:
    """Their spectrum has the rings of a disc, but no disc can have made their sharp edges."""
    random = np.random.default_rng(0)
    drawing = PIL.Image.new("RGB", (640, 480), "white")
    pen = PIL.ImageDraw.Draw(drawing)
    for x, y in random.uniform((10, 10), (630, 470), (400, 2)):
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(30, 90, 180))
    image = from_pillow(drawing)
    assert find_defocus(image.pixels) is not None
    assert not [finding for finding in diagnose(image) if finding.kind == "defocus"]


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_noise_that_nobody_speaks_of_is_not_amplified(sigma: float) -> None:
    truth = zssr.load(EXAMPLES / "cat.png").pixels
    noisy = Noise(sigma).degrade(Defocus(3.0).degrade(truth[None]), torch.Generator().manual_seed(0))
    picture = Image(as_stored(noisy[0], 255))
    result = zssr.restore(picture, defocus=3, repair="none", num_epochs=0)
    assert psnr(result.tensor(), truth) > psnr(picture.pixels, truth) + 1


def test_a_wrong_radius_is_said() -> None:
    result = zssr.restore(zssr.load(EXAMPLES / "cat.png"), defocus=4, repair="none", num_epochs=0)
    assert "the damage was not what was assumed" in result.words


def test_it_is_not_undone_unasked() -> None:
    picture = damaged("cat.png", Defocus(3.0))
    assert not zssr.restore(picture, num_epochs=0).plan.undoes
    assert "defocus of 3.0 pixels (--repair defocus undoes it)" in describe(diagnose(picture))


def test_small_pictures_hold_too_few_cycles() -> None:
    assert find_defocus(torch.rand(3, 127, 400, generator=torch.Generator().manual_seed(0))) is None


def test_what_is_found_is_undone_and_agrees() -> None:
    picture = damaged("cat.png", Defocus(3.0))
    truth = zssr.load(EXAMPLES / "cat.png").pixels
    result = zssr.restore(picture, repair="defocus", num_epochs=0)
    assert psnr(result.tensor(), truth) > psnr(picture.pixels, truth) + 2
    assert result.agreement.rms < 0.4
    by_hand = zssr.restore(picture, defocus=3, num_epochs=0)
    assert psnr(by_hand.tensor(), truth) > psnr(picture.pixels, truth) + 2
    assert zssr.restore(picture, defocus=0, num_epochs=0).plan.undoes is False

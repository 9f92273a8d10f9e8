"""Drawings, dithered pictures and pixel art: no noise, no mosaics, and no new colours."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest
import torch

import zssr
from tests.conftest import PICTURES, QUICK
from zssr.damages import Noise
from zssr.damages.downscale import Repeated
from zssr.diagnose import describe, diagnose
from zssr.drawn import colours_of_drawing
from zssr.image import Image, from_array


def photograph(name: str, size: tuple[int, int] = (200, 150)) -> PIL.Image.Image:
    return PIL.Image.open(PICTURES / f"{name}.png").convert("RGB").resize(size)


def two_levels(name: str) -> PIL.Image.Image:
    return photograph(name).convert("1")  # Floyd and Steinberg's dithering


def greys(name: str, count: int) -> PIL.Image.Image:
    return photograph(name).convert("L").quantize(count, dither=PIL.Image.Dither.FLOYDSTEINBERG).convert("L")


def palette(name: str, count: int) -> PIL.Image.Image:
    """Dithered to an even palette, as old files are."""
    even = PIL.Image.new("P", (1, 1))
    side = round(count ** (1 / 3))
    levels = [round(255 * i / (side - 1)) for i in range(side)]
    even.putpalette([value for r in levels for g in levels for b in levels for value in (r, g, b)])
    dither = PIL.Image.Dither.FLOYDSTEINBERG
    return photograph(name).quantize(palette=even, dither=dither).convert("RGB")


def halftone(name: str, cell: int) -> PIL.Image.Image:
    grey = np.asarray(photograph(name).convert("L"), float)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] * (2 * np.pi / cell)
    return PIL.Image.fromarray(((grey > 127 + 90 * np.cos(x + y) * np.cos(x - y)) * 255).astype(np.uint8))


def checkerboard(side: int) -> PIL.Image.Image:
    y, x = np.mgrid[:120, :160] // side
    return PIL.Image.fromarray(((x + y) % 2 * 200 + 30).astype(np.uint8))


def sprite(times: int, colours: int, seed: int = 0) -> PIL.Image.Image:
    rng = np.random.default_rng(seed)
    half = rng.integers(0, colours, (24, 12))
    shades = rng.integers(0, 256, (colours, 3)).astype(np.uint8)
    shades[:2] = [[20, 20, 30], [240, 220, 180]]
    pixels = shades[np.concatenate([half, half[:, ::-1]], 1)]
    return PIL.Image.fromarray(np.pad(pixels, ((4, 4), (4, 4), (0, 0)), mode="edge").repeat(times, 0).repeat(times, 1))


def written(background: int, smoothed: bool) -> PIL.Image.Image:
    picture = PIL.Image.new("L", (240, 160), background)
    draw = PIL.ImageDraw.Draw(picture)
    draw.fontmode = "L" if smoothed else "1"
    for line in range(9):
        draw.text((6, 4 + 17 * line), "A quick brown fox, 1234567890", 255 - background, PIL.ImageFont.load_default(13))
    return picture


def window() -> PIL.Image.Image:
    """As on a screen: bars, panels, buttons, and smoothed letters."""
    picture = PIL.Image.new("RGB", (260, 180), (236, 236, 240))
    draw = PIL.ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 260, 22), (50, 90, 160))
    for number in range(6):
        draw.rounded_rectangle((12, 32 + 24 * number, 120, 50 + 24 * number), 4, (250, 250, 250), (150, 150, 160))
        draw.text((18, 34 + 24 * number), f"Entry {number}", (30, 30, 30), PIL.ImageFont.load_default(12))
    draw.text((6, 3), "A window", (255, 255, 255), PIL.ImageFont.load_default(14))
    return picture


DRAWINGS: dict[str, Callable[[], PIL.Image.Image]] = {
    "two levels, cat": lambda: two_levels("cat"), "two levels, coffee": lambda: two_levels("coffee"),
    "two levels, astronaut": lambda: two_levels("astronaut"), "four greys": lambda: greys("cat", 4),
    "eight greys": lambda: greys("coffee", 8), "sixteen greys": lambda: greys("astronaut", 16),
    "8 colours": lambda: palette("cat", 8), "27 colours": lambda: palette("coffee", 27),
    "64 colours": lambda: palette("astronaut", 64), "216 colours": lambda: palette("coffee", 216),
    "halftone of 4": lambda: halftone("cat", 4), "halftone of 6": lambda: halftone("coffee", 6),
    "halftone of 9": lambda: halftone("astronaut", 9), "checkerboard of 1": lambda: checkerboard(1),
    "checkerboard of 2": lambda: checkerboard(2), "checkerboard of 8": lambda: checkerboard(8),
    "sprite": lambda: sprite(1, 4), "sprite, twice": lambda: sprite(2, 5, 1),
    "sprite, 4 times": lambda: sprite(4, 4, 2), "sprite, 5 times": lambda: sprite(5, 12, 3),
    "sprite, 8 times": lambda: sprite(8, 6, 4),
    "black on white": lambda: written(255, False), "white on black": lambda: written(0, False),
    "smoothed letters": lambda: written(255, True), "window": window,
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_no_noise_and_no_mosaic(name: str) -> None:
    findings = diagnose(from_array(np.array(DRAWINGS[name]().convert("RGB"))))
    assert not [finding for finding in findings if finding.kind in ("noise", "mosaic") and finding.sure]


def test_it_is_said() -> None:
    image = from_array(np.array(two_levels("cat").convert("L")))
    assert describe(diagnose(image)) == (
        "drawn in 2 colours: what drawings only look like is not looked for (noise, enlarged, mosaic, scratches)"
    )
    assert "drawn" not in describe(diagnose(image, {"jpeg"}))
    asked = diagnose(image, asked={"noise"})
    assert [finding.kind for finding in asked if finding.kind == "noise"] == ["noise"]


@pytest.mark.parametrize(
    "name", ["two levels, cat", "four greys", "halftone of 6", "sprite, 4 times", "checkerboard of 1"]
)
@pytest.mark.parametrize("scale", [2, 3, 1.5])
def test_enlarging_brings_in_no_colours(name: str, scale: float) -> None:
    picture = np.array(DRAWINGS[name]().convert("RGB"))[:60, :70]
    result = zssr.restore(picture, scale=scale, **QUICK)
    pixels = result.image.pixels.mul(255).round().byte().permute(1, 2, 0).numpy()
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    assert {tuple(colour) for colour in pixels.reshape(-1, 3)} <= colours
    assert "pixel art" in " ".join(result.plan.notes)
    if scale == int(scale):
        assert (pixels == picture.repeat(int(scale), 0).repeat(int(scale), 1)).all()
        assert result.agreement.worst == 0


def test_asked_for_it_is_enlarged_as_a_photograph() -> None:
    picture = np.array(sprite(2, 4).convert("RGB"))
    plan = zssr.make_plan(picture, zssr.Settings(scale=2, repair="none"))
    assert plan.learns
    assert zssr.make_plan(picture, zssr.Settings(scale=2, kernel="bicubic")).learns
    assert not zssr.make_plan(picture, zssr.Settings(scale=2)).learns


def test_photographs_are_not_drawn(cat: Image) -> None:
    assert colours_of_drawing(cat.pixels) is None
    assert colours_of_drawing(cat.pixels[1:2]) is None
    # Nearly flat, with a few levels of noise.
    grey = Image(torch.full((1, 90, 90), 0.5))
    noisy = Noise(4.0).degrade(grey.pixels[None], torch.Generator().manual_seed(0))[0].mul(255).round() / 255
    assert colours_of_drawing(noisy) is None
    assert colours_of_drawing(grey.pixels) is None
    ramp = torch.linspace(0.4, 0.5, 200).mul(255).round().div(255).expand(1, 100, 200)
    assert colours_of_drawing(ramp) is None


def test_repeated_pixels_lie_where_they_were() -> None:
    y = torch.rand(1, 3, 4, 5)
    repeated = Repeated((Fraction(2, 3), Fraction(1, 2)))
    x = repeated.base(y, (6, 10))
    assert torch.equal(x[..., ::2], x[..., 1::2])
    assert torch.equal(x[..., [0, 2, 3, 5], :][..., ::2], y)
    whole = Repeated((Fraction(1, 3), Fraction(1, 3)))
    assert torch.allclose(whole.degrade(whole.base(y, (12, 15))), y, atol=1e-6)


def test_transparency_of_pixel_art_keeps_its_edges() -> None:
    picture = np.array(sprite(1, 4).convert("RGBA"))
    picture[:10, :, 3] = 0
    result = zssr.restore(picture, scale=2, **QUICK)
    assert result.image.alpha is not None
    assert set(result.image.alpha.unique().tolist()) == {0.0, 1.0}


def test_pixel_art_agrees_at_any_factor() -> None:
    result = zssr.restore(np.array(sprite(2, 4).convert("RGB")), scale=1.5, **QUICK)
    assert result.agreement.worst == 0
    assert not result.plan.priors.used()

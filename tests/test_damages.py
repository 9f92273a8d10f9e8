"""The laws that hold for every degradation, and what holds for single ones."""

from __future__ import annotations

import dataclasses
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest
import torch
from conftest import compressed, make_scene, rounded
from scipy.io import savemat
from torch import Tensor

import zssr
from zssr.damages import (
    KINDS,
    Blur,
    Chain,
    Defocus,
    Degradation,
    Downscale,
    Enlarged,
    Jpeg,
    Missing,
    Mosaic,
    Noise,
    Region,
    from_json,
)
from zssr.damages.downscale import read_kernel
from zssr.damages.jpeg import of_file
from zssr.damages.jpeg.tables import nearest_quality, standard_tables
from zssr.damages.kind import Kind
from zssr.dihedral import ALL_EIGHT, FLIPS, IDENTITY, dihedral
from zssr.errors import KernelError, SettingsError
from zssr.image import Image, from_pillow

HALF = (Fraction(1, 2), Fraction(1, 2))
LOPSIDED = ((0.0, 0.1, 0.3, 0.1), (0.0, 0.2, 0.1, 0.0), (0.2, 0.0, 0.0, 0.0))  # 3x4, no symmetry

SCRATCH = Region(((torch.arange(60)[:, None] * 2 - torch.arange(60)).abs() < 3)[None, None])

SQUARE = Region.rectangle((60, 60), 9, 13, 32, 40)
EXAMPLES: dict[str, Degradation | Chain] = {
    "bicubic": Downscale(HALF),
    "box": Downscale(HALF, "box"),
    "box fractional": Downscale((Fraction(2, 5), Fraction(2, 3)), "box"),
    "lanczos": Downscale((Fraction(1, 3), Fraction(1, 3)), "lanczos"),
    "anisotropic": Downscale((Fraction(1, 2), Fraction(1, 4))),
    "fractional": Downscale((Fraction(2, 5), Fraction(2, 5))),
    "gaussian": Downscale(HALF, "gaussian:1.2"),
    "gaussian third": Downscale((Fraction(1, 3), Fraction(1, 3)), "gaussian:2"),
    "lopsided": Downscale(HALF, LOPSIDED),
    "lopsided fractional": Downscale((Fraction(3, 5), Fraction(3, 5)), LOPSIDED),
    "blur": Downscale((Fraction(1), Fraction(1)), "gaussian:1.5"),
    "noise": Noise(5.0),
    "brightness's noise": Noise(2.0, 0.5),
    "coarse noise": Noise(2.0, 0.5, spectrum=(tuple(1.5 - 0.02 * number for number in range(64)),) * 3),
    "jpeg": Jpeg(standard_tables(30), "4:2:0"),
    "jpeg 4:4:4": Jpeg(standard_tables(10), "4:4:4"),
    "jpeg 4:2:2 off its corner": Jpeg(standard_tables(50), "4:2:2", (3, 13)),
    "jpeg turned": Jpeg(standard_tables(50), "4:1:1", move=3),
    "whole blur": Blur("gaussian:1.5"),
    "defocus": Defocus(2.5),
    "blurred part": Blur("gaussian:2", Region.rectangle((60, 60), 10, 20, 30, 28)),
    "enlarged": Enlarged((Fraction(3, 2), Fraction(3, 2)), "bilinear"),
    "enlarged apart": Enlarged((Fraction(5, 4), Fraction(2)), "bicubic"),
    "mosaic": Mosaic(Region.rectangle((60, 60), 9, 13, 32, 40), (4, 4), (1, 1)),
    "cut mosaic": Mosaic(Region.rectangle((60, 60), 20, 3, 37, 41), (5, 7), (0, 3)),
    "missing": Missing(SCRATCH),
    "small and compressed": Chain((Downscale(HALF), Jpeg(standard_tables(40), "4:2:0"))),
    "compressed and scratched": Chain((Jpeg(standard_tables(40), "4:4:4"), Missing(SCRATCH))),
    "pixelated and compressed": Chain((Mosaic(SQUARE, (4, 4)), Jpeg(standard_tables(60), "4:4:4"))),
    "small and scratched": Chain(
        (Downscale((Fraction(2, 3), Fraction(2, 3))), Missing(Region(SCRATCH.pixels[..., :40, :40].contiguous())))
    ),
    "noisy downscale": Chain((Downscale(HALF), Noise(3.0))),
    "chain of one": Chain((Downscale(HALF, "gaussian:0.8"),)),
}


def is_compressed(degradation: Degradation | Chain) -> bool:
    return "jpeg" in json.dumps(degradation.to_json())


@pytest.fixture(params=EXAMPLES)
def degradation(request: pytest.FixtureRequest) -> Degradation | Chain:
    return EXAMPLES[request.param]


@pytest.fixture
def x(scene: Tensor) -> Tensor:
    return scene[None, :, :60, :60]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_every_kind_has_an_example() -> None:
    kinds = {kind.operator.kind for kind in KINDS}
    assert {example.to_json()["name"] for example in EXAMPLES.values()} == kinds | {"chain"}


def test_size_is_as_promised(degradation: Degradation | Chain, scene: Tensor) -> None:
    whole = degradation
    for height, width in ((60, 60), (37, 50), (5, 4)):
        degradation = whole.at_crop((height, width), seeded())
        y = degradation.degrade(scene[None, :, :height, :width], seeded())
        assert y.shape[-2:] == degradation.out_size((height, width))
        assert degradation.base(y, (height, width)).shape[-2:] == (height, width)


def test_same_rng_same_result_and_input_untouched(degradation: Degradation | Chain, x: Tensor) -> None:
    before = x.clone()
    first, second = degradation.degrade(x, seeded()), degradation.degrade(x, seeded())
    assert torch.equal(first, second)
    base = degradation.base(first, (60, 60))
    degradation.project(base, first)
    assert torch.equal(first, second)
    assert torch.equal(x, before)


def test_constants_stay(degradation: Degradation | Chain) -> None:
    if degradation.noisy:
        pytest.skip("noise changes constants")
    grey = 102 / 255  # a level that whole coefficients can tell
    y = degradation.degrade(torch.full((1, 3, 60, 60), grey), seeded())
    tolerance = 1e-6
    if is_compressed(degradation):
        tolerance = 5 / 255  # of the first coefficient's step
    if "missing" not in json.dumps(degradation.to_json()):
        assert (y - grey).abs().max() < tolerance
    assert (degradation.base(y, (60, 60)) - grey).abs().max() < tolerance


def test_declared_symmetries_hold(degradation: Degradation | Chain, x: Tensor) -> None:
    assert IDENTITY in degradation.symmetries
    if degradation.noisy:
        degradation = getattr(degradation, "parts", [Noise(0)])[0]
    if is_compressed(degradation):
        x = make_scene(64, 64)[None]  # whole blocks
        degradation = degradation.at_crop((64, 64), seeded())
    lossy = is_compressed(degradation)
    for transform in degradation.symmetries:
        after = dihedral(degradation.degrade(x, seeded()), transform)
        other = degradation.transformed(transform)
        before = other.degrade(dihedral(x, transform), seeded())
        y, size = degradation.degrade(x, seeded()), (x.shape[-2], x.shape[-1])
        hints = dihedral(degradation.hints(y, size), transform)
        assert torch.allclose(hints, other.hints(dihedral(y, transform), size), rtol=0, atol=1e-5)
        # A coefficient on the edge of two whole numbers may fall either way; nothing else may differ.
        share = ((after - before).abs() > 1e-4).float().mean()
        assert share < 0.03 if lossy else share == 0, transform


def test_undeclared_symmetries_do_not_hold() -> None:
    x = torch.rand(1, 1, 60, 60, generator=seeded())
    for degradation in (EXAMPLES["lopsided"], EXAMPLES["anisotropic"]):
        for transform in ALL_EIGHT - degradation.symmetries:
            after = dihedral(degradation.degrade(x, seeded()), transform)
            before = degradation.degrade(dihedral(x, transform), seeded())
            assert after.shape != before.shape or (after - before).abs().max() > 1e-2


def test_symmetries_are_the_expected_ones() -> None:
    assert EXAMPLES["lopsided"].symmetries == {IDENTITY}
    assert EXAMPLES["anisotropic"].symmetries == FLIPS
    assert EXAMPLES["gaussian"].symmetries == ALL_EIGHT
    assert EXAMPLES["mosaic"].symmetries == FLIPS
    assert EXAMPLES["missing"].symmetries == EXAMPLES["blurred part"].symmetries == FLIPS
    ellipse = tuple(tuple(np.exp(-(i**2) / 2 - j**2 / 8) for j in range(-4, 5)) for i in range(-4, 5))
    assert Downscale(HALF, ellipse).symmetries == FLIPS


def test_projection_lowers_the_misfit_and_is_idempotent(degradation: Degradation | Chain, x: Tensor) -> None:
    y = degradation.degrade(x, seeded()).clamp(0, 1)
    guess = 0.9 * degradation.base(y, (60, 60)).clamp(0, 1) + 0.03
    projected = degradation.project(guess, y)
    if degradation.noisy:
        assert torch.equal(projected, guess)
        return

    def misfit(z: Tensor) -> float:
        return (degradation.degrade(z, seeded()) - y).square().mean().sqrt().item()

    # Outside missing parts a projected picture is the measured one; there the guess is of no account.
    assert misfit(projected) < 0.35 * misfit(guess)
    # One coefficient on the edge of its bin, moved by the limits of grey levels, changes a whole block.
    lossy = is_compressed(degradation)
    assert misfit(projected) <= (3 if lossy else 0.2888) / 255
    again = degradation.project(projected, y)
    assert (again - projected).abs().mean() < 0.15 / 255 if lossy else torch.equal(again, projected)


def test_json_and_back(degradation: Degradation | Chain) -> None:
    assert from_json(json.loads(json.dumps(degradation.to_json()))) == degradation


def test_hints_have_as_many_channels_as_promised(degradation: Degradation | Chain, x: Tensor) -> None:
    for channels in (1, 3):
        if channels == 1 and is_compressed(degradation):
            continue  # with tables of colour
        y = degradation.degrade(x[:, :channels], seeded())
        assert degradation.hints(y, (60, 60)).shape == (1, degradation.hint_channels(channels), 60, 60)


def test_words_fit_into_a_sentence(degradation: Degradation | Chain) -> None:
    words = degradation.describe()
    assert words
    assert words.strip() == words
    assert "\n" not in words
    assert not words.endswith(".")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_lost_is_said_in_a_sentence_or_not_at_all(kind: Kind) -> None:
    assert re.fullmatch(r"([A-Z][^.\n]*\.)?", kind.operator.lost)


def test_an_unrepaired_picture_needs_no_larger_scale_to_be_clean(degradation: Degradation | Chain) -> None:
    assert 0 < degradation.clean_scale_unrepaired <= degradation.clean_scale <= 1


def test_masks_are_where_degrading_changes_pixels(degradation: Degradation | Chain, x: Tensor) -> None:
    mask = degradation.mask((60, 60))
    if mask is None:
        return
    assert mask.shape == (1, 1, 60, 60)
    assert mask.dtype == torch.bool
    y = degradation.degrade(x, seeded())
    assert torch.equal(y[~mask.expand_as(x)], x[~mask.expand_as(x)])
    assert not torch.equal(y, x)


ONE_ALONE = {name: example for name, example in EXAMPLES.items() if not isinstance(example, Chain)}


@pytest.mark.parametrize("name", ONE_ALONE)
def test_another_filter_of_planes_is_for_damages_done_by_planes(name: str, x: Tensor) -> None:
    damage = ONE_ALONE[name]
    y = damage.degrade(x, seeded())
    size = (60, 60)
    by_planes = damage.base_by_planes(y, size, lambda planes, steps: planes + 0.02, False)
    assert torch.equal(by_planes, damage.base(y, size)) != damage.planewise


@pytest.mark.parametrize("name", ONE_ALONE)
def test_promised_figures_of_the_agreement_are_given(name: str, x: Tensor) -> None:
    damage = ONE_ALONE[name]
    figures = damage.agreement(x, damage.degrade(x, seeded()))
    assert set(figures) == set(damage.figures) <= {field.name for field in dataclasses.fields(zssr.Agreement)}
    assert all(figure > 0.97 for figure in figures.values())  # x is what became y


def acts_like_a_filter(degradation: Degradation | Chain) -> bool:
    local = any(name in json.dumps(degradation.to_json()) for name in ("jpeg", "mosaic", "missing"))
    return not local and not degradation.noisy


@pytest.mark.parametrize("name", [n for n, e in EXAMPLES.items() if acts_like_a_filter(e)])
def test_nothing_shifts(name: str) -> None:
    """A ramp has the same value at the same place of the scene in both pictures, whatever the kernel."""
    degradation = EXAMPLES[name]
    rows, columns = torch.meshgrid(torch.arange(60) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    for ramp in (rows, columns):
        x = (ramp / 60)[None, None]
        y = degradation.degrade(x, seeded())
        height, width = y.shape[-2:]
        where = torch.meshgrid(
            (torch.arange(height) + 0.5) / float(degradation.scale[0]),
            (torch.arange(width) + 0.5) / float(degradation.scale[1]),
            indexing="ij",
        )
        expected = where[0 if ramp is rows else 1] / 60
        # The area of a box is a whole number of pixels only at some phases: no shift on average.
        tolerance = 2e-3 if name == "box fractional" else 2e-4  # 0.012 pixels
        inner = (slice(height // 3, -(height // 3)), slice(width // 3, -(width // 3)))
        assert (y[0, 0] - expected)[inner].abs().max() < tolerance
        assert (y[0, 0] - expected)[inner].mean().abs() < 2e-4
        base = degradation.base(y, (60, 60))[0, 0]
        assert (base - x[0, 0])[20:-20, 20:-20].abs().max() < 10 * tolerance
        assert (base - x[0, 0])[20:-20, 20:-20].mean().abs() < 2e-4


def test_kernel_of_any_parity_acts_the_same() -> None:
    """An even and an odd table of the same Gaussian give the same picture."""
    x = torch.rand(1, 1, 48, 48, generator=seeded())

    def table(count: int) -> tuple[tuple[float, ...], ...]:
        line = np.exp(-((np.arange(count) - (count - 1) / 2) ** 2) / (2 * 1.8**2))
        return tuple(map(tuple, np.outer(line, line)))

    odd, even = (Downscale(HALF, table(count)).degrade(x) for count in (17, 18))
    assert (odd - even)[..., 4:-4, 4:-4].abs().max() < 0.01


def test_rescaled_kernel_keeps_its_size_on_the_small_picture() -> None:
    quarter = (Fraction(1, 4), Fraction(1, 4))
    assert Downscale(quarter, "gaussian:4").rescaled(HALF).kernel == "gaussian:2.0"
    line = np.exp(-(np.arange(-16, 17) ** 2) / (2 * 4.0**2))
    table = Downscale(quarter, tuple(map(tuple, np.outer(line, line)))).rescaled(HALF)
    x = torch.rand(1, 1, 48, 48, generator=seeded())
    difference = table.degrade(x) - Downscale(HALF, "gaussian:2").degrade(x)
    assert difference[..., 4:-4, 4:-4].abs().max() < 0.01


def test_noise_has_the_sigma_asked_for() -> None:
    y = Noise(25).degrade(torch.zeros(1, 1, 256, 256), seeded())
    assert float(y.std() * 255) == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("suffix", [".npy", ".txt", ".mat", ".png"])
def test_kernel_files(tmp_path: Path, suffix: str) -> None:
    table = np.array(LOPSIDED) * 250
    path = tmp_path / f"kernel{suffix}"
    if suffix == ".npy":
        np.save(path, table)
    elif suffix == ".txt":
        np.savetxt(path, table)
    elif suffix == ".mat":
        savemat(path, {"kernel": table})
    else:
        from PIL import Image

        Image.fromarray(table.astype(np.uint8)).save(path)
    kernel = read_kernel(str(path))
    assert np.allclose(np.array(kernel) / np.sum(kernel), np.array(LOPSIDED) / np.sum(LOPSIDED), atol=0.01)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"other": np.ones((3, 3))}, "other"),
        (np.zeros((3, 3)), "positive"),
        (-np.ones((3, 3)), "positive"),
        (np.full((3, 3), np.nan), "finite"),
        (np.ones(5), "rows and columns"),
        (np.ones((300, 3)), "at most"),
        (b"", "not a kernel"),
        (b"garbage", "not a kernel"),
        (None, "no such"),
    ],
)
def test_files_without_a_kernel(tmp_path: Path, content: object, complaint: str) -> None:
    path = tmp_path / ("kernel.mat" if isinstance(content, dict) else "kernel.npy")
    if isinstance(content, dict):
        savemat(path, content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(KernelError, match=complaint) as caught:
        read_kernel(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["bicubik", "gaussian:", "gaussian:-1", "gaussian:nan", "kernel.xyz"])
def test_unknown_kernel_names(name: str) -> None:
    with pytest.raises(KernelError, match="gaussian:SIGMA"):
        read_kernel(name)


def test_out_of_range() -> None:
    with pytest.raises(SettingsError):
        Downscale((Fraction(2), Fraction(1)))
    with pytest.raises(SettingsError):
        Noise(-1)


# ------------------------------------------------------------------------------------------- JPEG


def encoded(x: Tensor, quality: int, **options: object) -> tuple[Tensor, Image]:
    """What Pillow's encoder and decoder make of (C, H, W), and the picture as loaded."""
    loaded = zssr.load(compressed(Image(x), quality, **options))
    return loaded.pixels[None], loaded


@pytest.mark.parametrize(("sampling", "subsampling"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_that_of_the_usual_encoder(sampling: str, subsampling: int, progressive: bool) -> None:
    x = make_scene(93, 119)
    y, loaded = encoded(x, quality=35, subsampling=subsampling, progressive=progressive)
    damage = of_file(loaded.jpeg)
    assert damage.sampling == sampling
    assert damage.tables[0] == standard_tables(35)[0]
    difference = (damage.degrade(x[None]) - y).abs() * 255
    assert difference.mean() < 1.3  # smooth colours lie on the edge of two coefficients, so some differ
    again = Jpeg(damage.tables, damage.sampling)._measured(damage.degrade(x[None]))
    for held, made in zip(damage._measured(y), again, strict=True):
        assert (held == made).float().mean() > 0.99
    # The file's coefficients and those found in the pixels are the same.
    blind = Jpeg(damage.tables, damage.sampling)
    for held, seen in zip(damage._measured(y), blind._measured(y), strict=True):
        inner = (slice(None), slice(0, 5), slice(0, 5))
        assert (held[inner] == seen[inner]).float().mean() > 0.999


def test_grey_jpeg() -> None:
    x = make_scene(93, 119)[:1]
    y, loaded = encoded(x, quality=20)
    damage = of_file(loaded.jpeg)
    assert damage.sampling == "grey"
    assert damage.hints(y, (93, 119)).shape == (1, damage.hint_channels(1), 93, 119)
    assert ((damage.degrade(x[None]) - y).abs() * 255).mean() < 0.05


def test_jpeg_base_is_nearer_to_the_truth_and_projection_keeps_the_coefficients() -> None:
    x = make_scene(96, 128)
    y, loaded = encoded(x, quality=15)
    damage = of_file(loaded.jpeg)
    base = damage.base(y, (96, 128))
    assert (base - x).square().mean() < 0.9 * (y - x).square().mean()
    projected = rounded(damage.project(base, y))
    again = Jpeg(damage.tables, damage.sampling)._measured(damage.degrade(projected))
    same = [(a == b).float().mean() for a, b in zip(again, damage._measured(y), strict=True)]
    assert min(same) > 0.98


def test_turned_jpeg_is_turned_jpeg() -> None:
    """EXIF orientation: the damage of the upright picture is the turned damage of the stored one."""
    x = make_scene(48, 64)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    y, loaded = encoded(x, quality=30, exif=exif.tobytes())
    assert y.shape[-2:] == (64, 48)
    damage = of_file(loaded.jpeg)
    upright = dihedral(x[None], damage.move)
    assert ((damage.degrade(upright) - y).abs() * 255).mean() < 1.3
    assert (damage.base(y, (64, 48)) - upright).square().mean() < (y - upright).square().mean()


def test_qualities() -> None:
    assert [nearest_quality(standard_tables(quality)[0]) for quality in (5, 50, 90)] == [5, 50, 90]
    with pytest.raises(SettingsError, match="64 steps"):
        Jpeg(((1,) * 63,), "grey")
    with pytest.raises(SettingsError, match="sampling"):
        Jpeg(standard_tables(5), "4:3:2")


# ------------------------------------------------------------------------------------ local damage


def test_mosaic_means_stay_exact() -> None:
    x = make_scene(64, 72)[None]
    region = Region.rectangle((64, 72), 7, 9, 45, 50)
    mosaic = Mosaic(region, (6, 8), (1, 1))
    y = rounded(mosaic.degrade(x))
    worked_on = (mosaic.base(y, (64, 72)) + 0.05 * torch.rand(x.shape, generator=seeded())).clamp(0, 1)
    result = mosaic.project(worked_on, y)
    assert (mosaic.degrade(result) - y).abs().max() <= 0.51 / 255
    assert torch.equal(result[~region.pixels.expand_as(x)], y[~region.pixels.expand_as(x)])


def test_missing_pixels_outside_stay_to_the_bit() -> None:
    x = make_scene(60, 60)[None]
    y = Missing(SCRATCH).degrade(x)
    base = Missing(SCRATCH).base(y, (60, 60))
    outside = ~SCRATCH.pixels.expand_as(x)
    assert torch.equal(base[outside], x[outside])
    assert (base - x).abs().max() < 0.5  # filled, not black
    assert (base - x)[~outside].abs().mean() < 0.05


def test_windows_hold_some_of_the_region_and_keep_the_phase() -> None:
    mosaic = Mosaic(Region.rectangle((200, 300), 33, 71, 50, 60), (6, 9), (33 % 6, 71 % 9))
    rng = seeded()
    for _ in range(50):
        crop = mosaic.at_crop((48, 48), rng)
        assert crop.region.pixels.any()
        assert crop.phase == (0, 0)
    assert mosaic.grid_offset == (3, 1)  # with it, cells start at the corner


def test_denoising_and_its_growth_with_brightness() -> None:
    x = make_scene(96, 96)[None]
    for noise in (Noise(15.0), Noise(3.0, 1.5)):
        y = noise.degrade(x, seeded())
        assert (noise.base(y, (96, 96)) - x).square().mean() < 0.35 * (y - x).square().mean()
    dark, bright = (Noise(3.0, 1.5).degrade(torch.full((1, 1, 99, 99), v), seeded()).std() * 255 for v in (0.0, 0.8))
    assert dark == pytest.approx(3, rel=0.05)
    assert bright == pytest.approx((9 + 1.5 * 204) ** 0.5, rel=0.05)


def test_deblurring() -> None:
    x = make_scene(64, 72)[None]
    blur = Blur("gaussian:1.5")
    y = blur.degrade(x)
    assert (blur.base(y, (64, 72)) - x).square().mean() < 0.7 * (y - x).square().mean()


def test_a_sharpening_kernel_does_not_run_away(picture: Image) -> None:
    """Its gain is over one, and the iteration would grow without end."""
    sharp = ((0.0, -0.2, 0.0), (-0.2, 1.8, -0.2), (0.0, -0.2, 0.0))
    blur = Blur(sharp)
    x = picture.pixels[None]
    y = blur.degrade(x).clamp(0, 1)
    projected = blur.project(y, y)
    assert (blur.degrade(projected) - y).abs().mean() < 0.5 * (blur.degrade(y) - y).abs().mean()


def test_a_blurred_part_becomes_no_checkerboard(picture: Image) -> None:
    """Blurred a little otherwise than thought, and rounded: adding the misfit as it is would bring that up."""
    soft = picture.pillow().filter(PIL.ImageFilter.GaussianBlur(3))
    x, y = picture.pixels[None], from_pillow(soft).pixels[None]
    blur = Blur("gaussian:3")
    base = blur.base(y, (x.shape[-2], x.shape[-1]))
    assert (blur.project(base, y) - x).square().mean() < (y - x).square().mean()

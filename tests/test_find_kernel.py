"""Reading from a picture how far its points are spread: by what made it smaller, or by a blur at its own size."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest
import torch

import zssr
from zssr.cli import main
from zssr.damages import Blur, Defocus, Degradation, Downscale, Mosaic, Noise, Region
from zssr.damages.downscale import find_kernel, read_kernel, write_kernel
from zssr.damages.downscale.gaussian import Gaussian
from zssr.damages.downscale.spectrum import fit_spectrum
from zssr.diagnose import diagnose, diagnose_for
from zssr.errors import KernelError
from zssr.image import Image, as_stored, from_pillow
from zssr.metrics import psnr
from zssr.plan import make_plan
from zssr.settings import make

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURES = ["cat.png", "astronaut.png", "coffee.png"]
HALF = (Fraction(1, 2), Fraction(1, 2))


def damaged(name: str, *degradations: Degradation) -> Image:
    x = zssr.load(EXAMPLES / name).pixels[None]
    for degradation in degradations:
        x = degradation.degrade(x, torch.Generator().manual_seed(0))
    return Image(as_stored(x, 255)[0])


def softness(image: Image) -> list[Blur]:
    found = [finding.damage for finding in diagnose(image, {"softness"})]
    assert all(isinstance(damage, Blur) for damage in found)
    return [damage for damage in found if isinstance(damage, Blur)]


# ------------------------------------------------------------------------------------------ their names


@pytest.mark.parametrize("name", ["gaussian:1.5", "gaussian:2.5,0.75,30.0", "gaussian:2.5,0.75,135.0"])
def test_a_gaussian_has_the_covariance_that_its_weights_have(name: str) -> None:
    gaussian = Gaussian.named(name)
    assert gaussian.name == name
    weights = gaussian.weights()
    rows = torch.arange(len(weights), dtype=torch.float64)[:, None] - len(weights) // 2
    columns = rows.T
    measured = [(weights * part).sum().item() for part in (rows * rows, rows * columns, columns * columns)]
    assert measured == pytest.approx(gaussian.covariance, rel=0.01, abs=0.003)
    assert Gaussian.of_covariance(*gaussian.covariance).rounded() == gaussian


def test_the_angle_is_counted_counter_clockwise_from_the_horizontal() -> None:
    weights = Gaussian(3.0, 1.0, 45.0).weights()
    middle = len(weights) // 2
    assert weights[middle - 3, middle + 3] > 10 * weights[middle + 3, middle + 3]  # up and to the right


def test_a_gaussian_scales_with_the_pixels() -> None:
    twice = Gaussian(2.0, 1.0, 30.0).scaled(2, 2)
    assert (twice.major, twice.minor, twice.angle) == pytest.approx((4, 2, 30))
    assert Gaussian(1.0, 1.0).scaled(1, 3).rounded() == Gaussian(3.0, 1.0, 0.0)
    other = Downscale(HALF, "gaussian:2.0,1.0,30.0").rescaled((Fraction(1, 3), Fraction(1, 3)))
    assert Gaussian.named(str(other.kernel)).rounded() == Gaussian(3.0, 1.5, 30.0)


@pytest.mark.parametrize(
    "name", ["gaussian:", "gaussian:1,2", "gaussian:1,2,30", "gaussian:2,1,x", "gaus:1", "gaussian:40"]
)
def test_what_is_no_kernel_is_refused(name: str) -> None:
    with pytest.raises(KernelError, match="use auto, a file"):
        read_kernel(name)


def test_an_empty_file_is_no_kernel(tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_text("\n")
    with pytest.raises(KernelError, match=r"k.txt: holds nothing"):
        read_kernel(str(tmp_path / "k.txt"))


@pytest.mark.parametrize("suffix", ["npy", "mat", "txt", "png"])
def test_a_kernel_is_read_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    weights = Gaussian(2.0, 1.0, 30.0).weights()
    write_kernel(tmp_path / f"k.{suffix}", weights)
    kernel = np.array(read_kernel(str(tmp_path / f"k.{suffix}")))
    assert np.abs(kernel / kernel.sum() - weights.numpy()).max() < 1e-5


@pytest.mark.parametrize("factor", [2, 3, Fraction(3, 2)])
@pytest.mark.parametrize("kernel", ["bicubic", "box", "lanczos"])
def test_named_kernels_have_weights_for_other_programs(factor: int, kernel: str) -> None:
    scale = (1 / Fraction(factor), 1 / Fraction(factor))
    named = Downscale(scale, kernel)
    x = zssr.load(EXAMPLES / "cat.png").pixels[None, :, :48, :48]
    same = Downscale(scale, tuple(map(tuple, named.point_spread.tolist())))
    difference = (named.degrade(x) - same.degrade(x))[..., 3:-3, 3:-3].abs()
    assert difference.max() < (1e-5 if isinstance(factor, int) else 0.06)  # between pixels, they differ by their phase


# ------------------------------------------------------------------------------------ of smaller pictures


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("sigma", [0.7, 1.0])
def test_the_kernel_of_a_small_picture_is_found(name: str, sigma: float) -> None:
    kernel, finding = find_kernel(damaged(name, Blur(f"gaussian:{sigma}")).pixels, HALF)
    gaussian = Gaussian.named(str(kernel))
    assert (gaussian.major * gaussian.minor) ** 0.5 == pytest.approx(2 * sigma, rel=0.15)
    assert finding.sure
    assert f"made smaller with a Gaussian of {gaussian.words}" in finding.words


@pytest.mark.parametrize("angle", [20.0, 70.0, 110.0, 160.0])
def test_its_direction_is_found(angle: float) -> None:
    kernel, _ = find_kernel(damaged("cat.png", Blur(f"gaussian:1.1,0.6,{angle}")).pixels, HALF)
    found = Gaussian.named(str(kernel))
    assert found.major > 1.3 * found.minor
    assert abs((found.angle - angle + 90) % 180 - 90) < 15


@pytest.mark.parametrize("scale", [(Fraction(1, 3), Fraction(1, 3)), (Fraction(2, 3), Fraction(1, 4))])
def test_it_is_told_in_pixels_of_the_result(scale: tuple[Fraction, Fraction]) -> None:
    pixels = damaged("cat.png", Blur("gaussian:0.9")).pixels
    at_two, at_other = (Gaussian.named(str(find_kernel(pixels, factors)[0])) for factors in (HALF, scale))
    expected = at_two.scaled(*(float(Fraction(1, 2) / factor) for factor in scale)).rounded()
    assert (at_other.major, at_other.minor) == pytest.approx((expected.major, expected.minor), abs=0.01)


@pytest.mark.parametrize("name", PICTURES)
def test_a_sharp_picture_is_taken_for_bicubic(name: str) -> None:
    kernel, finding = find_kernel(damaged(name).pixels, HALF)
    assert (kernel, finding.words) == ("bicubic", "as sharp as bicubic interpolation leaves a picture")


def test_what_hides_the_kernel_is_said() -> None:
    compressed = zssr.load(EXAMPLES / "cat_compressed.jpg")
    plan = make_plan(compressed, make(scale=2))
    assert plan.notes[-1] == "the compression hides how it was made smaller: taken for bicubic"
    assert diagnose_for(compressed, (600, 902))[0].words == plan.notes[-1]
    tiny = Image(compressed.pixels[:, :64, :64])
    assert "too small, or too much" in make_plan(tiny, make(scale=2)).notes[-1]
    assert not make_plan(tiny, make(scale=2, kernel="bicubic")).notes


def test_a_plan_takes_the_kernel_that_was_found() -> None:
    picture = damaged("cat.png", Blur("gaussian:0.9"))
    plan = make_plan(picture, make(scale=2))
    (damage,) = plan.last.degradation.parts
    finding = plan.findings[0]
    assert damage == finding.damage
    assert not plan.notes
    assert make_plan(picture, make(scale=2, kernel="bicubic")).last.degradation.parts == (Downscale(HALF),)


def test_black_and_white_drawings_say_nothing() -> None:
    assert fit_spectrum(zssr.load(EXAMPLES / "coffee_scratches.png").pixels) is None


def test_the_right_kernel_is_worth_decibels() -> None:
    truth = zssr.load(EXAMPLES / "cat_compressed.jpg").pixels[None, :, :296, :440]
    small = Image(as_stored(Downscale(HALF, "gaussian:1.8").degrade(truth), 255)[0])
    scores = {}
    for kernel in ("auto", "bicubic", "gaussian:1.8"):
        scores[kernel] = psnr(zssr.restore(small, scale=2, kernel=kernel, num_epochs=0).image.pixels, truth[0])
    assert scores["auto"] > scores["bicubic"] + 1
    assert scores["auto"] > scores["gaussian:1.8"] - 0.5


# ---------------------------------------------------------------------------------------- at its own size


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("sigma", [1.2, 1.6, 2.4])
def test_softness_is_found(name: str, sigma: float) -> None:
    (blur,) = softness(damaged(name, Blur(f"gaussian:{sigma}")))
    found = Gaussian.named(str(blur.kernel))
    assert (found.major * found.minor) ** 0.5 == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("name", PICTURES)
def test_sharp_pictures_are_left_alone(name: str) -> None:
    assert not softness(damaged(name))
    assert not softness(damaged(name, Noise(10.0)))


def test_softness_is_undone_unasked() -> None:
    truth = zssr.load(EXAMPLES / "cat.png").pixels
    soft = damaged("cat.png", Blur("gaussian:1.6"))
    result = zssr.restore(soft, num_epochs=0)
    assert result.plan.undoes
    assert psnr(result.image.pixels, truth) > psnr(soft.pixels, truth) + 1
    assert not zssr.restore(soft, kernel="bicubic").plan.undoes
    assert not zssr.restore(soft, repair="none").plan.undoes


def test_softness_that_is_another_damage_is_not_undone_twice() -> None:
    soft = damaged("cat.png", Blur("gaussian:1.6"))
    assert [part.kind for part in make_plan(soft, make()).last.degradation.parts] == ["blur"]
    assert [part.kind for part in make_plan(soft, make(defocus=2.0)).last.degradation.parts] == ["defocus"]
    noisy = damaged("cat.png", Blur("gaussian:1.6"), Noise(12.0))
    assert "blur" not in [part.kind for part in make_plan(noisy, make()).last.degradation.parts]
    whole = Region(torch.ones(1, 1, 150, 225, dtype=torch.bool))
    pixelated = make_plan(damaged("cat.png", Mosaic(whole, (5, 5), (0, 0))), make())
    assert not [finding for finding in pixelated.findings if finding.sure and finding.kind == "softness"]


def test_softness_is_part_of_an_enlargement() -> None:
    soft = damaged("cat.png", Blur("gaussian:1.6"))
    plan = make_plan(soft, make(scale=2))
    assert [part.kind for part in plan.last.degradation.parts] == ["downscale"]
    assert "softness" not in [finding.kind for finding in plan.findings]
    assert not softness(damaged("cat.png", Defocus(1.0)))


# ------------------------------------------------------------------------------------- the command line


def test_diagnose_tells_and_saves_the_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, saved = tmp_path / "a.png", tmp_path / "kernel.npy"
    damaged("cat.png", Blur("gaussian:0.9")).pillow().save(picture)
    assert main(["diagnose", str(picture), "--scale", "2", "--save-kernel", str(saved)]) == 0
    assert "made smaller with a Gaussian of" in capsys.readouterr().out
    assert np.load(saved).sum() == pytest.approx(1)
    assert main(["diagnose", str(picture), "--scale", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"][0]
    assert found["damage"]["kernel"].startswith("gaussian:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save-kernel", "k.npy"], "save_kernel: give one picture, and --scale with the factor of the kernel"),
        (["--scale", "2", "--save-kernel", "k.gif"], "save_kernel k.gif: must end with .mat, .npy, .txt, .png"),
        (["--scale", "2", "--save-kernel", "a.png", "--overwrite"], "save_kernel a.png: is the picture itself"),
        (["--scale", "0.5"], "scale"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    damaged("cat.png").pillow().save("a.png")
    assert main(["diagnose", "a.png", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_kernel_file_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, saved = tmp_path / "a.png", tmp_path / "k.txt"
    damaged("cat.png").pillow().save(picture)
    saved.write_text("mine")
    arguments = ["diagnose", str(picture), "--scale", "2", "--save-kernel", str(saved)]
    assert main(arguments) == 2
    assert saved.read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert np.loadtxt(saved).shape == (8, 8)


# ------------------------------------------------------------------------------------- what must not happen


@pytest.mark.parametrize("sigma", [1.2, 1.6, 2.4])
def test_very_soft_pictures_are_not_taken_for_sharp(sigma: float) -> None:
    kernel, finding = find_kernel(damaged("cat.png", Blur(f"gaussian:{sigma}")).pixels, HALF)
    assert finding.sure
    gaussian = Gaussian.named(str(kernel))
    assert (gaussian.major * gaussian.minor) ** 0.5 == pytest.approx(2 * sigma, rel=0.15)


@pytest.mark.parametrize("sigma", [4.0, 6.0])
def test_nothing_sure_is_said_beyond_what_was_calibrated(sigma: float) -> None:
    picture = damaged("cat.png", Blur(f"gaussian:{sigma}"))
    assert find_kernel(picture.pixels, HALF)[0] == "bicubic"
    assert not find_kernel(picture.pixels, HALF)[1].sure
    assert not [finding for finding in diagnose(picture, {"softness"}) if finding.sure]


def written() -> Image:
    page = PIL.Image.new("L", (512, 512), 240)
    pen, font = PIL.ImageDraw.Draw(page), PIL.ImageFont.load_default(24)
    for row in range(16):
        pen.text((10, 10 + 30 * row), "The quick brown fox jumps over 123", fill=30, font=font)
    return from_pillow(page)


def test_text_is_neither_soft_nor_made_smaller_by_a_gaussian() -> None:
    page = written()
    assert not softness(page)
    assert find_kernel(page.pixels, HALF)[0] == "bicubic"
    assert find_kernel(damaged("before_after.png", Downscale(HALF)).pixels, HALF)[0] == "bicubic"


@pytest.mark.parametrize("settings", [{"blurred": "all:1.0"}, {"defocus": 1.5}])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_blur_that_is_given_is_not_undone_twice(settings: dict[str, Any], scale: int) -> None:
    plan = make_plan(damaged("cat.png", Blur("gaussian:1.0")), make(scale=scale, **settings))
    kernels = [part.point_spread for part in plan.last.degradation.parts if not isinstance(part, Downscale)]
    assert len(kernels) == 1
    assert all(part.kernel == "bicubic" for part in plan.last.degradation.parts if isinstance(part, Downscale))


def test_a_disc_is_a_point_spread() -> None:
    disc = Defocus(3.0).point_spread
    assert disc.sum() == pytest.approx(1)
    assert (disc > 0).sum().item() == pytest.approx(np.pi * 3**2, rel=0.35)


def test_a_kernel_that_may_be_round_is_round() -> None:
    plan = make_plan(damaged("cat.png", Blur("gaussian:0.8")), make(scale=2))
    assert len(plan.last.degradation.symmetries) == 8


def test_restore_and_diagnose_say_the_same() -> None:
    noisy = damaged("cat.png", Blur("gaussian:0.8"), Noise(8.0))
    plan = make_plan(noisy, make(scale=2))
    assert plan.findings[0] == diagnose_for(noisy, (300, 450))[0]
    notes = make_plan(damaged("cat.png", Blur("gaussian:1.5")), make(scale=2, repair="softness")).notes
    assert "no softness was found" not in notes


def test_a_scale_that_changes_nothing_has_no_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "a.png"
    damaged("cat.png").pillow().save(picture)
    assert main(["diagnose", str(picture), "--scale", "1.001", "--save-kernel", str(tmp_path / "k.npy")]) == 1
    assert "is not enlarged by --scale 1.001" in capsys.readouterr().err
    assert not (tmp_path / "k.npy").exists()


def test_sixteen_bits_are_read_as_eight() -> None:
    soft = Blur("gaussian:1.6").degrade(zssr.load(EXAMPLES / "cat.png").pixels[None])
    kernels = [softness(Image(as_stored(soft, peak)[0]))[0].kernel for peak in (255, 65535)]
    assert Gaussian.named(str(kernels[0])).major == pytest.approx(Gaussian.named(str(kernels[1])).major, rel=0.03)


@pytest.mark.parametrize("degradation", [Defocus(4.2), Blur(((1.0,) * 9,)), Noise(4.0)])
def test_what_is_no_gaussian_is_not_called_sharp(degradation: Degradation) -> None:
    pixels = damaged("cat.png", Blur("gaussian:1.5"), degradation).pixels
    kernel, finding = find_kernel(pixels, HALF)
    assert kernel != "bicubic" or not finding.sure


def test_a_kernel_too_wide_for_the_edges_is_made_narrower() -> None:
    (blur,) = softness(damaged("coffee.png", Blur("gaussian:2.0,0.9,30")))
    found = Gaussian.named(str(blur.kernel))
    assert 1.2 < found.major < 2.3
    assert found.minor < 1.4

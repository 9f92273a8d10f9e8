"""The whole method on small pictures, with little training."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data
import torch
from conftest import QUICK
from torch import Tensor

import zssr
from zssr import resources, restoration
from zssr.damages import Downscale
from zssr.damages.downscale import read_kernel
from zssr.dihedral import IDENTITY
from zssr.errors import Cancelled, DeviceError, KernelError, PictureError, SettingsError
from zssr.image import Image, from_array
from zssr.metrics import psnr_y
from zssr.plan import make_plan, sizes_on_the_way
from zssr.resample import fit, ratio
from zssr.settings import make


@pytest.fixture(scope="module")
def chelsea() -> Tensor:
    """96x120 pixels as the camera gave them."""
    return from_array(skimage.data.chelsea()[60:156, 120:240]).pixels


def quick(picture: Any, **settings: Any) -> zssr.Result:
    if "size" not in settings and "scale_factor" not in settings:
        settings = {"scale": 2, **settings}
    return zssr.restore(picture, **{**QUICK, **settings})


def test_learning_beats_bicubic(chelsea: Tensor) -> None:
    halving = Downscale(ratio((2, 2), (1, 1)))
    small = (halving.degrade(chelsea[None]) * 255).round().clamp(0, 255)[0] / 255
    result = zssr.restore(small, scale=2, num_epochs=250, model_width=24, precision="fp32")
    bicubic = fit(small, (96, 120))
    assert result.image.size == (96, 120)
    assert psnr_y(result.tensor(), chelsea, 2) > psnr_y(bicubic, chelsea, 2) + 0.4
    assert result.agreement.rms < 0.5
    assert result.agreement.worst < 5


def test_same_seed_same_bytes_another_seed_others(picture: Image) -> None:
    first, second = (quick(picture, seed=5, num_epochs=40).numpy() for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, quick(picture, seed=6, num_epochs=40, projection=False).numpy())


def test_nothing_of_one_picture_leaks_into_the_next(picture: Image, chelsea: Tensor) -> None:
    alone = quick(picture).numpy()
    quick(chelsea)
    assert np.array_equal(quick(picture).numpy(), alone)


def test_global_random_state_and_settings_are_untouched(picture: Image) -> None:
    torch.manual_seed(9)
    np.random.seed(9)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    threads, grad, dtype = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()
    quick(picture, noise=5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index, union-attr]
    assert (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()) == (threads, grad, dtype)


def test_threads_do_not_disturb_each_other(picture: Image) -> None:
    alone = quick(picture).numpy()
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(quick(picture).numpy())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, alone) for result in results)


@pytest.mark.parametrize("kernel", ["bicubic", "gaussian:1.3", "lopsided"])
@pytest.mark.parametrize("scale", ["2", "2.5", "2,3"])
def test_result_is_not_shifted(tmp_path: Any, chelsea: Tensor, kernel: str, scale: str) -> None:
    """Against the truth, by the centre of the correlation peak."""
    if kernel == "lopsided":
        table = np.zeros((6, 5))
        table[1:4, 0:3] = [[1, 2, 1], [4, 9, 2], [0, 3, 0]]
        kernel = str(tmp_path / "kernel.npy")
        np.save(kernel, table)
    factor = make(scale=scale).factor()
    assert factor is not None
    height, width = (length - length % part.numerator for length, part in zip((96, 120), factor, strict=True))
    truth = chelsea[:, :height, :width]
    small = Downscale((1 / factor[0], 1 / factor[1]), read_kernel(kernel)).degrade(truth[None])[0].clamp(0, 1)
    result = quick(small, scale=scale, kernel=kernel, num_epochs=60)
    assert result.image.size == (height, width)
    assert np.abs(shift(result.tensor().mean(0).numpy(), truth.mean(0).numpy())).max() < 0.05


def shift(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(vertical, horizontal) displacement in pixels from the phases of the low frequencies."""
    window = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1]))
    spectra = [np.fft.fft2((x - x.mean()) * window) for x in (a, b)]
    cross = spectra[0] * spectra[1].conj()
    v, h = np.meshgrid(np.fft.fftfreq(a.shape[0]), np.fft.fftfreq(a.shape[1]), indexing="ij")
    low = (np.hypot(v, h) < 0.12) & (np.hypot(v, h) > 0)
    weight = np.abs(cross[low])
    system = np.stack([v[low], h[low]], -1) * weight[:, None]
    return np.linalg.lstsq(system, -np.angle(cross[low]) / (2 * np.pi) * weight, rcond=None)[0]


def test_the_shift_measure_sees_a_twentieth_of_a_pixel(chelsea: Tensor) -> None:
    a = chelsea.mean(0).numpy()
    spectrum = np.fft.fft2(a) * np.exp(-2j * np.pi * np.fft.fftfreq(a.shape[1]) * 0.05)
    assert shift(np.fft.ifft2(spectrum).real, a) == pytest.approx([0, 0.05], abs=0.01)


@pytest.mark.parametrize("peak", [255, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_picture_stays_constant_to_the_bit(peak: int, channels: int) -> None:
    array = np.full((40, 44, channels), [peak // 3, 7, peak][:channels], np.uint8 if peak == 255 else np.uint16)
    result = quick(array[..., 0] if channels == 1 else array, scale=3)
    assert (result.numpy() == array[0, 0] if channels == 3 else result.numpy() == array[0, 0, 0]).all()


@pytest.mark.parametrize(
    ("scale", "size"), [("2", (128, 144)), ("2.5", (160, 180)), ("1,2", (64, 144)), ("1.3", (83, 94)), ("1", (64, 72))]
)
def test_sizes(picture: Image, scale: str, size: tuple[int, int]) -> None:
    assert quick(picture, scale=scale).image.size == size


def test_gradual_steps() -> None:
    assert sizes_on_the_way((100, 100), (200, 200)) == [(200, 200)]
    assert sizes_on_the_way((100, 100), (400, 400)) == [(150, 150), (200, 200), (300, 300), (400, 400)]
    assert sizes_on_the_way((100, 100), (300, 300)) == [(150, 150), (200, 200), (300, 300)]
    assert sizes_on_the_way((100, 100), (100, 400))[-1] == (100, 400)
    assert all(height == 100 for height, _ in sizes_on_the_way((100, 100), (100, 400)))


@pytest.mark.parametrize("quality", ["fast", "best"])
def test_gradual_enlarging(picture: Image, quality: str) -> None:
    result = quick(picture, scale=3, quality=quality)
    assert result.image.size == (192, 216)
    assert [step.size for step in result.plan.steps] == [(96, 108), (128, 144), (192, 216)]
    assert [report.steps for report in result.reports] == [20, 10, 10]
    assert result.agreement.rms < 1


def test_small_factors_are_learned_in_two_halves(picture: Image) -> None:
    plan = make_plan(picture, make(scale=2, num_epochs=21))
    assert [step.training_steps for step in plan.steps] == [11, 10]
    assert plan.steps[0].size == plan.steps[1].size == (128, 144)
    assert len(make_plan(picture, make(scale=2, budget=10)).steps) == 1  # the intermediate result costs time
    assert len(quick(picture).reports) == 2


def test_scale_one_keeps_the_picture_and_says_so(picture: Image) -> None:
    result = quick(picture, scale=1)
    assert np.array_equal(result.numpy(), picture.samples())
    assert any("nothing to repair or enlarge" in note for note in result.notes)
    assert result.unknown == "Every pixel is the input's own."
    with pytest.raises(SettingsError, match="scale 1"):
        quick(picture, scale=1, kernel="box")


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (15, 15)])
def test_tiny_pictures_are_enlarged_plainly_with_a_warning(scene: Tensor, size: tuple[int, int]) -> None:
    result = quick(Image(scene[:, : size[0], : size[1]]), scale=4)
    assert result.image.size == (4 * size[0], 4 * size[1])
    assert any("too small to learn from" in note for note in result.notes)


def test_smallest_picture_that_is_learned_from(scene: Tensor) -> None:
    assert quick(Image(scene[:, :16, :17]), scale=2).reports[0].steps == 10


def test_inputs_and_outputs_of_all_kinds(tmp_path: Any, picture: Image) -> None:
    pillow = picture.pillow()
    path = tmp_path / "a.png"
    pillow.save(path)
    expected = quick(picture).numpy()
    for source in (path, str(path), path.read_bytes(), pillow, np.array(pillow), picture.pixels):
        result = quick(source)
        assert np.array_equal(result.numpy(), expected)
    assert np.array_equal(np.array(result.pillow()), expected)
    assert result.tensor().shape == (3, 128, 144)
    result.save(tmp_path / "out.tiff")
    assert np.array_equal(zssr.load(tmp_path / "out.tiff").samples(), expected)
    for bad in (torch.zeros(2, 8, 8), torch.full((3, 8, 8), 2.0), torch.zeros(3, 0, 8), 5):
        with pytest.raises(PictureError):
            quick(bad)
    assert isinstance(result.pillow(), PIL.Image.Image)


def test_grey_and_16_bit_stay_so(scene: Tensor) -> None:
    array = (scene[0].numpy() * 65535).astype(np.uint16)
    result = quick(array)
    assert result.numpy().dtype == np.uint16
    assert result.numpy().shape == (128, 144)
    assert len(np.unique(result.numpy())) > 300


def test_one_channel_at_a_time(picture: Image) -> None:
    assert quick(picture, in_channels=1).image.pixels.shape == (3, 128, 144)


def test_transparency_has_no_fringes() -> None:
    """White beside hidden black: no visible pixel may turn grey."""
    array = np.zeros((40, 40, 4), np.uint8)
    array[:, 20:] = 255
    array[::2, 20:, 1] = 250  # a little detail to learn from
    result = quick(array).numpy()
    assert result.shape == (80, 80, 4)
    assert result[..., 0].min() >= 254
    assert result[:, :36, 3].max() == 0
    assert result[:, 44:, 3].min() == 255


def test_progress_and_cancelling(picture: Image) -> None:
    seen: list[zssr.Progress] = []
    quick(picture, scale=3, on_step=lambda progress: seen.append(progress))
    assert {progress.stage for progress in seen} == {"train", "apply"}
    assert [progress.stage_number for progress in seen] == sorted(progress.stage_number for progress in seen)
    assert seen[-1].stage_number == seen[-1].stages - 1
    assert seen[-1].fraction == 1
    assert [progress.whole for progress in seen] == sorted(progress.whole for progress in seen)
    with pytest.raises(Cancelled):
        quick(picture, num_epochs=100_000, on_step=lambda progress: progress.fraction < 1e-3)


def test_budget_is_kept(picture: Image) -> None:
    start = time.monotonic()
    result = quick(picture, num_epochs=1_000_000, budget=3)
    assert 1.5 < time.monotonic() - start < 4.5
    assert result.reports[0].stopped_by == "budget"


def test_the_ensemble_is_given_up_where_the_budget_has_no_time_for_it(
    picture: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = restoration.apply

    def apply(network: Any, base: Any, tile: Any, transforms: Any, *rest: Any) -> Any:
        seen.append(len(transforms))
        return real(network, base, tile, transforms, *rest)

    monkeypatch.setattr(restoration, "apply", apply)
    quick(picture, budget=60)
    monkeypatch.setattr(resources, "SECONDS_A_PIXEL", 1e-3)
    result = quick(picture, budget=10, scale=3)
    assert seen == [8, 1, 1, 1]  # one application within the large budget, three steps within the small one
    assert any("no time for the self-ensemble" in note for note in result.notes)


def test_any_state_of_the_callers_torch(picture: Image) -> None:
    expected = quick(picture).numpy()
    with torch.no_grad():
        assert np.array_equal(quick(picture).numpy(), expected)
    with torch.inference_mode():
        assert np.array_equal(quick(picture.pixels * 1.0).numpy(), expected)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(quick(picture).numpy(), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_diverged_training_is_not_used(picture: Image) -> None:
    result = quick(picture, lr=1.0, num_epochs=100, lr_decay_range=10_000, projection=False)
    assert not result.learned
    assert "interpolated" in result.unknown
    assert any("more steps" in note for note in result.notes)
    assert result.agreement.rms < 1


def test_settings_of_the_command_line_are_refused(picture: Image) -> None:
    with pytest.raises(SettingsError, match="output: is for the command line"):
        quick(picture, output="a.png")


def test_noise_switches_the_projection_off(picture: Image) -> None:
    plan = make_plan(picture, make(noise=10))
    assert not plan.projects
    assert make_plan(picture, make()).projects


def test_transforms_follow_the_kernel(tmp_path: Any, picture: Image) -> None:
    np.save(tmp_path / "k.npy", np.array([[1.0, 5.0, 0.0], [0.0, 1.0, 3.0]]))
    assert make_plan(picture, make(kernel=str(tmp_path / "k.npy"))).transforms == {IDENTITY}
    assert len(make_plan(picture, make(scale="2,3")).transforms) == 4
    assert len(make_plan(picture, make()).transforms) == 8
    assert make_plan(picture, make(ensemble=False)).transforms == {IDENTITY}


def test_a_plan_with_a_warm_start_is_not_taken_again(picture: Image) -> None:
    weights = quick(picture).weights
    plan = quick(picture, warm_start=weights).plan
    with pytest.raises(TypeError, match="make_plan"):
        zssr.restore(picture, plan=plan)
    with pytest.raises(TypeError, match="either"):
        zssr.restore(picture, plan=plan, scale=3)


def test_refused_before_work_starts(picture: Image) -> None:
    with pytest.raises(KernelError):
        quick(picture, kernel="missing.mat")
    with pytest.raises(DeviceError, match="device"):
        quick(picture, device="cuda:99")
    with pytest.raises(DeviceError, match="device"):
        quick(picture, device="toaster")
    huge = Image(torch.zeros(3, 1, 1).expand(3, 30_000, 30_000))
    with pytest.raises(DeviceError, match="GB"):
        make_plan(huge, make(scale=32))
    with pytest.raises(SettingsError, match="did you mean 'scale'"):
        zssr.restore(picture, scal=2)


def test_sidecar_is_complete_json(picture: Image) -> None:
    result = quick(picture, scale=3)
    sidecar = json.loads(json.dumps(result.sidecar(), allow_nan=False))
    assert json.loads(result.sidecar_json(time="now")) == {**sidecar, "time": "now"}
    assert sidecar["settings"]["scale"] == 3
    assert sidecar["seed"] == 0
    assert len(sidecar["training"]) == 3
    assert sidecar["agreement"]["rms"] == result.agreement.rms
    assert "estimate" in sidecar["unknown"]


def test_agreement_is_what_a_reader_would_compute(picture: Image) -> None:
    result = quick(picture)
    saved = torch.from_numpy(result.numpy().astype(np.float32)).permute(2, 0, 1) / 255
    again = Downscale(ratio((2, 2), (1, 1))).degrade(saved[None])[0]
    difference = (again - picture.pixels) * 255
    assert result.agreement.rms == pytest.approx(difference.square().mean().sqrt().item(), abs=1e-3)
    assert result.agreement.worst == pytest.approx(difference.abs().max().item(), abs=1e-3)


def test_flat_picture_with_one_constant_channel(picture: Image) -> None:
    """A channel without detail beside others with detail stays within rounding of its value."""
    pixels = picture.pixels.clone()
    pixels[2] = 0.5
    result = quick(Image(pixels), num_epochs=200)
    assert (result.tensor()[2] - 0.5).abs().mean() < 1 / 255

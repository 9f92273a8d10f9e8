"""The laws that hold for every degradation, and what holds for single ones."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import Tensor

from zssr.degrade import DEGRADATIONS, Chain, Degradation, Downscale, Noise, from_json
from zssr.degrade.downscale import read_kernel
from zssr.errors import KernelError, SettingsError
from zssr.image import dihedral

HALF = (Fraction(1, 2), Fraction(1, 2))
LOPSIDED = ((0.0, 0.1, 0.3, 0.1), (0.0, 0.2, 0.1, 0.0), (0.2, 0.0, 0.0, 0.0))  # 3x4, no symmetry

EXAMPLES: dict[str, Degradation] = {
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
    "noisy downscale": Chain((Downscale(HALF), Noise(3.0))),
    "chain of one": Chain((Downscale(HALF, "gaussian:0.8"),)),
}


@pytest.fixture(params=EXAMPLES)
def degradation(request: pytest.FixtureRequest) -> Degradation:
    return EXAMPLES[request.param]


@pytest.fixture
def x(scene: Tensor) -> Tensor:
    return scene[None, :, :60, :60]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_every_class_has_an_example() -> None:
    assert {example.to_json()["name"] for example in EXAMPLES.values()} == set(DEGRADATIONS)


def test_size_is_as_promised(degradation: Degradation, scene: Tensor) -> None:
    for height, width in ((60, 60), (37, 50), (5, 4)):
        y = degradation.degrade(scene[None, :, :height, :width], seeded())
        assert y.shape[-2:] == degradation.out_size((height, width))
        assert degradation.base(y, (height, width)).shape[-2:] == (height, width)


def test_same_rng_same_result_and_input_untouched(degradation: Degradation, x: Tensor) -> None:
    before = x.clone()
    first, second = degradation.degrade(x, seeded()), degradation.degrade(x, seeded())
    assert torch.equal(first, second)
    base = degradation.base(first, (60, 60))
    degradation.project(base, first)
    assert torch.equal(first, second)
    assert torch.equal(x, before)


def test_constants_stay(degradation: Degradation) -> None:
    if degradation.noisy:
        pytest.skip("noise changes constants")
    y = degradation.degrade(torch.full((1, 1, 60, 60), 0.37), seeded())
    assert (y - 0.37).abs().max() < 1e-6
    assert (degradation.base(y, (60, 60)) - 0.37).abs().max() < 1e-6


def test_declared_symmetries_hold(degradation: Degradation, x: Tensor) -> None:
    assert 0 in degradation.symmetries
    if degradation.noisy:
        degradation = getattr(degradation, "parts", [Noise(0)])[0]
    for move in degradation.symmetries:
        after = dihedral(degradation.degrade(x, seeded()), move)
        before = degradation.degrade(dihedral(x, move), seeded())
        assert (after - before).abs().max() < 1e-4, move


def test_undeclared_symmetries_do_not_hold() -> None:
    x = torch.rand(1, 1, 60, 60, generator=seeded())
    for degradation in (EXAMPLES["lopsided"], EXAMPLES["anisotropic"]):
        for move in set(range(8)) - degradation.symmetries:
            after = dihedral(degradation.degrade(x, seeded()), move)
            before = degradation.degrade(dihedral(x, move), seeded())
            assert after.shape != before.shape or (after - before).abs().max() > 1e-2


def test_symmetries_are_the_expected_ones() -> None:
    assert EXAMPLES["lopsided"].symmetries == {0}
    assert EXAMPLES["anisotropic"].symmetries == {0, 2, 4, 6}
    assert EXAMPLES["gaussian"].symmetries == set(range(8))
    ellipse = tuple(tuple(np.exp(-(i**2) / 2 - j**2 / 8) for j in range(-4, 5)) for i in range(-4, 5))
    assert Downscale(HALF, ellipse).symmetries == {0, 2, 4, 6}


def test_projection_lowers_the_misfit_and_is_idempotent(degradation: Degradation, x: Tensor) -> None:
    y = degradation.degrade(x, seeded()).clamp(0, 1)
    guess = 0.9 * degradation.base(y, (60, 60)).clamp(0, 1) + 0.03
    projected = degradation.project(guess, y)
    if degradation.noisy:
        assert torch.equal(projected, guess)
        return

    def misfit(z: Tensor) -> float:
        return (degradation.degrade(z, seeded()) - y).square().mean().sqrt().item()

    assert misfit(projected) < 0.35 * misfit(guess)
    assert misfit(projected) <= 0.2888 / 255
    assert torch.equal(degradation.project(projected, y), projected)


def test_json_and_back(degradation: Degradation) -> None:
    assert from_json(json.loads(json.dumps(degradation.to_json()))) == degradation


@pytest.mark.parametrize("name", [n for n, e in EXAMPLES.items() if not e.noisy])
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

"""Filtering in groups of like patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import make_scene
from zssr.damages import Noise
from zssr.patch_groups import DCT_SIDE, GROUP, REACH, STEP, _haar, _like_patches, collaborative


def white(channels: int, sigma: float) -> Tensor:
    return torch.full((channels, DCT_SIDE**2), (sigma / 255) ** 2)


def psnr(x: Tensor, y: Tensor) -> float:
    return float(-10 * (x - y).square().mean().log10())


def test_like_patches_are_found_and_none_are_outside() -> None:
    """Of a picture that repeats every 8 pixels, all members of a group are alike."""
    tile = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    guide = tile.repeat(8, 9)[None, None]
    members = _like_patches(guide, (0, guide.shape[-2] - DCT_SIDE + STEP))
    columns = guide.shape[-1] - DCT_SIDE + 1
    patches = guide[0, 0].unfold(0, DCT_SIDE, 1).unfold(1, DCT_SIDE, 1).flatten(2).flatten(0, 1)
    assert len(members) == GROUP
    middle = len(range(0, columns, STEP)) * 7 + 8
    unlike = (patches[members[:, middle]] - patches[members[0, middle]]).abs().amax(1)
    assert (unlike < 1e-6).sum() >= 25  # as many as there are within reach
    rows, across = members // columns, members % columns
    own_rows = torch.arange(0, guide.shape[-2] - DCT_SIDE + 1, STEP).repeat_interleave(17)
    assert ((rows - own_rows).abs() <= REACH).all()
    assert (across >= 0).all()
    assert (members == own_rows * columns + torch.arange(0, columns, STEP).repeat(15)).any(0).all()  # itself


def test_better_than_windows_alone() -> None:
    whole = make_scene(120, 136)[None]
    noise = Noise(25.0)
    y = noise.degrade(whole, torch.Generator().manual_seed(0))
    size = (120, 136)
    base, thorough = noise.base(y, size), noise.thorough_base(y, size)
    assert psnr(thorough, whole) > psnr(base, whole) + 0.3
    assert psnr(base, whole) > psnr(y, whole) + 8


def test_little_noise_leaves_the_picture() -> None:
    x = make_scene(64, 72)[None]
    assert (collaborative(x, x, white(3, 0.01)) - x).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (9, 100), (41, 33)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(size: tuple[int, int], channels: int) -> None:
    x = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))
    result = Noise(10.0).thorough_base(x, size)
    assert result.shape == x.shape
    assert result.isfinite().all()


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x = make_scene(120, 64)[None]
    y = Noise(15.0).degrade(x, torch.Generator().manual_seed(0))
    whole = collaborative(y, x, white(3, 15))
    monkeypatch.setattr("zssr.patch_groups.BAND", 16)
    monkeypatch.setattr("zssr.patch_groups.CHUNK", 50)
    assert (collaborative(y, x, white(3, 15)) - whole).abs().max() < 1e-4


def test_the_transform_along_a_group_keeps_lengths() -> None:
    matrix = _haar(GROUP, torch.device("cpu"))
    assert torch.allclose(matrix @ matrix.T, torch.eye(GROUP), atol=1e-5)
    assert torch.allclose(matrix[0], torch.full((GROUP,), GROUP**-0.5))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_and_clipped_areas(level: float) -> None:
    """Of many patches that are quite alike each is in its own group, so that every pixel is covered."""
    x = torch.full((1, 3, 100, 100), level)
    assert torch.allclose(Noise(25.0).thorough_base(x, (100, 100)), x, atol=1e-5)
    x[..., 60:, 60:] = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert Noise(20.0).thorough_base(x, (100, 100)).isfinite().all()

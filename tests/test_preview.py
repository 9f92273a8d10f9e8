"""Previews while a picture is learned, and the spread of the ensemble."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import zssr.preview
from zssr import Image, restore
from zssr.preview import PREVIEW_SIDE
from zssr.settings import make

SETTINGS = make(scale=2, num_epochs=60, repair="none", crop_size=48)


def test_previews_are_parts_of_the_result_and_change_nothing(picture: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zssr.preview, "PREVIEW_EVERY", 0.0)
    monkeypatch.setattr(zssr.preview, "PREVIEW_SHARE", 1.0)
    seen: list[tuple[Tensor, Tensor]] = []
    result = restore(picture, SETTINGS, on_preview=lambda now, before: seen.append((now, before)))
    plain = restore(picture, SETTINGS)
    assert torch.equal(result.image.pixels, plain.image.pixels)
    assert len(seen) > 2
    for now, before in seen:
        assert now.shape == before.shape == result.image.pixels.shape
        assert now.min() >= 0
        assert now.max() <= 1
    error = [(now - result.image.pixels).abs().mean() for now, _ in seen]
    assert error[-1] < 0.5 * (seen[-1][1] - result.image.pixels).abs().mean() + 1e-3, "near the end it is nearly done"
    assert error[-1] < error[0]


def test_a_preview_of_a_large_result_is_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zssr.preview, "PREVIEW_EVERY", 0.0)
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 30, 40, generator=rng)
    pixels = torch.nn.functional.interpolate(coarse, size=(240, 330), mode="bicubic").clamp(0, 1)[0]
    large = Image((pixels * 255).round() / 255)
    seen: list[tuple[Tensor, Tensor]] = []
    result = restore(large, make(scale=2, num_epochs=20, repair="none"), on_preview=lambda *pair: seen.append(pair))
    height, width = result.image.size
    top, left = (height - PREVIEW_SIDE) // 4 * 2, (width - PREVIEW_SIDE) // 4 * 2
    middle = result.image.pixels[:, top : top + PREVIEW_SIDE, left : left + PREVIEW_SIDE]
    assert seen[0][1].shape == (3, PREVIEW_SIDE, PREVIEW_SIDE)
    assert (seen[0][1] - middle).abs().mean() < 0.02


def test_spread_is_where_flips_and_rotations_differ(picture: Image) -> None:
    result = restore(picture, SETTINGS, spread=True)
    assert result.learned
    assert result.spread is not None
    assert result.spread.shape == (1, *result.image.size)
    assert result.spread.min() >= 0
    assert 1e-5 < result.spread.mean() < 0.05
    assert restore(picture, SETTINGS).spread is None
    assert restore(picture, make(scale=2, num_epochs=60, repair="none", ensemble=False), spread=True).spread is None
    assert restore(picture, make(scale=2, num_epochs=0, repair="none"), spread=True).spread is None

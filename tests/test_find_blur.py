"""Blurred rectangles are found where they are, and blurred as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import photo
from scipy import ndimage

from zssr.damages.blur.find import find_blur


@pytest.mark.parametrize("sigma", [4, 6, 10])
def test_rectangle(sigma: float) -> None:
    pixels = photo("astronaut.png").clone()
    soft = torch.from_numpy(ndimage.gaussian_filter(pixels.numpy(), (0, sigma, sigma)))
    pixels[:, 60:180, 50:210] = (soft[:, 60:180, 50:210] * 255).round() / 255
    (found,) = find_blur(pixels)
    borders = (found.top, found.left, found.top + found.height, found.left + found.width)
    assert borders == pytest.approx((60, 50, 180, 210), abs=2)
    assert found.sigma == pytest.approx(sigma, rel=0.25)
    assert 0.65 <= found.confidence <= 1


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "astronaut.png"])
def test_photographs_hold_none(name: str) -> None:
    assert find_blur(photo(name)) == []


def test_softly_bordered_is_none(rng: torch.Generator) -> None:
    detail = torch.rand(1, 256, 256, generator=rng)
    soft = torch.from_numpy(ndimage.gaussian_filter(detail.numpy(), (0, 4, 4)))
    rows, columns = np.mgrid[:256, :256]
    share = torch.from_numpy(np.clip((np.hypot(rows - 128, columns - 128) - 50) / 50, 0, 1)).float()
    assert find_blur(((detail * share + soft * (1 - share)) * 255).round() / 255) == []


def test_drawn_or_tiny(rng: torch.Generator) -> None:
    paper = torch.rand(1, 120, 120, generator=rng)
    paper[:, 30:90, 30:90] = 1
    for pixels in (paper, torch.zeros(1, 1, 1), torch.ones(3, 64, 64)):
        assert find_blur(pixels) == []

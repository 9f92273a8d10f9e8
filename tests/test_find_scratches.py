"""Scratches are marked, and little else."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch
from conftest import PICTURES

from zssr.damages.missing.find import find_scratches
from zssr.files import load


@pytest.mark.parametrize("brightness", [0.02, 0.95])
def test_scratched_grey_photograph(brightness: float) -> None:
    size = (300, 240)
    canvas = PIL.Image.new("1", size)
    pen = PIL.ImageDraw.Draw(canvas)
    pen.line([(30, 40), (90, 70), (140, 130)], fill=1, width=2)
    pen.line([(200, 20), (215, 160)], fill=1, width=1)
    scratch = torch.from_numpy(np.array(canvas))
    rows = torch.linspace(0.4, 0.6, size[1])[:, None].expand(size[1], size[0])
    pixels = torch.where(scratch, brightness, rows)[None]
    found = find_scratches(pixels)
    assert found.dtype == torch.bool
    assert found.shape == pixels.shape[-2:]
    assert (found & scratch).sum() > 0.9 * scratch.sum()
    assert found.sum() < 4 * scratch.sum()


def test_edges_are_none() -> None:
    pixels = torch.full((1, 120, 120), 0.3)
    pixels[:, :, 60:] = 0.8
    assert not find_scratches(pixels).any()


@pytest.mark.parametrize("name", ["cat.png", "coffee.png"])
def test_clean_photographs(name: str) -> None:
    assert find_scratches(load(PICTURES / name).pixels[:3]).float().mean() < 0.005


def test_tiny() -> None:
    found = find_scratches(torch.ones(3, 1, 1))
    assert found.shape == (1, 1)
    assert not found.any()

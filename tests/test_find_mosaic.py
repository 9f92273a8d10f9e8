"""Mosaics are found to the pixel, and nothing else is taken for one."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import compressed, photo
from torch import Tensor

from zssr.damages.mosaic.find import find_mosaics
from zssr.image import Image


def pixelated(
    pixels: Tensor, top: int, left: int, height: int, width: int, cell: tuple[int, int], phase: tuple[int, int]
) -> Tensor:
    result = pixels.clone()
    part = result[:, top : top + height, left : left + width]
    rows = (torch.arange(top, top + height) - phase[0]) // cell[0]
    columns = (torch.arange(left, left + width) - phase[1]) // cell[1]
    for row in rows.unique():
        for column in columns.unique():
            inside = (rows == row)[:, None] & (columns == column)[None, :]
            part[:, inside] = (part[:, inside].mean(dim=1, keepdim=True) * 255).round() / 255
    return result


def after_compression(pixels: Tensor, quality: int) -> Tensor:
    file = io.BytesIO(compressed(Image(pixels), quality))
    return torch.from_numpy(np.array(PIL.Image.open(file))).permute(2, 0, 1) / 255


@pytest.mark.parametrize(
    ("box", "cell", "phase"),
    [
        ((100, 120, 150, 170), (8, 8), (4, 0)),
        ((101, 121, 150, 170), (6, 9), (3, 5)),
        ((120, 200, 24, 24), (4, 4), (0, 0)),
        ((10, 20, 250, 300), (32, 32), (5, 11)),
        ((0, 0, 300, 450), (16, 16), (0, 0)),
    ],
)
def test_exact(box: tuple[int, int, int, int], cell: tuple[int, int], phase: tuple[int, int]) -> None:
    (found,) = find_mosaics(pixelated(photo("cat.png"), *box, cell, phase))
    assert (found.top, found.left, found.height, found.width) == box
    assert (found.cell, found.phase) == (cell, phase)
    assert found.confidence > 0.9


def test_two_of_them() -> None:
    pixels = pixelated(photo("coffee.png"), 20, 40, 90, 90, (5, 5), (0, 0))
    found = find_mosaics(pixelated(pixels, 120, 230, 130, 140, (11, 11), (4, 8)))
    assert {(one.top, one.left, one.height, one.width, one.cell, one.phase) for one in found} == {
        (20, 40, 90, 90, (5, 5), (0, 0)),
        (120, 230, 130, 140, (11, 11), (4, 8)),
    }


def test_after_compression() -> None:
    (found,) = find_mosaics(after_compression(pixelated(photo("cat.png"), 100, 120, 150, 170, (10, 10), (3, 4)), 90))
    assert (found.cell, found.phase) == ((10, 10), (3, 4))
    borders = (found.top, found.left, found.top + found.height, found.left + found.width)
    assert borders == pytest.approx((100, 120, 250, 290), abs=2)


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "astronaut.png"])
def test_photographs_are_none(name: str) -> None:
    assert find_mosaics(photo(name)) == []
    for quality in (10, 50):
        assert find_mosaics(after_compression(photo(name), quality)) == []


def test_drawings_are_none(rng: torch.Generator) -> None:
    rows, columns = torch.meshgrid(torch.arange(120), torch.arange(150), indexing="ij")
    gradient = torch.stack([rows // 3, columns // 3, rows // 3 + columns // 3]) / 255
    for pixels in (gradient, torch.zeros(1, 1, 1), torch.ones(3, 64, 64), torch.rand(1, 13, 200, generator=rng)):
        assert find_mosaics(pixels) == []

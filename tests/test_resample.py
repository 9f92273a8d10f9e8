from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from zssr.resample import KERNELS, fit, ratio, resize


def imresize_line(values: list[float], scale: Fraction, length: int) -> list[float]:
    """MATLAB's imresize of one row with the default kernel, written out from its definition."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    shrink = min(1.0, float(scale))
    out = []
    for i in range(length):
        centre = (i + 0.5) / float(scale) - 0.5
        first, last = math.floor(centre - 2 / shrink), math.ceil(centre + 2 / shrink)
        total, weight_sum = 0.0, 0.0
        for j in range(first, last + 1):
            weight = cubic((centre - j) * shrink)
            mirrored = j
            while not 0 <= mirrored < len(values):
                mirrored = -1 - mirrored if mirrored < 0 else 2 * len(values) - 1 - mirrored
            total += weight * values[mirrored]
            weight_sum += weight
        out.append(total / weight_sum)
    return out


@pytest.mark.parametrize("scale", ["1/2", "1/3", "1/4", "2", "3", "3/2", "2/3", "5/2", "7/10"])
def test_resize_equals_imresize_borders_included(scale: str) -> None:
    factor = Fraction(scale)
    values = torch.rand(11, generator=torch.Generator().manual_seed(3)).tolist()
    length = math.ceil(11 * factor)
    expected = imresize_line(values, factor, length)
    row = torch.tensor(values)[None, None, None]
    across = resize(row, (Fraction(1), factor), (1, length))[0, 0, 0]
    down = resize(row.mT, (factor, Fraction(1)), (length, 1))[0, 0, :, 0]
    assert across.tolist() == pytest.approx(expected, abs=1e-6)
    assert down.tolist() == pytest.approx(expected, abs=1e-6)


def test_half_size_weights_are_the_published_ones() -> None:
    """A single bright pixel far from the border spreads by the antialiased cubic's weights at factor 1/2."""
    row = torch.zeros(1, 1, 1, 32)
    row[..., 16] = 1
    out = resize(row, (Fraction(1), Fraction(1, 2)), (1, 16))[0, 0, 0]
    assert out[6:11].tolist() == pytest.approx([-0.01171875, 0.11328125, 0.43359375, -0.03515625, 0.0], abs=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(5, 7), (40, 33), (21, 64)])
def test_constants_stay(kernel: str, size: tuple[int, int]) -> None:
    x = torch.full((1, 1, 20, 31), 0.7)
    assert (fit(x, size, kernel) - 0.7).abs().max() < 1e-6


def test_whole_picture_resize_commutes_with_flips() -> None:
    x = torch.rand(1, 1, 17, 23)
    assert torch.allclose(fit(x.flip(-1, -2), (40, 37)), fit(x, (40, 37)).flip(-1, -2), atol=1e-6)


def test_input_is_not_changed_and_same_size_is_exact() -> None:
    x = torch.rand(1, 3, 9, 8)
    copy = x.clone()
    assert torch.equal(fit(x, (9, 8)), x)
    fit(x, (30, 4))
    assert torch.equal(x, copy)


def test_ratio_is_exact() -> None:
    assert ratio((3, 7), (10, 21)) == (Fraction(10, 3), Fraction(3))


def test_pictures_smaller_than_the_kernel() -> None:
    assert torch.allclose(fit(torch.full((1, 1, 1, 1), 0.3), (9, 9)), torch.full((1, 1, 9, 9), 0.3))
    assert fit(torch.rand(1, 1, 2, 3), (1, 1)).shape == (1, 1, 1, 1)

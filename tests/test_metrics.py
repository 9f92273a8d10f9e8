from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from zssr.metrics import luma, psnr_y, ssim_y, to_8_bit


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("border", [0, 2, 4])
@pytest.mark.parametrize("strength", [0.01, 0.1])
def test_against_scikit_image(channels: int, border: int, strength: float) -> None:
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(channels, 40, 50, generator=generator)
    result = truth + strength * torch.randn(truth.shape, generator=generator)

    def prepared(x: torch.Tensor) -> np.ndarray:
        samples = (x.clamp(0, 1).double().numpy() * 255).round()
        if channels == 3:
            samples = 16 + np.tensordot(np.array([65.481, 128.553, 24.966]) / 255, samples, 1)[None]
        plane = samples[0]
        return plane[border : plane.shape[0] - border, border : plane.shape[1] - border]

    x, y = prepared(result), prepared(truth)
    assert psnr_y(result, truth, border) == pytest.approx(peak_signal_noise_ratio(y, x, data_range=255), abs=1e-4)
    expected, field = structural_similarity(
        y, x, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    # scikit-image cuts its own border of 5 before the mean, as the definition does.
    assert expected == pytest.approx(field[5:-5, 5:-5].mean(), abs=1e-12)
    assert ssim_y(result, truth, border) == pytest.approx(expected, abs=1e-4)


def test_equal_pictures() -> None:
    x = torch.rand(3, 16, 16)
    assert psnr_y(x, x, 2) == math.inf
    assert ssim_y(x, x, 2) == pytest.approx(1)


def test_luma_range_is_16_to_235() -> None:
    black_and_white = to_8_bit(torch.tensor([0.0, 1.0]).expand(3, 1, 2))
    assert luma(black_and_white)[0].tolist() == pytest.approx([16, 235])


def test_small_pictures_have_no_ssim() -> None:
    assert math.isnan(ssim_y(torch.rand(1, 12, 12), torch.rand(1, 12, 12), 2))

"""Photographs on white, frames and captions: no outlines where they are enlarged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import zssr
from tests.conftest import QUICK, make_scene, photo
from zssr.hard_edges import BAND, FREEDOM, calmed
from zssr.image import Image
from zssr.resample import fit


def pasted(level: float) -> Tensor:
    """(1, 3, 80, 90): a photograph of 40x50 on white or black."""
    canvas = torch.full((1, 3, 80, 90), level)
    canvas[..., 20:60, 20:70] = photo("cat.png")[None, :, 30:70, 60:110]
    return canvas


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("scale", [2, 3])
def test_no_outline(level: float, scale: int) -> None:
    picture = pasted(level)
    result = zssr.restore(Image(picture[0]), scale=scale, kernel="bicubic", **QUICK).image.pixels[None]
    plain = fit(picture, (80 * scale, 90 * scale)).clamp(0, 1)
    outline = torch.zeros(80 * scale, 90 * scale, dtype=torch.bool)
    outline[18 * scale : 62 * scale, 18 * scale : 72 * scale] = True
    outline[22 * scale : 58 * scale, 22 * scale : 68 * scale] = False
    # A dark picture on black has no hard edge; rounding adds half a level.
    hard = (picture[..., 20:60, 20:70] - level).abs().amax() > 0.5
    assert hard
    differences = (result - plain).abs()[..., outline]
    assert differences.quantile(0.95) <= FREEDOM + 0.6 / 255
    if level:
        assert differences.max() <= FREEDOM + 0.6 / 255
        blank = result[..., : 14 * scale, :]
        assert (blank - level).abs().max() < 1e-5


def test_photographs_are_left_alone() -> None:
    scene = make_scene(60, 70)[None]
    result = torch.rand(1, 3, 120, 140)
    assert calmed(result, scene, fit(scene, (120, 140))) is result
    bright = (scene * 1.8).clamp(0, 1)  # highlights that fade
    changed = calmed(result, bright, fit(bright, (120, 140))) != result
    assert changed.float().mean() < 0.05


def test_only_beside_the_edge() -> None:
    picture = torch.ones(1, 1, 40, 60)
    picture[..., 30:] = 0.4
    plain = fit(picture, (80, 120)).clamp(0, 1)
    result = plain + 0.2
    changed = (calmed(result, picture, plain) != result)[0, 0].any(0).nonzero().flatten()
    assert int(changed.max()) == 2 * (30 + BAND + 1) - 1
    assert np.isclose(float((calmed(result, picture, plain) - plain)[..., 60:66].max()), FREEDOM)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_white_hole_is_filled(level: float, tmp_path: Path) -> None:
    """And not taken for a blank page."""
    whole = make_scene(64, 72)
    mask = torch.zeros(1, 64, 72)
    mask[:, 20:40, 24:44] = 1
    zssr.save(Image(mask), tmp_path / "mask.png")
    damaged = torch.where(mask > 0, torch.tensor(level), whole)
    result = zssr.restore(
        Image(damaged), scale=2, kernel="bicubic", repair="none", mask=str(tmp_path / "mask.png"), **QUICK
    )
    middle = result.image.pixels[:, 56:64, 64:72]
    assert (middle - level).abs().min() > 0.05

"""Pairs of a picture with itself."""

from __future__ import annotations

import torch
from conftest import make_scene
from torch import Tensor

from zssr.damages import Chain, Degradation, Downscale, Jpeg, Mosaic, Noise, Region
from zssr.damages.jpeg.tables import standard_tables
from zssr.examples import Analytic, Estimator, Examples, draw_pair, make_pair
from zssr.pyramid import Pyramid
from zssr.resample import Size, ratio

HALF = Downscale(ratio((2, 2), (1, 1)))
CPU = torch.device("cpu")


def test_sons_are_rounded_as_the_file_holds_them(scene: Tensor, rng: torch.Generator) -> None:
    for damage in (Chain((HALF,)), Chain((HALF, Noise(20.0)))):
        for peak in (255, 65535):
            son = make_pair(scene[None], None, damage, peak, rng).son
            levels = son.double() * peak
            assert (levels - levels.round()).abs().max() < 0.01
            assert son.shape == (1, 3, 32, 36)
    plain = HALF.degrade(scene[None]) * 255
    assert (plain - plain.round()).abs().max() > 0.1  # it would not be so otherwise


def test_only_undamaged_pixels_that_are_damaged_here_count(scene: Tensor, rng: torch.Generator) -> None:
    region = Region.rectangle((64, 72), 10, 12, 24, 32)
    mosaic = Chain((Mosaic(region, (8, 8), (2, 4)),))
    undamaged = torch.ones(1, 1, 64, 72)
    undamaged[..., :20, :] = 0
    pair = make_pair(scene[None], undamaged, mosaic, 255, rng)
    expected = region.pixels & (undamaged > 0)
    assert torch.equal(pair.weight > 0, expected)
    assert len(pair.weight[expected].unique()) == 1
    assert torch.isclose(pair.weight.mean(), torch.tensor(1.0))
    assert make_pair(scene[None], None, Chain((HALF,)), 255, rng).weight.expand(1, 1, 64, 72).eq(1).all()
    nothing = make_pair(scene[None], torch.zeros(1, 1, 64, 72), mosaic, 255, rng)
    assert not nothing.weight.any()


def test_the_same_numbers_draw_the_same_pair(scene: Tensor) -> None:
    region = Region.rectangle((64, 72), 10, 12, 24, 32)
    damage = Chain((Mosaic(region, (8, 8), (2, 4)),))
    pyramid = Pyramid(scene[None], undamaged=(~region.pixels).float())
    first, again, other = (
        draw_pair(pyramid, damage, 2, 32, 255, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert first.father.shape == (2, 3, 32, 32)
    assert torch.equal(first.father, again.father)
    assert torch.equal(first.son, again.son)
    assert torch.equal(first.weight, again.weight)
    assert first.damage == again.damage
    assert not torch.equal(first.father, other.father)
    assert first.damage.mask((32, 32)) is not None


def test_the_network_sees_the_first_estimate_and_the_hints(rng: torch.Generator) -> None:
    pyramid = Pyramid(make_scene(64, 64)[None])
    for damage in (Chain((HALF,)), Chain((HALF, Jpeg(standard_tables(30), "4:4:4")))):
        example = Examples(pyramid, damage, Analytic(), 255, rng).draw(2, 32, CPU)
        assert example.father.shape == example.base.shape == (2, 3, 32, 32)
        assert example.network_input.shape == (2, 3 + damage.hint_channels(3), 32, 32)
        assert torch.equal(example.network_input[:, :3], example.base)
        assert (example.base - example.father).abs().mean() < 0.1


def test_an_estimator_decides_what_is_learned_on(scene: Tensor, rng: torch.Generator) -> None:
    class Stronger(Estimator):
        def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
            return part.base(y, size) * 1.1

    damage = Chain((Noise(5.0), Jpeg(standard_tables(30), "4:4:4")))
    pair = make_pair(scene[None], None, damage, 255, rng)
    plain, stronger = (pair.example(estimator) for estimator in (Analytic(), Stronger()))
    assert torch.equal(plain.base, damage.base(pair.son, (64, 72)))
    assert stronger.base.mean() > 1.15 * plain.base.mean()  # by both parts
    # The compression's hints are those of the son, the noise's of what the estimator makes of the compression.
    of_jpeg, of_noise = slice(3, 8), slice(8, 11)
    assert torch.equal(stronger.network_input[:, of_jpeg], plain.network_input[:, of_jpeg])
    assert torch.allclose(stronger.network_input[:, of_noise], 1.1 * plain.network_input[:, of_noise], atol=1e-5)

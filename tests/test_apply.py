from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zssr import apply as apply_module
from zssr.apply import Seen, apply, padded_pixels
from zssr.device import Compute
from zssr.dihedral import ALL_EIGHT, FLIPS, IDENTITY, dihedral, dihedral_inverse
from zssr.errors import DeviceError
from zssr.network import Network
from zssr.plan import DEFAULT_TILE

CPU = Compute(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def network() -> Network:
    network = Network(3, 8, 5, rng=torch.Generator().manual_seed(4))
    with torch.no_grad():
        network.tail.weight.mul_(10)  # so that an error would be seen
    return network


def seen(base: Tensor, mask: Tensor | None = None) -> Seen:
    """Without hints."""
    return Seen(base, base[:, :0], mask)


def run(network: Network, base: Tensor, tile: int, transforms: frozenset[int] = frozenset({IDENTITY})) -> Tensor:
    return apply(network, seen(base), tile, transforms, CPU).pixels


@pytest.mark.parametrize("tile", [16, 22, 40])
@pytest.mark.parametrize("transforms", [frozenset({IDENTITY}), FLIPS, ALL_EIGHT])
def test_tiled_equals_untiled(network: Network, scene: Tensor, tile: int, transforms: frozenset[int]) -> None:
    base = scene[None]
    assert (run(network, base, tile, transforms) - run(network, base, DEFAULT_TILE, transforms)).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (7, 7), (33, 18)])
def test_odd_sizes_and_pictures_smaller_than_the_halo(network: Network, scene: Tensor, size: tuple[int, int]) -> None:
    base = scene[None, :, : size[0], : size[1]]
    whole = run(network, base, 512)
    assert whole.shape == base.shape
    assert (run(network, base, 16) - whole).abs().max() < 1e-5


def test_ensemble_commutes_with_the_transforms(network: Network, scene: Tensor) -> None:
    base = scene[None]
    for transform in range(8):
        turned = run(network, dihedral(base, transform), 512, ALL_EIGHT)
        assert (turned - dihedral(run(network, base, 512, ALL_EIGHT), transform)).abs().max() < 1e-5


def test_median_of_the_transforms(network: Network, scene: Tensor) -> None:
    base = scene[None]
    single = [dihedral_inverse(run(network, dihedral(base, transform), 512), transform) for transform in range(8)]
    ordered = torch.stack(single).sort(0).values
    assert torch.allclose(run(network, base, 512, ALL_EIGHT), (ordered[3] + ordered[4]) / 2, atol=1e-6)


def test_tiles_without_damage_stay_and_the_padding_for_a_grid_is_cut_off(network: Network, scene: Tensor) -> None:
    base = scene[None]
    mask = torch.zeros(1, 1, 64, 72, dtype=torch.bool)
    mask[..., 40:50, 40:50] = True
    restored = apply(network, seen(base, mask), 32, frozenset({IDENTITY}), CPU).pixels
    assert torch.equal(restored[..., :32, :], base[..., :32, :])
    assert not torch.equal(restored[..., 40:50, 40:50], base[..., 40:50, 40:50])
    padded = Seen.from_the_grid_on(base, base[:, :0], mask, (3, 5))
    assert padded.base.shape[-2:] == (67, 77)
    cut = apply(network, padded, 512, FLIPS, CPU, wants_spread=True)
    assert cut.pixels.shape == base.shape
    assert cut.spread is not None
    assert (cut.spread > 0).any()
    assert not cut.spread[~mask].any()


def test_progress_counts_every_tile(network: Network, scene: Tensor) -> None:
    told: list[tuple[int, int]] = []
    apply(network, seen(scene[None]), 32, frozenset({IDENTITY}), CPU, lambda *args: told.append(args))
    assert told == [(number + 1, 6) for number in range(6)]


def test_out_of_memory_makes_smaller_tiles_then_a_clear_error(
    network: Network, scene: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(network, scene[None], 512)
    real = apply_module._ensemble
    limit = 90 * 90

    def ensemble(network: Network, piece: Tensor, transforms: frozenset[int]) -> Tensor:
        if piece.shape[-1] * piece.shape[-2] > limit:
            raise torch.OutOfMemoryError("out of memory")
        return real(network, piece, transforms)

    monkeypatch.setattr(apply_module, "_ensemble", ensemble)
    assert (run(network, scene[None], 512) - expected).abs().max() < 1e-5
    limit = 0
    with pytest.raises(DeviceError, match="too little memory"):
        run(network, scene[None], 512)


def test_padded_pixels() -> None:
    assert padded_pixels((100, 60), 64, 10) == (84 + 56) * 80

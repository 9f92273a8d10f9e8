from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zssr import apply as apply_module
from zssr.apply import apply, padded_pixels
from zssr.dihedral import dihedral, dihedral_inverse
from zssr.errors import DeviceError
from zssr.network import Network
from zssr.plan import DEFAULT_TILE

CPU = torch.device("cpu")
ALL_MOVES = frozenset(range(8))


@pytest.fixture(scope="module")
def network() -> Network:
    network = Network(3, 8, 5, rng=torch.Generator().manual_seed(4))
    with torch.no_grad():
        network.tail.weight.mul_(10)  # so that an error would be seen
    return network


def run(network: Network, base: Tensor, tile: int, moves: frozenset[int] = frozenset({0})) -> Tensor:
    return apply(network, base, tile, moves, CPU, torch.float32)


@pytest.mark.parametrize("tile", [16, 22, 40])
@pytest.mark.parametrize("moves", [frozenset({0}), frozenset({0, 2, 4, 6}), ALL_MOVES])
def test_tiled_equals_untiled(network: Network, scene: Tensor, tile: int, moves: frozenset[int]) -> None:
    base = scene[None]
    assert (run(network, base, tile, moves) - run(network, base, DEFAULT_TILE, moves)).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (7, 7), (33, 18)])
def test_odd_sizes_and_pictures_smaller_than_the_halo(network: Network, scene: Tensor, size: tuple[int, int]) -> None:
    base = scene[None, :, : size[0], : size[1]]
    whole = run(network, base, 512)
    assert whole.shape == base.shape
    assert (run(network, base, 16) - whole).abs().max() < 1e-5


def test_ensemble_commutes_with_the_moves(network: Network, scene: Tensor) -> None:
    base = scene[None]
    for move in range(8):
        turned = run(network, dihedral(base, move), 512, ALL_MOVES)
        assert (turned - dihedral(run(network, base, 512, ALL_MOVES), move)).abs().max() < 1e-5


def test_median_of_the_moves(network: Network, scene: Tensor) -> None:
    base = scene[None]
    single = torch.stack([dihedral_inverse(run(network, dihedral(base, move), 512), move) for move in range(8)])
    ordered = single.sort(0).values
    assert torch.allclose(run(network, base, 512, ALL_MOVES), (ordered[3] + ordered[4]) / 2, atol=1e-6)


def test_progress_counts_every_tile(network: Network, scene: Tensor) -> None:
    told: list[tuple[int, int]] = []
    apply(network, scene[None], 32, frozenset({0}), CPU, torch.float32, lambda *args: told.append(args))
    assert told == [(number + 1, 6) for number in range(6)]


def test_out_of_memory_makes_smaller_tiles_then_a_clear_error(
    network: Network, scene: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(network, scene[None], 512)
    real = apply_module._ensemble
    limit = 90 * 90

    def ensemble(network: Network, piece: Tensor, moves: frozenset[int]) -> Tensor:
        if piece.shape[-1] * piece.shape[-2] > limit:
            raise torch.OutOfMemoryError("out of memory")
        return real(network, piece, moves)

    monkeypatch.setattr(apply_module, "_ensemble", ensemble)
    assert (run(network, scene[None], 512) - expected).abs().max() < 1e-5
    limit = 0
    with pytest.raises(DeviceError, match="too little memory"):
        run(network, scene[None], 512)


def test_padded_pixels() -> None:
    assert padded_pixels((100, 60), 64, 10) == (84 + 56) * 80

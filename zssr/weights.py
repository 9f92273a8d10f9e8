"""A network for one picture: with random weights, a prior's, or those of a similar picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from zssr.device import Compute
from zssr.network import Network

# A network's weights by name.
Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class NetworkShape:
    """What decides the number of weights. channels: those that it sees at once. width: of a layer. hints: channels of
    hints."""

    channels: int
    width: int
    depth: int
    kernel_size: int
    hints: int


def new_network(shape: NetworkShape, compute: Compute, rng: torch.Generator) -> Network:
    """With random weights."""
    network = Network(shape.channels, shape.width, shape.depth, shape.kernel_size, rng, shape.hints)
    return network.to(compute.device).to(memory_format=torch.channels_last)


def weights_of(network: Network) -> Weights:
    """A copy."""
    return {name: value.cpu().contiguous().numpy().copy() for name, value in network.state_dict().items()}


def load_weights_of(network: Network, weights: Weights) -> None:
    """Of a network of the same shape."""
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})


def fits(weights: Weights, shape: NetworkShape) -> bool:
    """Whether they are of a network of this shape."""
    network = Network(shape.channels, shape.width, shape.depth, shape.kernel_size, hints=shape.hints)
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    return own == {name: np.shape(value) for name, value in weights.items()}

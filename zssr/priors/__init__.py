"""External-data priors: networks trained on other people's pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from zssr.errors import PriorError
from zssr.priors.families import CARCNN, SRCNN, BlockCNN, JpegNet, ResNetCAR


@dataclass(frozen=True)
class Family:
    """A kind of network. task: what it repairs, in words."""

    build: Callable[[], nn.Module]
    task: str


FAMILIES = {
    "srcnn": Family(SRCNN, "JPEG, coarse qualities"),
    "carcnn": Family(CARCNN, "JPEG, coarse qualities"),
    "resnet-car": Family(ResNetCAR, "JPEG"),
    "blockcnn": Family(BlockCNN, "JPEG, coarse qualities"),
    "jpegnet": Family(JpegNet, "JPEG of any quality, told its table"),
}


@dataclass(frozen=True)
class Card:
    """Where weights come from. validation: PSNR in dB of the input and of the result on pictures not trained on."""

    family: str
    recipe: dict[str, Any]
    data: str
    licence: str
    pictures: dict[str, list[str]]
    steps: int
    seconds: float
    validation: dict[str, float]
    torch: str
    machine: str


def save_weights(path: Path, weights: dict[str, Tensor], card: Card) -> None:
    """As safetensors, the card in its header. Raises OSError."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    safetensors.torch.save_file(tensors, path, {"card": json.dumps(asdict(card))})


def load_weights(path: Path) -> tuple[nn.Module, Card]:
    """A family's network with its weights, ready to use, and its card. Raises PriorError."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            card = Card(**json.loads((file.metadata() or {})["card"]))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (OSError, safetensors.SafetensorError) as error:
        raise PriorError(f"{path}: cannot be read as safetensors ({error})") from None
    except (KeyError, TypeError, ValueError):
        raise PriorError(f"{path}: holds no card of zssr; was it made by zssr pretrain?") from None
    if card.family not in FAMILIES:
        raise PriorError(f"{path}: is of the family '{card.family}', which is unknown here")
    network = FAMILIES[card.family].build()
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise PriorError(f"{path}: its weights do not fit the family '{card.family}'") from None
    return network.eval().requires_grad_(False), card

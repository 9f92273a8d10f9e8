"""The families, and their weights in files with a card that says where they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zssr.errors import PriorError
from zssr.priors.families import CARCNN, SRCNN, BlockCNN, Initial, JpegNet, ResNetCAR, UNet
from zssr.priors.families.denoise import Denoiser
from zssr.priors.families.jpegunet import JpegUNet
from zssr.priors.families.sr import Enlarger


@dataclass(frozen=True)
class Family:
    """A kind of network.

    task: what it is for, in words. role: what it takes the place of: the first estimate of a JPEG picture's
    "components", that of a "picture", or the "initial" weights. reach: pixels to each side that it sees; further ones
    change no result by a hundredth of a grey level.
    """

    build: Callable[[], nn.Module]
    task: str
    reach: int
    role: str = "components"


FAMILIES = {
    "srcnn": Family(SRCNN, "JPEG, coarse qualities", 6),
    "carcnn": Family(CARCNN, "JPEG, coarse qualities", 9),
    "resnet-car": Family(ResNetCAR, "JPEG", 18),
    "blockcnn": Family(BlockCNN, "JPEG, coarse qualities", 15),
    "jpegnet": Family(JpegNet, "JPEG of any quality, told its table", 54),
    "jpegunet": Family(JpegUNet, "JPEG of any quality, luma and chroma together", 80, "jpeg"),
    "unet": Family(UNet, "mosaics, blurred and missing parts", 160, "picture"),
    "sr": Family(Enlarger, "enlarging by 2, 3 or 4", 32, "enlarging"),
    "denoise": Family(Denoiser, "noise, told its strength", 80, "noise"),
    "meta": Family(Initial, "initial weights for enlarging and for JPEG", 0, "initial"),
}


@dataclass(frozen=True)
class Card:
    """Where weights come from.

    validation: PSNR in dB of the input and of the result on pictures not trained on. start: of weights that training
    began with: their SHA-256, steps and start.
    """

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
    start: dict[str, Any] | None = None

    @property
    def stages(self) -> list[int]:
        """The steps of each training, the last first: of these weights, of those they began with, and so on."""
        steps, start = [self.steps], self.start
        while start:
            steps.append(start["steps"])
            start = start.get("start")
        return steps


def untrained(family: str, seed: int) -> nn.Module:
    """A network with the initial weights of a seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return FAMILIES[family].build()


def save_weights(path: Path, weights: dict[str, Tensor], card: Card) -> None:
    """As safetensors of 16-bit numbers, the card in its header. Raises OSError."""
    # Half as large a file; no figure of ours changes by 0.01 dB.
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in weights.items()}
    # Not by save_file, which lets nobody else read them.
    path.write_bytes(safetensors.torch.save(tensors, {"card": json.dumps(asdict(card))}))


def load_weights(path: Path) -> tuple[nn.Module, Card]:
    """A family's network with its weights, ready to use, and its card. Raises PriorError."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            card = Card(**json.loads((file.metadata() or {})["card"]))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        _check(card)
    except (OSError, safetensors.SafetensorError) as error:
        raise PriorError(f"{path}: cannot be read as safetensors ({error})") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise PriorError(f"{path}: holds no card of zssr; was it made by zssr pretrain?") from None
    if card.family not in FAMILIES:
        raise PriorError(f"{path}: is of the family '{card.family}', which is unknown here")
    network = untrained(card.family, 0)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise PriorError(f"{path}: its weights do not fit the family '{card.family}'") from None
    return network.eval().requires_grad_(False), card


def _check(card: Card) -> None:
    """Raises KeyError, TypeError or ValueError for a card that lacks what is read from it."""
    figures = [card.validation[key] for key in ("before", "after")]
    start = card.start or {}
    lists = [*(card.pictures[part] for part in ("training", "validation", "test")), start.get("further_pictures", [])]
    names = [name for some in lists for name in some]
    if not all(isinstance(some, list) for some in lists):
        raise TypeError
    if not all(isinstance(name, str) for name in (card.family, card.licence, *names)):
        raise TypeError
    if not all(isinstance(number, int | float) for number in (*card.stages, card.seconds, *figures)):
        raise TypeError


def sha256_of(path: Path) -> str:
    """Of a file's bytes. Raises PriorError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PriorError(f"{path}: cannot be read ({error.strerror})") from None

"""External-data priors: networks trained on other people's pictures."""

from __future__ import annotations

import difflib
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

from zssr.device import computing
from zssr.errors import PriorError
from zssr.priors.families import BLOCK, CARCNN, SRCNN, BlockCNN, Initial, JpegNet, ResNetCAR, UNet


@dataclass(frozen=True)
class Family:
    """A kind of network.

    task: what it is for, in words. role: what it takes the place of: the first estimate of a JPEG picture's
    "components", or the "initial" weights. reach: pixels to each side that it sees, at most.
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
    "unet": Family(UNet, "mosaics, blurred and missing parts", 160, "region"),
    "meta": Family(Initial, "initial weights for enlarging and for JPEG", 0, "initial"),
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


def untrained(family: str, seed: int) -> nn.Module:
    """A network with the initial weights of a seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return FAMILIES[family].build()


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
    network = untrained(card.family, 0)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise PriorError(f"{path}: its weights do not fit the family '{card.family}'") from None
    if not {"before", "after"} <= set(card.validation) or "training" not in card.pictures:
        raise PriorError(f"{path}: its card lacks figures or pictures")
    return network.eval().requires_grad_(False), card


WEIGHTS = Path(__file__).parent / "weights"
TILE = 256  # a family that sees each block nine times over needs a gigabyte for one of 512


class Prior:
    """A trained network; called, the first estimate of a JPEG picture's components (see `Jpeg.prior`)."""

    def __init__(self, path: Path, name: str, precision: torch.dtype = torch.float32) -> None:
        """precision: the number format it computes in. Raises PriorError."""
        self.precision = precision
        self.network, self.card = load_weights(path)
        self.name = name
        self.parameters = sum(parameter.numel() for parameter in self.network.parameters())
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def __call__(self, planes: Tensor, steps: Tensor) -> Tensor:
        """(N, 1, h, w) in [0, 1] on whole blocks, and the table's steps, to the planes repaired; in tiles that do not
        show."""
        network = self.network.to(planes.device)
        table = steps.reshape(1, -1).expand(len(planes), -1)
        reach = self.reach
        height, width = planes.shape[-2:]
        out = torch.empty_like(planes)
        with torch.no_grad(), computing(planes.device, self.precision):
            for top in range(0, height, TILE):
                for left in range(0, width, TILE):
                    bottom, right = min(top + TILE, height), min(left + TILE, width)
                    first, start = max(top - reach, 0), max(left - reach, 0)
                    piece = planes[..., first : bottom + reach, start : right + reach]
                    done = network(piece, table).float()
                    out[..., top:bottom, left:right] = done[
                        ..., top - first : bottom - first, left - start : right - start
                    ]
        return out

    @property
    def reach(self) -> int:
        """How far the network sees, in whole blocks."""
        return -(-FAMILIES[self.card.family].reach // BLOCK) * BLOCK


def shipped() -> dict[str, Path]:
    """The weights that come with zssr, by name."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def load_prior(name: str, precision: torch.dtype = torch.float32) -> Prior:
    """A shipped prior by its name, or one from a file. Raises PriorError."""
    known = shipped()
    if name in known:
        return Prior(known[name], name, precision)
    path = Path(name)
    if path.suffix != ".safetensors":
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}" if known else ""
        raise PriorError(f"prior '{name}': is neither a name nor a .safetensors file{hint}")
    return Prior(path, path.name, precision)


@dataclass(frozen=True)
class Priors:
    """What is to be used for one picture, at most one of a role."""

    components: Prior | None = None
    initial: Prior | None = None

    @property
    def name(self) -> str:
        return "+".join(prior.name for prior in (self.components, self.initial) if prior is not None)


def load_priors(names: str, precision: torch.dtype = torch.float32) -> Priors:
    """One or more, as in "jpegnet+meta"; "none" for none. Raises PriorError."""
    held: dict[str, Prior] = {}
    for name in names.split("+") if names != "none" else ():
        prior = load_prior(name, precision)
        role = FAMILIES[prior.card.family].role
        if role in held:
            raise PriorError(f"prior {names}: {held[role].name} and {name} are for the same thing; give one")
        held[role] = prior
    return Priors(**held)

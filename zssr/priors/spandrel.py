"""Anyone's network as the first estimate of a whole picture, in the formats that spandrel reads."""

from __future__ import annotations

import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zssr.apply import tiled
from zssr.damages import Chain
from zssr.device import Compute
from zssr.errors import PriorError
from zssr.priors.cards import sha256_of
from zssr.priors.estimators import PriorEstimator
from zssr.resample import Size, fit, size_of

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
TILE = 256
HALO = 32  # what is seen around a tile and thrown away; networks that see further show faint seams
LICENCE_KEYS = ("license", "modelspec.license", "licence")


class SpandrelPrior(PriorEstimator):
    """A network of another project. name, task and licence are for people; scale: what it enlarges by."""

    enlarges = True

    def __init__(self, path: Path, precision: torch.dtype = torch.float32) -> None:
        """Raises PriorError for what is no such network, or holds code."""
        import spandrel  # takes seconds

        self.name, self.precision = path.name, precision
        self.sha256 = sha256_of(path)
        metadata = _metadata(path)
        self.licence = next((metadata[key] for key in LICENCE_KEYS if key in metadata), "unknown")
        try:
            weights = spandrel.canonicalize_state_dict(_weights(path))
            loaded = spandrel.ModelLoader("cpu").load_from_state_dict(weights)
        except spandrel.UnsupportedModelError:
            raise PriorError(f"{path}: is of no architecture that is known") from None
        except pickle.UnpicklingError:
            raise PriorError(f"{path}: holds more than weights, which is not loaded; give its state_dict") from None
        except (OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError, AssertionError,
                RecursionError, ImportError, ArithmeticError, struct.error,
                safetensors.SafetensorError) as error:  # fmt: skip
            # Whatever a file that is no network leads to.
            raise PriorError(f"{path}: cannot be read as a network ({_line(error)})") from None
        if not isinstance(loaded, spandrel.ImageModelDescriptor):
            raise PriorError(f"{path}: needs a mask beside the picture, which is not supported")
        if loaded.purpose == "FaceSR":
            raise PriorError(f"{path}: invents faces, which zssr does not do")
        if loaded.input_channels != loaded.output_channels or loaded.input_channels not in (1, 3):
            raise PriorError(
                f"{path}: takes {loaded.input_channels} channels and gives {loaded.output_channels}; grey or colour is"
                " needed"
            )
        self.scale, self.task = loaded.scale, f"{loaded.architecture.name}, {loaded.purpose}, factor {loaded.scale}"
        self.parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
        self._tiled = loaded.tiling == spandrel.ModelTiling.SUPPORTED
        self._loaded = loaded

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        return None

    def __call__(self, degradation: Chain, y: Tensor, size: Size) -> Tensor:
        """y (N, C, h, w) in [0, 1], seen through the network, at `size`; only where it is damaged."""
        groups = y.split(1, 1) if self._loaded.input_channels == 1 else [y.expand(-1, 3, -1, -1)]
        seen = torch.cat([self._applied(group) for group in groups], 1)
        if y.shape[1] == 1:
            seen = seen.mean(1, keepdim=True)
        if self.scale == 1:
            return _where_damaged(degradation, degradation.split()[0].base(seen, size), y)
        return _where_damaged(degradation, fit(seen, size), y)

    def _applied(self, x: Tensor) -> Tensor:
        """Its result at its own scale, one picture at a time as it wants them."""
        self._loaded.to(x.device)
        tile = TILE if self._tiled else max(size_of(x))

        def run(piece: Tensor) -> Tensor:
            with Compute(x.device, self.precision).autocast():
                return self._loaded(piece.contiguous())

        return torch.cat([tiled(run, one, tile, HALO, self.scale) for one in x.split(1)])


def _where_damaged(degradation: Chain, x: Tensor, y: Tensor) -> Tensor:
    mask = degradation.mask(size_of(x)) if degradation.scale == (1, 1) else None
    return x if mask is None else torch.where(mask.to(x.device), x, y)


def is_own(path: Path) -> bool:
    """Whether a file was made by zssr: it holds a card. Raises PriorError for one that cannot be read."""
    return "card" in _metadata(path)


def _weights(path: Path) -> dict[str, Any]:
    """What a file holds, by torch's loader of weights only: unlike spandrel's, which runs TorchScript, it runs nothing
    that a file brings. Raises PriorError and what the loaders do."""
    if path.suffix.lower() == ".safetensors":
        return safetensors.torch.load_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it looks like TorchScript, or is of an old format
            content = torch.load(path, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise PriorError(f"{path}: holds code (TorchScript), which is not run; give its weights") from None
        raise
    if not isinstance(content, dict):
        raise PriorError(f"{path}: holds no weights by name")
    return content


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        with safetensors.safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise PriorError(f"{path}: cannot be read as safetensors ({_line(error)})") from None


def _line(error: Exception) -> str:
    words = (str(error).splitlines() or [""])[0][:120]
    return words if " " in words else f"{type(error).__name__} {words}".strip()

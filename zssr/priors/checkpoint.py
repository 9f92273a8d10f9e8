"""The files of a training: its checkpoint, its log, and whether they may be written."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch

from zssr.errors import OutputError
from zssr.files.writing import replacing


@dataclass(frozen=True)
class TrainingFiles:
    """out: the weights, a name that ends with .safetensors; the others lie beside it."""

    out: Path

    @property
    def checkpoint(self) -> Path:
        """There as long as the training is not finished."""
        return self.out.with_suffix(".checkpoint")

    @property
    def log(self) -> Path:
        """The validation curve."""
        return self.out.with_suffix(".csv")

    def check(self, overwrite: bool) -> None:
        """Raises OutputError for what could not be written after hours of work."""
        check_out(self.out)
        if not overwrite:
            for path in (self.out,) if self.checkpoint.exists() else (self.out, self.log):
                if path.exists():
                    raise OutputError(f"{path}: exists; give --overwrite or another name")
        if not self.out.parent.is_dir() or self.out.is_dir():
            raise OutputError(f"{self.out}: cannot be written there; is its folder missing?")

    def read_checkpoint(self, fingerprint: str, device: torch.device) -> dict[str, Any] | None:
        """None where there is none. Raises OutputError for one that is broken or of another training."""
        content = self._read(device)
        if content is not None and content["fingerprint"] != fingerprint:
            raise OutputError(f"{self.checkpoint}: is of another training; remove it or give --out another name")
        return content

    def planned_steps(self) -> int | None:
        """Of the training that can be gone on with; None where there is none. Raises OutputError."""
        content = self._read(torch.device("cpu"))
        return None if content is None else content.get("steps")

    def _read(self, device: torch.device) -> dict[str, Any] | None:
        path = self.checkpoint
        if not path.exists():
            return None
        try:
            content = torch.load(path, map_location=device, weights_only=True)
            if "fingerprint" in content:
                return content
        except (OSError, EOFError, AttributeError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError):
            pass
        raise OutputError(f"{path}: cannot be read as a checkpoint; remove it")

    def write_checkpoint(self, content: dict[str, Any]) -> None:
        """Raises OutputError."""
        replaced(self.checkpoint, lambda path: torch.save(content, path))

    def write_log(self, before: float, curve: Sequence[tuple[int, float]]) -> None:
        """before: PSNR without the network. curve: (step, PSNR with it). Raises OutputError."""

        def write(path: Path) -> None:
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["step", "psnr", "psnr_without"])
                writer.writerows((step, f"{psnr:.4f}", f"{before:.4f}") for step, psnr in curve)

        replaced(self.log, write)


def check_out(out: Path) -> None:
    """Raises OutputError for a name that weights cannot have."""
    if out.suffix != ".safetensors":
        raise OutputError(f"{out}: weights need a name that ends with .safetensors")


def replaced(path: Path, write: Callable[[Path], Any]) -> None:
    """As `files.writing.replacing`, with what may go wrong as an OutputError."""
    try:
        with replacing(path) as aside:
            write(aside)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OutputError(f"{path}: cannot be written ({reason})") from None

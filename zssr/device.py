"""Which device and number format to compute with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zssr.errors import DeviceError


def choose_device(name: str = "auto") -> torch.device:
    """A torch device by name; "auto" takes cuda, then mps, then cpu. Raises DeviceError if it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise ValueError
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError):
        there = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
        raise DeviceError(f"device '{name}' is not there; this machine has {', '.join(there)}") from None
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """fp32 or bf16; "auto" takes bf16 only where the hardware multiplies it natively."""
    if name == "auto":
        return torch.bfloat16 if _multiplies_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[name]


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere
    if device.type == "cpu":
        # Without these instructions bf16 is emulated, several times slower than fp32.
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False


@contextlib.contextmanager
def computing_on(device: torch.device, result_size: tuple[int, int]) -> Iterator[None]:
    """`repeatable`, with one line instead of a page where the memory does not suffice.

    result_size: (height, width), for the message. Raises DeviceError.
    """
    try:
        with repeatable(device):
            yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{device}: the memory does not suffice for a result of {result_size[1]}x{result_size[0]};"
            " choose a smaller scale or another --device"
        ) from None


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Whatever the caller's torch is set to: gradients allowed, and on CUDA the same full-precision result every time.

    cuDNN's flags are of the whole process; on CUDA, restore one picture at a time in a process.
    """
    cudnn: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with cudnn, torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True)
class Compute:
    """Where networks compute, and in which number format."""

    device: torch.device
    precision: torch.dtype

    def autocast(self) -> torch.autocast:
        """Of networks to the precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed because the device's (or the machine's) memory is used up."""
    texts = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)

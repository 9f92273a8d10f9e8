"""Kernels in files, and by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import PIL.Image
from scipy.io import savemat
from torch import Tensor

from zssr.damages.downscale.gaussian import LARGEST_SIGMA, SMALLEST_SIGMA, Gaussian
from zssr.damages.downscale.kernel import Kernel, normalised
from zssr.errors import KernelError, OutputError, SettingsError
from zssr.files.apart import BrokenFileError, read_apart
from zssr.files.writing import replacing
from zssr.resample import KERNELS
from zssr.settings import AUTO


def read_kernel(source: str) -> Kernel | None:
    """A kernel by name or from a file: .mat (key Kernel or kernel), .npy, .txt, .png (grey levels are weights).

    Returns what Downscale takes; None for "auto", as it is to be read from the picture. Raises KernelError when there
    is none in it.
    """
    path = Path(source)
    if source == AUTO:
        return None
    if source in KERNELS:
        return source
    if path.suffix.lower() not in SUFFIXES:
        return _gaussian(source)
    if not path.is_file():
        raise KernelError(f"{source}: no such kernel file")
    try:
        table = _FORMATS[path.suffix.lower()][0](path)
    except KernelError as error:
        raise KernelError(f"{source}: {error}") from None
    except (OSError, ValueError, SyntaxError, BrokenFileError) as error:
        raise KernelError(f"{source}: not a kernel ({' '.join(str(error).split())[:100]})") from None
    try:
        normalised(table)
    except KernelError as error:
        raise KernelError(f"{source}: {error}") from None
    return tuple(tuple(row) for row in table.tolist())


def _gaussian(name: str) -> str:
    try:
        Gaussian.named(name)
    except KernelError:
        raise KernelError(
            f"kernel '{name}': use auto, a file, {', '.join(KERNELS)}, or gaussian:SIGMA or gaussian:MAJOR,MINOR,ANGLE,"
            f" MAJOR not below MINOR, widths {SMALLEST_SIGMA:g} to {LARGEST_SIGMA:g}"
        ) from None
    return name


def _read_mat(path: Path) -> np.ndarray:
    content: Mapping[str, np.ndarray] = read_apart("mat", path.read_bytes())
    for key in ("Kernel", "kernel"):
        if key in content:
            return content[key]
    keys = ", ".join(content) or "nothing"
    raise KernelError(f"no key 'Kernel' or 'kernel' (it holds {keys})")


def _read_txt(path: Path) -> np.ndarray:
    if not path.read_text().strip():
        raise KernelError("holds nothing")
    return np.loadtxt(path, dtype=np.float64, ndmin=2)


def _read_array(path: Path) -> np.ndarray:
    array: np.ndarray = read_apart(path.suffix[1:].lower(), path.read_bytes())["array"]
    return array


def _write_mat(path: Path, weights: np.ndarray) -> None:
    savemat(path, {"Kernel": weights}, appendmat=False)


def _write_npy(path: Path, weights: np.ndarray) -> None:
    with path.open("wb") as file:  # to a name, numpy would add a suffix
        np.save(file, weights)


def _write_png(path: Path, weights: np.ndarray) -> None:
    """16 bits of grey: the weights over the largest, negative ones as none."""
    levels = (weights / weights.max()).clip(0, 1) * 65535
    PIL.Image.fromarray(levels.round().astype(np.uint16)).save(path, "PNG")


_FORMATS: dict[str, tuple[Callable[[Path], np.ndarray], Callable[[Path, np.ndarray], None]]] = {
    ".mat": (_read_mat, _write_mat),
    ".npy": (_read_array, _write_npy),
    ".txt": (_read_txt, np.savetxt),
    ".png": (_read_array, _write_png),
}
SUFFIXES = tuple(_FORMATS)


def check_kernel_file(name: str, picture: Path | None, overwrite: bool) -> None:
    """Raises SettingsError for a name that a kernel cannot be written to. picture: that it is read from."""
    if picture is not None and Path(name).exists() and Path(name).samefile(picture):
        raise SettingsError(f"save_kernel {name}: is the picture itself")
    if Path(name).suffix.lower() not in SUFFIXES:
        raise SettingsError(f"save_kernel {name}: must end with {', '.join(SUFFIXES)}")
    if not overwrite and Path(name).exists():
        raise SettingsError(f"save_kernel {name}: exists already; use --overwrite")


def write_kernel(path: Path, weights: Tensor) -> None:
    """Weights (h, w) that sum to one to a file, in the format that its name says. Raises OutputError."""
    write = _FORMATS[path.suffix.lower()][1]
    try:
        with replacing(path) as aside:
            write(aside, weights.numpy())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None

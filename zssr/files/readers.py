"""What the process that reads files does with them; without torch, which it does not need."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from zssr.files.decoding import decode, size_of
from zssr.files.jpeg_xl import jpeg_inside


def _picture(data: bytes, max_pixels: int, partial: bool) -> dict[str, Any]:
    """The fields of a Raster."""
    raster = decode(data, max_pixels, partial)
    return {field.name: getattr(raster, field.name) for field in dataclasses.fields(raster)}


def _size(path: str) -> dict[str, Any]:
    """The size, (height, width), as a picture's header says it."""
    return {"size": size_of(path)}


def _coefficients(data: bytes) -> dict[str, Any]:
    """Of a JPEG file, itself or in one of JPEG XL.

    coefficients0, ... (rows, columns, 8, 8), tables (N, 64) and samplings (N, 2), a row for each component.
    """
    import jpeglib

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"  # the library reads files only
        path.write_bytes(jpeg_inside(data) or data)
        jpeg = jpeglib.read_dct(str(path))
        components = [jpeg.Y] if jpeg.Cb is None else [jpeg.Y, jpeg.Cb, jpeg.Cr]
    return {
        "tables": np.array([np.asarray(jpeg.qt[number]).ravel() for number in jpeg.quant_tbl_no], np.int64),
        "samplings": np.array(jpeg.samp_factor, np.int64),
        **{f"coefficients{number}": one for number, one in enumerate(components)},
    }


def _mat(data: bytes) -> dict[str, Any]:
    """The arrays of numbers in a .mat file, by name."""
    from scipy.io import loadmat

    content = loadmat(io.BytesIO(data))  # type: ignore[arg-type]
    return {
        name: np.asarray(value, np.float64)
        for name, value in content.items()
        if not name.startswith("__") and np.asarray(value).dtype.kind in "fiub"
    }


def _npy(data: bytes) -> dict[str, Any]:
    """The array of a .npy file, as "array"."""
    return {"array": np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float64)}


def _png(data: bytes) -> dict[str, Any]:
    """The grey levels of a PNG file, as "array"."""
    with PIL.Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
        return {"array": np.array(opened if opened.mode.startswith("I") else opened.convert("L"), np.float64)}


READERS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "picture": _picture, "size": _size, "coefficients": _coefficients, "mat": _mat, "npy": _npy,
    "png": _png,
}  # fmt: skip

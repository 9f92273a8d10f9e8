"""Reading picture files."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch

from zssr.errors import PictureError, one_line
from zssr.files.apart import BrokenFileError, read_apart
from zssr.formats import DEFAULT_MAX_PIXELS
from zssr.image import Image, JpegData, from_raster
from zssr.raster import Raster


def load(
    source: str | os.PathLike[str] | bytes,
    max_megabytes: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    partial: bool = False,
) -> Image:
    """Read a picture from a path or from the bytes of a file.

    Orientation is applied, palettes are looked up, CMYK becomes sRGB; everything else stays as
    stored. partial: whether what is left of a truncated file is read, and the rest filled. Raises
    PictureError when there is no picture, it is of no allowed format, is larger than the limits,
    truncated or corrupt.
    """
    name = "the input" if isinstance(source, bytes) else os.fspath(source)
    data = source if isinstance(source, bytes) else _read(Path(source), max_megabytes)
    if max_megabytes is not None and len(data) > max_megabytes * 1e6:
        raise PictureError(
            f"{name}: {len(data) / 1e6:.1f} MB is more than the limit of {max_megabytes:g} MB; raise it with --max-MB"
        )
    if not data:
        raise PictureError(f"{name}: the file is empty")
    try:
        raster = Raster(**read_apart("picture", data, max_pixels, partial))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from None
    except BrokenFileError as error:
        raise PictureError(f"{name}: truncated or corrupt file ({error})") from None
    if not raster.holds_ycc:
        return from_raster(raster)
    try:
        return from_raster(raster, _jpeg_data(data))
    except BrokenFileError:
        note = "the file's own coefficients cannot be read: found from its pixels"
        return from_raster(dataclasses.replace(raster, notes=(*raster.notes, note)))


def _jpeg_data(data: bytes) -> JpegData:
    """The file's own coefficients. Raises BrokenFileError."""
    read = read_apart("coefficients", data)
    tables, samplings = read["tables"], read["samplings"]
    return JpegData(
        tuple(tuple(map(int, table)) for table in tables),
        tuple((int(vertical), int(horizontal)) for vertical, horizontal in samplings),
        tuple(torch.from_numpy(read[f"coefficients{number}"]) for number in range(len(read) - 2)),
    )


def _read(path: Path, max_megabytes: float | None) -> bytes:
    try:
        if path.is_dir():
            raise PictureError(f"{path}: is a folder, not a picture")
        size = path.stat().st_size
        if max_megabytes is not None and size > max_megabytes * 1e6:  # before reading it all
            raise PictureError(
                f"{path}: {size / 1e6:.1f} MB is more than the limit of {max_megabytes:g} MB; raise it with --max-MB"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: cannot be read ({one_line(error)})") from None

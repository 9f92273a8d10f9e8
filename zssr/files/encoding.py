"""Pictures as the bytes of files.

Pillow writes everything of 8 bits. It cannot hold more than one channel of 16 bits, so 16-bit PNG goes through
imagecodecs and 16-bit TIFF through tifffile.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL.PngImagePlugin import putchunk

from zssr.errors import OutputError, one_line
from zssr.files.writing import write
from zssr.formats import FORMAT_OF_SUFFIX, FORMATS, WRITABLE
from zssr.image import Image
from zssr.raster import BROKEN, EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD, TIFF_LAYOUT_TAGS


def encode(image: Image, format: str = "png", jpeg_quality: int = 95, strip: bool = False) -> tuple[bytes, list[str]]:
    """The picture as the bytes of a file, and notes on what that format could not hold.

    format: a key of FORMATS. WebP is written lossless; jpeg_quality (1 to 100) holds for jpg
    and avif. strip leaves out profile, EXIF and resolution.
    """
    notes = []
    kind = FORMATS[format]
    if image.peak > 255 and kind.bits == 8:
        notes.append(f"{format} holds 8 bits: rounded from 16")
        image = dataclasses.replace(image, peak=255)
    if image.alpha is not None and not kind.holds_alpha:
        notes.append(f"{format} holds no transparency: laid on white")
        image = dataclasses.replace(image, pixels=image.pixels * image.alpha + 1 - image.alpha, alpha=None)
    icc, exif, dpi = (None, None, None) if strip else (image.icc, image.exif, image.dpi)
    grey = len(image.pixels) == 1 and kind.holds_grey
    if icc and icc[16:20] != (b"GRAY" if grey else b"RGB "):
        notes.append("its colour profile is for another kind of picture and was dropped")
        icc = None
    if image.peak > 255:
        if exif and not kind.holds_exif_directories:
            notes.append(f"of EXIF data, 16-bit {format} keeps only texts such as camera and author")
        return _WRITERS_16[format](image.samples(), icc, exif, dpi), notes
    metadata: dict[str, Any] = {"icc_profile": icc, "exif": exif, "dpi": dpi}
    buffer = io.BytesIO()
    if exif and not kind.holds_exif_directories:
        metadata["exif"], tags = None, _without_directories(exif)
        if len(tags) < len(_loaded(exif)):
            notes.append(f"of EXIF data, {format} keeps only camera, author and the like")
        metadata["tiffinfo"] = tags
    options = {**kind.save_options(jpeg_quality), **{key: value for key, value in metadata.items() if value}}
    picture = image.pillow()
    try:
        picture.save(buffer, kind.pillow_name, **options)
    except BROKEN as error:
        if exif:  # the picture matters more
            notes.append(f"its EXIF data do not fit into {format} and were dropped")
            data, more = encode(dataclasses.replace(image, exif=None), format, jpeg_quality)
            return data, notes + more
        height, width = image.size
        raise OutputError(f"{format} cannot hold this {width}x{height} picture ({one_line(error)})") from None
    return buffer.getvalue(), notes


def _loaded(exif: bytes) -> PIL.Image.Exif:
    loaded = PIL.Image.Exif()
    loaded.load(exif)
    return loaded


def _without_directories(exif: bytes) -> dict[int, Any]:
    """The entries but for its sub-directories, which Pillow's TIFF writer cannot place; texts as bytes, which it would
    else write as ASCII."""
    return {
        tag: value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value
        for tag, value in _loaded(exif).items()
        if tag not in (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD)
    }


def _encode_png_16(samples: np.ndarray, icc: bytes | None, exif: bytes | None, dpi: tuple | None) -> bytes:
    import imagecodecs

    plain = imagecodecs.png_encode(np.ascontiguousarray(samples))
    header_end = 8 + 25  # signature, then the IHDR chunk
    out = io.BytesIO()
    out.write(plain[:header_end])
    if icc:
        putchunk(out, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if dpi:
        putchunk(out, b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))
    if exif:
        putchunk(out, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    out.write(plain[header_end:])
    return out.getvalue()


def _encode_tiff_16(samples: np.ndarray, icc: bytes | None, exif: bytes | None, dpi: tuple | None) -> bytes:
    import tifffile

    channels = 1 if samples.ndim == 2 else samples.shape[-1]
    tags = []
    if exif:
        # Camera, author, date and the like; sub-directories cannot be moved by value.
        tags = [(tag, "s", 0, value, True) for tag, value in _without_directories(exif).items()
                if isinstance(value, str | bytes) and tag not in TIFF_LAYOUT_TAGS | {270, 305, 306}]  # fmt: skip
    out = io.BytesIO()
    tifffile.imwrite(
        out, samples, photometric="rgb" if channels >= 3 else "minisblack", compression="zlib",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None, iccprofile=icc,
        resolution=dpi, resolutionunit="INCH" if dpi else None, metadata=None, extratags=tags, software=False,
    )  # fmt: skip
    return out.getvalue()


_WRITERS_16 = {"png": _encode_png_16, "tiff": _encode_tiff_16}


def save(
    image: Image,
    path: str | os.PathLike[str],
    format: str | None = None,
    jpeg_quality: int = 95,
    strip: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """Encode a picture and write it; the format follows the file name unless given.

    Returns notes on what the format could not hold. Raises OutputError.
    """
    data, notes = encode(image, format or format_of(path), jpeg_quality, strip)
    write(data, path, overwrite)
    return notes


def format_of(path: str | os.PathLike[str]) -> str:
    """The output format that a file name asks for; raises OutputError where it names none."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMAT_OF_SUFFIX:
        raise OutputError(f"{path}: cannot write {suffix or 'a name without ending'}; use one of {', '.join(WRITABLE)}")
    return FORMAT_OF_SUFFIX[suffix]

"""Pictures as the bytes of files.

Pillow writes everything of 8 bits. It cannot hold more than one channel of 16 bits, so 16-bit PNG goes through
imagecodecs and 16-bit TIFF through tifffile.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL import TiffTags

from zssr.errors import OutputError, one_line
from zssr.files import png
from zssr.files.metadata import photoshop_segment
from zssr.files.writing import write
from zssr.formats import FORMAT_OF_SUFFIX, FORMATS, METADATA, WRITABLE, Format
from zssr.image import Image
from zssr.raster import (
    BROKEN,
    EXIF_IFD,
    GPS_IFD,
    INCH,
    INTEROPERABILITY_IFD,
    IPTC_TAG,
    RESOLUTION_TAGS,
    TIFF_LAYOUT_TAGS,
    exif_bytes,
)

_XMP_TAG = 700  # of TIFF


def encode(image: Image, format: str = "png", jpeg_quality: int = 95, strip: bool = False) -> tuple[bytes, list[str]]:
    """The picture as the bytes of a file, and notes on what that format could not hold.

    format: a key of FORMATS. WebP is written lossless; jpeg_quality (1 to 100) holds for jpg
    and avif. strip leaves out all metadata.
    """
    notes = []
    kind = FORMATS[format]
    if image.peak > 255 and kind.bits == 8:
        notes.append(f"{format} holds 8 bits: rounded from 16")
        image = dataclasses.replace(image, peak=255)
    if image.alpha is not None and not kind.holds_alpha:
        notes.append(f"{format} holds no transparency: laid on white")
        image = dataclasses.replace(image, pixels=image.pixels * image.alpha + 1 - image.alpha, alpha=None)
    metadata = {} if strip else _held(image, kind, notes)
    write_as = _WRITERS.get(format, _with_pillow)
    while True:
        try:
            return write_as(image, metadata, kind, jpeg_quality), notes
        except BROKEN as error:
            if not metadata:
                height, width = image.size
                raise OutputError(f"{format} cannot hold this {width}x{height} picture ({one_line(error)})") from None
            longest = max(metadata, key=lambda name: len(metadata[name]))  # the picture matters more
            notes.append(f"its {METADATA[longest]} cannot be written to {format}: not kept")
            del metadata[longest]


def _held(image: Image, kind: Format, notes: list[str]) -> dict[str, Any]:
    """The metadata that a format holds, by the fields of Image."""
    metadata = {name: value for name in METADATA if (value := getattr(image, name))}
    grey = len(image.pixels) == 1 and kind.holds_grey
    if image.icc and image.icc[16:20] != (b"GRAY" if grey else b"RGB "):
        notes.append("its colour profile is for another kind of picture and was dropped")
        del metadata["icc"]
    further: dict[int, Any] = {}  # that EXIF data have a place for too
    if image.dpi and "dpi" not in kind.holds:
        further = dict(zip(RESOLUTION_TAGS, (*metadata.pop("dpi"), INCH), strict=True))
    if image.iptc and "iptc" not in kind.holds:
        further[IPTC_TAG] = metadata.pop("iptc")
    if further:
        metadata["exif"] = _with_entries(metadata.get("exif"), further)
    for name in [name for name in metadata if name not in kind.holds]:
        value = metadata.pop(name)
        if name == "colours" and png.says_srgb(value):  # as all are taken for
            continue
        which = f" ({', '.join(png.keywords(value))})" if name == "texts" else ""
        notes.append(f"{kind.name} holds no {METADATA[name]}{which}: not kept")
    if image.exif and not kind.holds_exif_directories and len(_entries(image.exif)) < len(_loaded(image.exif)):
        notes.append(f"of EXIF data, {kind.name} keeps only camera, author and the like")
    return metadata


def _with_pillow(image: Image, metadata: dict[str, Any], kind: Format, quality: int) -> bytes:
    """JPEG, WebP or AVIF."""
    further = {"icc_profile" if name == "icc" else name: value for name, value in metadata.items() if name != "iptc"}
    if "iptc" in metadata:
        further["extra"] = photoshop_segment(metadata["iptc"])
    return _saved(image, kind, quality, further)


def _as_png(image: Image, metadata: dict[str, Any], kind: Format, quality: int) -> bytes:
    if image.peak == 255:
        return png.with_metadata(_saved(image, kind, quality, {}), metadata)
    import imagecodecs

    return png.with_metadata(bytes(imagecodecs.png_encode(np.ascontiguousarray(image.samples()))), metadata)


def _as_tiff(image: Image, metadata: dict[str, Any], kind: Format, quality: int) -> bytes:
    tags = _entries(metadata["exif"]) if "exif" in metadata else {}
    tags |= {tag: metadata[name] for name, tag in (("xmp", _XMP_TAG), ("iptc", IPTC_TAG)) if name in metadata}
    icc, dpi = metadata.get("icc"), metadata.get("dpi")
    if image.peak == 255:
        given = {"icc_profile": icc, "dpi": dpi, "tiffinfo": tags}
        return _saved(image, kind, quality, {name: value for name, value in given.items() if value})
    import tifffile

    samples = image.samples()
    channels = 1 if samples.ndim == 2 else samples.shape[-1]
    out = io.BytesIO()
    tifffile.imwrite(
        out, samples, photometric="rgb" if channels >= 3 else "minisblack", compression="zlib",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None, iccprofile=icc,
        resolution=dpi, resolutionunit="INCH" if dpi else "NONE", metadata=None, software=False,
        extratags=[_typed(tag, value) for tag, value in tags.items() if tag not in TIFF_LAYOUT_TAGS or tag == _XMP_TAG],
    )  # fmt: skip
    return out.getvalue()


def _saved(image: Image, kind: Format, quality: int, further: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.pillow().save(buffer, kind.pillow_name, **kind.save_options(quality), **further)
    return buffer.getvalue()


def _loaded(exif: bytes) -> PIL.Image.Exif:
    loaded = PIL.Image.Exif()
    loaded.load(exif)
    return loaded


def _with_entries(exif: bytes | None, further: dict[int, Any]) -> bytes:
    entries = PIL.Image.Exif() if exif is None else _loaded(exif)
    entries.update(further)
    return exif_bytes(entries, []) or b""


def _entries(exif: bytes) -> dict[int, Any]:
    """The entries but for its sub-directories, which no TIFF writer here can place; texts as bytes, which Pillow would
    else write as ASCII."""
    return {
        tag: value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value
        for tag, value in _loaded(exif).items()
        if tag not in (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD)
    }


def _typed(tag: int, value: Any) -> tuple[int, str, int, Any, bool]:
    """An entry as tifffile takes it."""
    if isinstance(value, str):
        return tag, "s", 0, value, True
    if isinstance(value, bytes):
        return tag, "s" if TiffTags.lookup(tag).type == TiffTags.ASCII else "B", len(value), value, True
    values = value if isinstance(value, tuple) else (value,)
    kind = "I" if all(isinstance(one, int) for one in values) else "d"
    return tag, kind, len(values), values if kind == "I" else tuple(float(one) for one in values), True


_WRITERS: dict[str, Callable[[Image, dict[str, Any], Format, int], bytes]] = {"png": _as_png, "tiff": _as_tiff}


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

"""Samples and metadata as a picture file holds them; without torch, for the process that decodes files."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms

from zssr.errors import PictureError
from zssr.formats import NAME_OF_PILLOW

ORIENTATION_TAG = 0x0112
# TIFF tags that describe how the pixels lie in the old file; they are wrong in a new one.
TIFF_LAYOUT_TAGS = {
    254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 297,
    317, 320, 322, 323, 324, 325, 338, 339, 347, 530, 531, 532, 700, 34675,
}  # fmt: skip
EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
_EXIF_WIDTH, _EXIF_HEIGHT = 0xA002, 0xA003

# What Pillow, imagecodecs and tifffile raise on broken files.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
           struct.error, zlib.error, RuntimeError, ArithmeticError, MemoryError,
           PIL.Image.DecompressionBombError)  # fmt: skip


@dataclass(frozen=True)
class Raster:
    """What a picture file holds, before it is turned upright.

    samples: (H, W) or (H, W, 1..4) uint8 or uint16; a 2nd or 4th channel is alpha. orientation: as EXIF numbers it;
    anything but 2 to 8 is upright. icc, exif, dpi: metadata, the orientation in exif reset. format: "png", "jpg", ...
    notes: what decoding had to decide. holds_ycc: whether it is a JPEG file of grey or YCbCr, whose own coefficients
    say more than its samples. Raises PictureError for other samples.
    """

    samples: np.ndarray
    orientation: int = 1
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: Sequence[float] | None = None
    format: str = "png"
    notes: Sequence[str] = ()
    holds_ycc: bool = False

    def __post_init__(self) -> None:
        dtype, shape = self.samples.dtype, self.samples.shape
        if dtype not in (np.uint8, np.uint16) or len(shape) not in (2, 3):
            raise PictureError(f"array of {dtype} with shape {shape}: expected (H, W) or (H, W, C), uint8 or uint16")
        if 0 in shape or shape[2:] not in ((), (1,), (2,), (3,), (4,)):
            raise PictureError(f"array of shape {shape}: expected 1 to 4 channels last and at least one pixel")


def raster_of(opened: PIL.Image.Image) -> Raster:
    """Of a Pillow image of 8 bits a channel or 16-bit grey. Raises PictureError."""
    notes: list[str] = []
    if opened.mode.startswith("I;16"):
        return with_metadata(np.array(opened, np.uint16), opened, opened.info.get("icc_profile"), notes)
    converted, icc = to_8_bit_mode(opened, opened.info.get("icc_profile"), notes)
    return with_metadata(np.array(converted), opened, icc, notes)


def with_metadata(samples: np.ndarray, opened: PIL.Image.Image, icc: bytes | None, notes: list[str]) -> Raster:
    """The samples with the profile that holds for them and all other metadata of the file."""
    orientation, exif = 1, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of broken EXIF before it raises
            found = opened.getexif()
            orientation = found.get(ORIENTATION_TAG, 1)
            exif = _exif_bytes(found, opened.format or "PNG", notes)
    except BROKEN:
        notes.append("its EXIF data are broken and were dropped")
    return Raster(
        samples,
        orientation=orientation if isinstance(orientation, int) else 1,
        icc=icc,
        exif=exif,
        dpi=_dpi(opened.info.get("dpi")),
        format=NAME_OF_PILLOW.get(opened.format or "", "png"),
        notes=notes,
    )


def _dpi(value: object) -> tuple[float, float] | None:
    """A believable resolution, or None."""
    if isinstance(value, tuple) and len(value) == 2 and all(1 <= float(v) <= 65535 for v in value):
        return float(value[0]), float(value[1])
    return None


def to_8_bit_mode(opened: PIL.Image.Image, icc: bytes | None, notes: list[str]) -> tuple[PIL.Image.Image, bytes | None]:
    """One of L, LA, RGB, RGBA, and the profile that now holds."""
    original_format, mode = opened.format, opened.mode
    opened.load()
    if mode == "CMYK":
        notes.append("CMYK converted to sRGB")
        if icc:
            try:
                converted = PIL.ImageCms.profileToProfile(
                    opened, io.BytesIO(icc), PIL.ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                result = converted or opened.convert("RGB")
            except PIL.ImageCms.PyCMSError:
                notes.append("its colour profile is broken and was not used")
                result = opened.convert("RGB")
        else:
            result = opened.convert("RGB")
        icc = None
    elif mode in ("P", "PA"):
        result = opened.convert("RGBA" if mode == "PA" or "transparency" in opened.info else "RGB")
        samples = np.array(result)
        # A palette of greys is a grey picture, unless its profile is one for colour.
        if (samples[..., :1] == samples[..., 1:3]).all() and (icc is None or icc[16:20] == b"GRAY"):
            result = result.convert("LA" if result.mode == "RGBA" else "L")
    elif mode in ("1", "L", "RGB", "YCbCr", "RGBX"):
        target = "RGB" if mode in ("RGB", "YCbCr", "RGBX") else "L"
        if "transparency" in opened.info:
            result = opened.convert("RGBA")
            result = result if target == "RGB" else result.convert("LA")
        else:
            result = opened if mode == target else opened.convert(target)
    elif mode in ("La", "RGBa"):
        result = opened.convert(mode.upper())
    elif mode in ("LA", "RGBA"):
        result = opened
    else:
        raise PictureError(f"pixels of type {mode} are not supported: save it as RGB first")
    result.format = original_format
    return result, icc


def _exif_bytes(exif: PIL.Image.Exif, file_format: str, notes: list[str]) -> bytes | None:
    """Of all entries that can be written, in the classic form that every format holds."""
    kept = PIL.Image.Exif()
    dropped = 0
    for tag in exif:
        if file_format == "TIFF" and tag in TIFF_LAYOUT_TAGS:
            continue
        alone = PIL.Image.Exif()
        try:
            alone[tag] = kept[tag] = _entry(exif, tag)
            alone.tobytes()
        except (*BROKEN, AttributeError):  # of another type than its tag says
            kept.pop(tag, None)
            dropped += 1
    if dropped:
        notes.append(f"{dropped} of its EXIF entries {'is' if dropped == 1 else 'are'} broken and dropped")
    return kept.tobytes() if len(kept) else None


def _entry(exif: PIL.Image.Exif, tag: int) -> Any:
    if tag == ORIENTATION_TAG:
        return 1
    if tag not in (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD):
        return _text(exif[tag])
    details = {key: _text(value) for key, value in exif.get_ifd(tag).items() if key != INTEROPERABILITY_IFD}
    if tag == EXIF_IFD and (interoperability := exif.get_ifd(INTEROPERABILITY_IFD)):  # else an offset in the old file
        details[INTEROPERABILITY_IFD] = dict(interoperability)
    for size in (_EXIF_WIDTH, _EXIF_HEIGHT):  # of the old pixels, which is wrong for new ones
        details.pop(size, None)
    return details


def _text(value: Any) -> Any:
    """A text as the bytes it was read from, as UTF-8 mostly: Pillow would write ASCII alone."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value

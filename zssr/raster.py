"""Samples and metadata as a picture file holds them; without torch, for the process that decodes files."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms

from zssr.errors import PictureError
from zssr.formats import NAME_OF_PILLOW

Chunk = tuple[bytes, bytes]  # of a PNG file: its type, such as b"tEXt", and what it holds

ORIENTATION_TAG = 0x0112
# TIFF tags that describe how the pixels lie in the old file; they are wrong in a new one.
TIFF_LAYOUT_TAGS = {
    254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 297,
    317, 320, 322, 323, 324, 325, 330, 338, 339, 347, 530, 531, 532, 700, 34675,
}  # fmt: skip
RESOLUTION_TAGS, INCH, _CENTIMETRE = (282, 283, 296), 2, 3  # horizontal, vertical, unit
IPTC_TAG = 33723
EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
_EXIF_WIDTH, _EXIF_HEIGHT = 0xA002, 0xA003
# The same in XMP data, and the orientation, which is applied; each is an attribute or an element.
_XMP_LAYOUT = rb"(?P<name>tiff:(Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension)"
_XMP_ATTRIBUTE = re.compile(rb"\s" + _XMP_LAYOUT + rb"""=("[^"<]*"|'[^'<]*')""")
_XMP_ELEMENT = re.compile(rb"<" + _XMP_LAYOUT + rb">[^<]*</(?P=name)>")

# What Pillow, imagecodecs and tifffile raise on broken files.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
           struct.error, zlib.error, RuntimeError, ArithmeticError, MemoryError,
           PIL.Image.DecompressionBombError)  # fmt: skip


@dataclass(frozen=True)
class Raster:
    """What a picture file holds, before it is turned upright.

    samples: (H, W) or (H, W, 1..4) uint8 or uint16; a 2nd or 4th channel is alpha. orientation: as EXIF numbers it;
    anything but 2 to 8 is upright. icc to colours, format: as in Image, the orientation in exif reset. notes: what
    decoding had to decide. holds_ycc: whether it is a JPEG file of grey or YCbCr, whose own coefficients say more than
    its samples. Raises PictureError for other samples.
    """

    samples: np.ndarray
    orientation: int = 1
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    texts: tuple[Chunk, ...] = ()
    colours: tuple[Chunk, ...] = ()
    format: str = "png"
    notes: tuple[str, ...] = ()
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
        return with_metadata(np.array(opened, np.uint16), opened, profile_of(opened), notes)
    converted, icc = to_8_bit_mode(opened, profile_of(opened), notes)
    return with_metadata(np.array(converted), opened, icc, notes)


def with_metadata(
    samples: np.ndarray,
    opened: PIL.Image.Image,
    icc: bytes | None,
    notes: list[str],
    exif: PIL.Image.Exif | None = None,
) -> Raster:
    """The samples with the profile that holds for them and all other metadata that Pillow knows of the file.

    exif: the file's, where Pillow does not find them itself.
    """
    orientation, kept, iptc = 1, None, None
    # Where a TIFF says nothing of its resolution, Pillow says 1.
    dpi = None if opened.format == "TIFF" else _dpi(opened.info.get("dpi"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of broken EXIF before it raises
            found = opened.getexif() if exif is None else exif
            orientation = found.get(ORIENTATION_TAG, 1)
            dpi = dpi or _dpi_of_exif(found)
            iptc = found.pop(IPTC_TAG, None)
            kept = exif_bytes(found, notes, TIFF_LAYOUT_TAGS if opened.format == "TIFF" else ())
    except BROKEN:
        notes.append("its EXIF data are broken and were dropped")
    return Raster(
        samples,
        orientation=orientation if isinstance(orientation, int) else 1,
        icc=icc,
        exif=kept,
        iptc=iptc if isinstance(iptc, bytes) else None,
        xmp=_xmp(opened.info.get("xmp")),
        dpi=dpi,
        format=NAME_OF_PILLOW.get(opened.format or "", "png"),
        notes=tuple(notes),
    )


def _dpi(value: object) -> tuple[float, float] | None:
    """A believable resolution, or None."""
    if isinstance(value, tuple) and len(value) == 2 and all(1 <= float(v) <= 65535 for v in value):
        return float(value[0]), float(value[1])
    return None


def _dpi_of_exif(exif: PIL.Image.Exif) -> tuple[float, float] | None:
    *pair, unit = (exif.get(tag) for tag in RESOLUTION_TAGS)
    an_inch = {None: 1.0, INCH: 1.0, _CENTIMETRE: 2.54}.get(unit, 0)
    return _dpi(tuple(float(value or 0) * an_inch for value in pair))


def _xmp(value: object) -> bytes | None:
    """Without what is said of the old pixels."""
    if not isinstance(value, bytes):
        return None
    return _XMP_ELEMENT.sub(b"", _XMP_ATTRIBUTE.sub(b"", value)) or None


def profile_of(opened: PIL.Image.Image) -> bytes | None:
    """The colour profile; a text of a PNG file may have its name."""
    profile = opened.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else None


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


def exif_bytes(exif: PIL.Image.Exif, notes: list[str], leave_out: Collection[int] = ()) -> bytes | None:
    """Of all entries that can be written but those to leave out, in the classic form that every format holds."""
    kept = PIL.Image.Exif()
    dropped = 0
    for tag in exif:
        if tag in leave_out:
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

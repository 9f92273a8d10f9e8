"""A picture in memory, and what Pillow images and arrays hold as one."""

from __future__ import annotations

import dataclasses
import io
import re
import struct
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from zssr.dihedral import dihedral
from zssr.errors import PictureError
from zssr.formats import NAME_OF_PILLOW

Chunk = tuple[bytes, bytes]  # of a PNG file: its type, such as b"tEXt", and what it holds

ORIENTATION_TAG = 0x0112
# EXIF orientation -> dihedral transform that puts the picture upright.
_UPRIGHT = {1: 0, 2: 4, 3: 2, 4: 6, 5: 5, 6: 3, 7: 7, 8: 1}
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
class JpegData:
    """What a JPEG file holds, before it is decoded.

    tables: of each component, 64 quantisation steps in row-major order. factors: (vertical, horizontal) sampling
    factor of each component. coefficients: int16 (rows, columns, 8, 8) of each component, before they are
    multiplied by the steps. move: dihedral transform that puts the decoded picture upright.
    """

    tables: tuple[tuple[int, ...], ...]
    factors: tuple[tuple[int, int], ...]
    coefficients: tuple[Tensor, ...] = field(repr=False)
    move: int = 0


@dataclass(frozen=True)
class Image:
    """One picture in memory.

    pixels: (C, H, W) float32 in [0, 1], C = 1 (grey) or 3 (RGB): file value / peak.
    alpha: (1, H, W) float32 in [0, 1], or None where the file has none.
    peak: the file's largest sample value, 255 or 65535.
    icc, exif, xmp, iptc, dpi, comment: metadata as in the file; orientation is already applied and reset.
    texts, colours: text chunks, and what says which colour space the pixels are in, as PNG has them.
    format: "png", "jpg", ... of the file it came from.
    notes: what loading had to decide, in plain words.
    jpeg: of a JPEG file in grey or YCbCr, what it holds.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    peak: int = 255
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
    jpeg: JpegData | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def anonymous(self) -> Image:
        """Without the metadata that may tell people and places."""
        return dataclasses.replace(self, exif=None, xmp=None, iptc=None, comment=None, texts=())

    def samples(self) -> np.ndarray:
        """(H, W) or (H, W, C) uint8 or uint16 samples, alpha as the last channel; rounded once."""
        planes = self.pixels if self.alpha is None else torch.cat([self.pixels, self.alpha])
        dtype = np.uint8 if self.peak == 255 else np.uint16
        samples = np.empty((*self.size, len(planes)), dtype)
        for channel, plane in enumerate(planes):  # one plane at a time keeps the peak memory low
            samples[..., channel] = plane.clamp(0, 1).mul(self.peak).round_().cpu().numpy()
        return samples[..., 0] if len(planes) == 1 else samples

    def pillow(self) -> PIL.Image.Image:
        """The picture as a Pillow image of 8 bits a channel: L, LA, RGB or RGBA."""
        return PIL.Image.fromarray(dataclasses.replace(self, peak=255).samples())


def as_stored(x: Tensor, peak: float) -> Tensor:
    """Values in [0, 1] rounded as a file of samples from 0 to `peak` holds them; clipped. x is not changed."""
    return x.clamp(0, 1).mul_(peak).round_().div_(peak)


def fill_hidden(image: Image) -> Tensor:
    """The colours, with those under fully transparent pixels replaced by the nearest visible one.

    What a program left under transparency is arbitrary; enlarged, it would bleed into the edges as a fringe.
    """
    if image.alpha is None or bool((image.alpha > 0).all()) or bool((image.alpha == 0).all()):
        return image.pixels
    hidden = (image.alpha[0] == 0).numpy()
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return image.pixels[:, torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def from_array(array: np.ndarray) -> Image:
    """An Image from (H, W), (H, W, 1..4) uint8 or uint16 samples; a 2nd or 4th channel is alpha.

    Raises PictureError for other shapes and types.
    """
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3):
        raise PictureError(
            f"array of {array.dtype} with shape {array.shape}: expected (H, W) or (H, W, C), uint8 or uint16"
        )
    planes = array[..., None] if array.ndim == 2 else array
    if planes.shape[-1] not in (1, 2, 3, 4) or 0 in planes.shape:
        raise PictureError(f"array of shape {array.shape}: expected 1 to 4 channels last and at least one pixel")
    peak = 255 if array.dtype == np.uint8 else 65535
    values = torch.from_numpy(planes.astype(np.float32)).permute(2, 0, 1).div(peak).contiguous()
    colours = 3 if len(values) >= 3 else 1
    return Image(values[:colours], values[colours:] if len(values) > colours else None, peak)


def from_pillow(opened: PIL.Image.Image) -> Image:
    """An Image from a Pillow image in memory, of 8 bits a channel or 16-bit grey. Raises PictureError."""
    notes: list[str] = []
    if opened.mode.startswith("I;16"):
        deep = from_array(np.array(opened, np.uint16))
        return with_metadata(deep, opened, profile_of(opened), notes)
    converted, icc = to_8_bit_mode(opened, profile_of(opened), notes)
    return with_metadata(from_array(np.array(converted)), opened, icc, notes)


def with_metadata(
    picture: Image, opened: PIL.Image.Image, icc: bytes | None, notes: list[str], exif: PIL.Image.Exif | None = None
) -> Image:
    """The picture upright, with the profile that holds for it and all other metadata that Pillow knows of the file.

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
    turned = upright(picture, orientation)
    return dataclasses.replace(
        turned,
        icc=icc,
        exif=kept,
        iptc=iptc if isinstance(iptc, bytes) else None,
        xmp=_xmp(opened.info.get("xmp")),
        dpi=dpi if dpi is None or turned.size == picture.size else dpi[::-1],
        format=NAME_OF_PILLOW.get(opened.format or "", "png"),
        notes=tuple(notes),
    )


def upright(picture: Image, orientation: int) -> Image:
    """The picture turned and flipped as its EXIF orientation, 1 to 8, asks for; with any other as it is."""
    move = _UPRIGHT.get(orientation, 0)
    alpha = None if picture.alpha is None else dihedral(picture.alpha, move).contiguous()
    jpeg = None if picture.jpeg is None else dataclasses.replace(picture.jpeg, move=move)
    return dataclasses.replace(picture, pixels=dihedral(picture.pixels, move).contiguous(), alpha=alpha, jpeg=jpeg)


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

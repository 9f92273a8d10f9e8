"""JPEG XL files: what their header says, their metadata, and their pixels by imagecodecs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from zssr.errors import PictureError
from zssr.files import deep
from zssr.files.boxes import boxes
from zssr.files.png import colours_of
from zssr.raster import Chunk

_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_LONGEST_HEADER = 4096  # bytes, of which the longest names of channels take most
_MOST_METADATA = 1 << 24  # bytes of a box that is compressed
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_XYB, _GREY = 2, 1  # colour spaces
_D65, _CUSTOM, _DCI = 1, 2, 11  # white points
_SRGB, _P3, _P3_D65 = 1, 11, 12  # primaries; the last as PNG numbers them

_Length = tuple[int, int]  # of a number: its bits, and what is added to it


@dataclass(frozen=True)
class Header:
    """size: (height, width) as shown. bits: of a sample. colours: as in Image, None where they are not told so."""

    size: tuple[int, int]
    bits: int
    animated: bool
    colours: tuple[Chunk, ...] | None


def is_jpeg_xl(data: bytes) -> bool:
    """Whether a file begins as one of JPEG XL."""
    return data.startswith((_CODESTREAM, _CONTAINER))


def jpeg_inside(data: bytes) -> bytes | None:
    """The JPEG file that this one was made of without loss, or None."""
    if not any(kind == b"jbrd" for kind, _ in _boxes(data)):
        return None
    import imagecodecs

    return bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1))


def decode(data: bytes, bits: int) -> np.ndarray:
    """(H, W) or (H, W, C) samples of 8 or 16 bits, upright; of an animation, the first."""
    import imagecodecs

    samples = imagecodecs.jpegxl_decode(data, index=0)
    if samples.dtype not in (np.uint8, np.uint16):
        raise PictureError("JPEG XL with samples that are no whole numbers: save it with 8 or 16 bits first")
    return samples if bits == 8 else deep.widened(samples, bits)


def read_metadata(data: bytes) -> dict[Any, Any]:
    """EXIF and XMP data as Pillow names them, "exif" and "xmp"."""
    found: dict[Any, Any] = {}
    for kind, content in _boxes(data):
        if kind == b"brob" and content[:4] in (b"Exif", b"xml "):
            import imagecodecs

            kind, content = content[:4], bytes(imagecodecs.brotli_decode(content[4:], out=_MOST_METADATA))
        if kind == b"Exif":
            found["exif"] = content[4 + struct.unpack_from(">I", content)[0] :]
        elif kind == b"xml ":
            found["xmp"] = content
    return found


def read_header(data: bytes) -> Header:
    """Raises ValueError where there is none."""
    stream = data if data.startswith(_CODESTREAM) else _codestream(data)
    if not stream.startswith(_CODESTREAM):
        raise ValueError("no JPEG XL codestream")
    bits = _Bits(stream[2 : 2 + _LONGEST_HEADER])
    height, width = _size(bits)
    depth, turned, animated = 8, False, False
    colours: tuple[Chunk, ...] | None = ()
    if not bits.flag():  # of all that is usual
        if bits.flag():
            turned = bits.number(3) >= 4
            if bits.flag():
                _size(bits)
            if bits.flag():
                _preview(bits)
            animated = bits.flag()
            if animated:
                bits.choice((0, 100), (0, 1000), (10, 1), (30, 1))
                bits.choice((0, 1), (0, 1001), (8, 1), (10, 1))
                bits.choice((0, 0), (3, 0), (16, 0), (32, 0))
                bits.flag()
        depth = _depth(bits)
        bits.flag()
        for _ in range(bits.choice((0, 0), (0, 1), (4, 2), (12, 1))):
            _extra_channel(bits)
        colours = _colours(bits, is_xyb=bits.flag())
    return Header((width, height) if turned else (height, width), depth, animated, colours)


class _Bits:
    """The numbers of a header, one after the other, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._left, self._length = int.from_bytes(data, "little"), 8 * len(data)

    def number(self, bits: int) -> int:
        if bits > self._length:
            raise ValueError("the header ends too early")
        value = self._left & ((1 << bits) - 1)
        self._left >>= bits
        self._length -= bits
        return value

    def flag(self) -> bool:
        return bool(self.number(1))

    def choice(self, *lengths: _Length) -> int:
        """A number of one of four lengths."""
        bits, more = lengths[self.number(2)]
        return self.number(bits) + more

    def kind(self) -> int:
        """One of an enumeration."""
        return self.choice((0, 0), (0, 1), (4, 2), (6, 18))


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()

    def side() -> int:
        return 8 * (bits.number(5) + 1) if small else bits.choice((9, 1), (13, 1), (18, 1), (30, 1))

    height = side()
    ratio = bits.number(3)
    return height, height * _RATIOS[ratio][0] // _RATIOS[ratio][1] if ratio else side()


def _preview(bits: _Bits) -> None:
    in_blocks = bits.flag()

    def side() -> None:
        bits.choice(*((0, 16), (0, 32), (5, 1), (9, 33)) if in_blocks else ((6, 1), (8, 65), (10, 321), (12, 1345)))

    side()
    if not bits.number(3):
        side()


def _depth(bits: _Bits) -> int:
    if not bits.flag():
        return bits.choice((0, 8), (0, 10), (0, 12), (6, 1))
    depth = bits.choice((0, 32), (0, 16), (0, 24), (6, 1))  # of a floating-point number
    bits.number(4)
    return depth


def _extra_channel(bits: _Bits) -> None:
    if bits.flag():  # an ordinary alpha channel
        return
    kind = bits.kind()
    _depth(bits)
    bits.choice((0, 0), (0, 3), (0, 4), (3, 1))
    bits.number(8 * bits.choice((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    if kind == 0:  # alpha
        bits.flag()
    elif kind == 2:  # a spot colour
        bits.number(4 * 16)
    elif kind == 5:  # of a colour filter
        bits.choice((0, 1), (2, 0), (4, 3), (8, 19))


def _colours(bits: _Bits, is_xyb: bool) -> tuple[Chunk, ...] | None:
    """Chunks of PNG, where numbers name the colour space; None for others, such as a profile."""
    if bits.flag():  # sRGB
        return ()
    has_profile, space = bits.flag(), bits.kind()
    if has_profile:
        return () if is_xyb else None  # which is decoded to sRGB
    if space == _XYB:
        return None
    white = bits.kind()
    if white == _CUSTOM:
        return None
    primaries = _SRGB if space == _GREY else bits.kind()
    has_gamma = primaries == _CUSTOM or bits.flag()
    if has_gamma or white != (_DCI if primaries == _P3 and white != _D65 else _D65):
        return None
    return colours_of(_P3_D65 if (primaries, white) == (_P3, _D65) else primaries, bits.kind())


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    return list(boxes(data)) if data.startswith(_CONTAINER) else []


def _codestream(data: bytes) -> bytes:
    """Its beginning, which may be in a box of its own."""
    parts = (
        content[4:] if kind == b"jxlp" else content for kind, content in _boxes(data) if kind in (b"jxlc", b"jxlp")
    )
    return b"".join(parts)

"""Truncated files made whole, so that what is left of them can be read as usual."""

from __future__ import annotations

import io
import itertools
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from zssr.files import png
from zssr.raster import BROKEN

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"  # of JPEG
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two of BigTIFF
_FILLING = bytes(range(0, 200, 3))  # that a JPEG file's missing pixels would be made of
_STRIPS, _TILES = (273, 279), (324, 325)  # tags of TIFF: where they lie, and how long they are
_LAST_FILTER = 4  # of PNG
# Of the seven pictures in an interlaced PNG: first row and its step, first column and its step.
_INTERLACED = (
    (0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1),
)  # fmt: skip
_LAST_BYTES = 64  # of what is left of a WebP file; they tell which pixels were read last
_MOST_BYTES = 8  # of a whole file, for each pixel
_MOST_GROWTH = 32  # of a file; so little is left of a longer one that its length is probably what is broken


@dataclass(frozen=True)
class Mended:
    """A whole file, and what to say of it. is_whole: whether it has all of the picture's own pixels."""

    data: bytes
    note: str
    is_whole: bool = False


def mend(data: bytes, max_pixels: int) -> Mended | None:
    """None where nothing is left of the picture, or nothing can be done. max_pixels: that it may have."""
    for signatures, mend_format in _MENDERS.items():
        if data.startswith(signatures):
            try:
                return mend_format(data, max_pixels)
            except BROKEN:
                return None
    return None


def _truncated(data: bytes, missing: float) -> Mended:
    """missing: the share of the picture, about. Raises ValueError where that is all or nothing."""
    if not 0 < missing < 1:
        raise ValueError("all or nothing is missing")
    percent = max(1, round(100 * missing))
    return Mended(data, f"the file is truncated: about {percent} % of the picture could not be read")


def _missing(files: tuple[bytes, bytes], format: str, max_pixels: int) -> float:
    """The share of a picture from the first row on in which two files differ."""
    pictures = []
    for data in files:
        with PIL.Image.open(io.BytesIO(data), formats=[format]) as opened:
            if opened.width * opened.height > max_pixels:
                raise ValueError("too many pixels")
            pictures.append(np.array(opened))
    differs = (pictures[0] != pictures[1]).reshape(len(pictures[0]), -1).any(1)
    return 1 - int(differs.argmax()) / len(differs) if differs.any() else 0.0


def _mend_jpeg(data: bytes, max_pixels: int) -> Mended:
    whole = data + END_OF_IMAGE
    with PIL.Image.open(io.BytesIO(whole), formats=["JPEG"]) as opened:
        if opened.info.get("progressive"):
            opened.load()
            return Mended(whole, "the file is truncated: what is missing of it would have made the picture finer")
    # What follows the end of the data changes all pixels from the first missing one on.
    missing = _missing((whole, data + _FILLING + END_OF_IMAGE), "JPEG", max_pixels)
    if missing == 0 and not data.endswith(END_OF_IMAGE):
        return Mended(whole, "the file's end is missing, but none of its pixels", is_whole=True)
    return _truncated(whole, missing)


def _mend_png(data: bytes, max_pixels: int) -> Mended:
    header, *others = png.chunks(data)
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header[1])
    if width * height > max_pixels:
        raise ValueError("too many pixels")
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    # Bytes of each row, of which the first names its filter.
    rows = [1 - (-columns * bits // 8) for count, columns in _passes(height, width, interlaced) for _ in range(count)]
    length = sum(rows)
    packed = b"".join(content for kind, content in others if kind == b"IDAT")
    pixels = _with_filters(_unpacked(packed, length), rows)
    before = list(itertools.takewhile(lambda chunk: chunk[0] != b"IDAT", others))
    chunks = [header, *before, (b"IDAT", zlib.compress(pixels.ljust(length, b"\0"), 1)), (b"IEND", b"")]
    if len(pixels) == length:
        return Mended(png.file_of(chunks), "the file is damaged: parts of the picture may be wrong")
    return _truncated(png.file_of(chunks), 1 - len(pixels) / length)


def _passes(height: int, width: int, interlaced: int) -> list[tuple[int, int]]:
    """(rows, columns) of the pictures that a PNG file is made of."""
    if not interlaced:
        return [(height, width)]
    sizes = [(len(range(top, height, down)), len(range(left, width, right))) for top, down, left, right in _INTERLACED]
    return [(rows, columns) for rows, columns in sizes if rows and columns]


def _with_filters(pixels: bytes, rows: list[int]) -> bytes:
    """The rows up to the first that names a filter there is not: damaged data may unpack to something else."""
    place = 0
    for length in rows:
        if place < len(pixels) and pixels[place] > _LAST_FILTER:
            return pixels[:place]
        place += length
    return pixels


def _unpacked(packed: bytes, length: int) -> bytes:
    """As much as can be had."""
    stream, out, step = zlib.decompressobj(), bytearray(), 256
    try:
        for place in range(0, len(packed), step):
            out += stream.decompress(stream.unconsumed_tail + packed[place : place + step], length - len(out) or 1)
            if len(out) >= length:
                break
    except zlib.error:  # damaged from here on
        pass
    return bytes(out[:length])


def _mend_webp(data: bytes, max_pixels: int) -> Mended:
    whole, shorter = (_with_last_chunk_padded(part, max_pixels) for part in (data, data[:-_LAST_BYTES]))
    return _truncated(whole, _missing((whole, shorter), "WEBP", max_pixels))


def _with_last_chunk_padded(data: bytes, max_pixels: int) -> bytes:
    """A WebP file that ends with it: zeros beyond would be millions of chunks to the decoder."""
    end = 12
    while end + 8 <= len(data):
        length = struct.unpack_from("<I", data, end + 4)[0]
        end += 8 + length + length % 2
    return data[:4] + struct.pack("<I", end - 8) + _padded(data, end, max_pixels)[8:]


def _mend_bmp(data: bytes, max_pixels: int) -> Mended:
    length = struct.unpack_from("<I", data, 2)[0]
    return _truncated(_padded(data, length, max_pixels), 1 - len(data) / length)


def _padded(data: bytes, length: int, max_pixels: int) -> bytes:
    """With zeros; they make no worse pixels than others."""
    if not len(data) < length <= min(_MOST_BYTES * max_pixels, _MOST_GROWTH * len(data)):
        raise ValueError("not truncated, or longer than any picture")
    return data.ljust(length, b"\0")


def _mend_tiff(data: bytes, max_pixels: int) -> Mended:
    """Its strips or tiles that are not whole are black ones instead, behind all others."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page, order = file.pages.first, file.byteorder
        places, lengths = page.dataoffsets, page.databytecounts
        if page.compression == tifffile.COMPRESSION.NONE:
            length = max(place + length for place, length in zip(places, lengths, strict=True))
            return _truncated(_padded(data, length, max_pixels), 1 - len(data) / length)
        mended = bytearray(data)
        broken = [
            n for n, (place, length) in enumerate(zip(places, lengths, strict=True)) if place + length > len(data)
        ]
        if len(broken) * math.prod(page.chunks) > _MOST_BYTES * max_pixels:
            raise ValueError("more than any picture")
        for number in broken:
            packed = _packed(page.compression, bytes(_length_of(page, number)))
            for tag, value in zip(_TILES if page.is_tiled else _STRIPS, (len(mended), len(packed)), strict=True):
                entry = page.tags[tag]
                kind = {3: "H", 4: "I", 16: "Q"}[entry.dtype]
                struct.pack_into(order + kind, mended, entry.valueoffset + number * struct.calcsize(kind), value)
            mended += packed
    return _truncated(bytes(mended), len(broken) / len(places))


def _length_of(page: Any, number: int) -> int:
    """Bytes of a strip or tile; the last strip may have fewer rows."""
    rows, *others = page.chunks
    if not page.is_tiled:
        rows = min(rows, page.imagelength - number * rows % (-(-page.imagelength // rows) * rows))
    return rows * math.prod(others) * -(-page.bitspersample // 8)


def _packed(compression: int, plain: bytes) -> bytes:
    """Raises KeyError for a compression that is not known here."""
    import imagecodecs

    encoders: dict[int, Callable[[bytes], bytes | bytearray]] = {
        5: imagecodecs.lzw_encode, 8: zlib.compress, 32946: zlib.compress,
        32773: imagecodecs.packbits_encode,
    }  # fmt: skip
    return bytes(encoders[compression](plain))


_MENDERS: dict[tuple[bytes, ...], Callable[[bytes, int], Mended]] = {
    (START_OF_IMAGE,): _mend_jpeg, (b"\x89PNG",): _mend_png, (b"RIFF",): _mend_webp, (b"BM",): _mend_bmp,
    TIFF_SIGNATURES: _mend_tiff,
}  # fmt: skip

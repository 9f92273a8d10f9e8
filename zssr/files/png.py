"""Chunks of PNG files: the metadata that Pillow does not carry from one file to the next."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from PIL.PngImagePlugin import putchunk

from zssr.raster import Chunk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_COLOURS = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")
# Read elsewhere, or about how the pixels lie in the old file, which is wrong in a new one.
_KNOWN = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", b"pHYs", b"sBIT", b"hIST", b"sPLT", b"tIME",
    b"acTL", b"fcTL", b"fdAT", b"iDOT",
}  # fmt: skip
_EXIF_KEYWORD = b"Raw profile type exif"  # as ImageMagick wrote EXIF data; Pillow reads them as such
_SRGB, _UNSPECIFIED = (1, 13), (2, 2)  # primaries and transfer function
# In units of 1 / 100000, with the tolerance for what writers round differently.
_SRGB_GAMMA, _SRGB_CHROMATICITIES = (45455,), (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_TOLERANCE = 100


def read_chunks(data: bytes) -> dict[str, Any]:
    """Fields of Image that a PNG file's chunks fill, and as "unknown" the names of chunks that nobody reads."""
    texts: list[Chunk] = []
    colours: list[Chunk] = []
    unknown: list[str] = []
    for kind, content in chunks(data):
        keyword = content.partition(b"\0")[0]
        if kind in _COLOURS:
            colours.append((kind, content))
        elif kind in _TEXTS and keyword not in (_XMP_KEYWORD, _EXIF_KEYWORD):
            texts.append((kind, content))
        elif kind not in (*_TEXTS, *_KNOWN) or (kind == b"pHYs" and _is_aspect_ratio(content)):
            unknown.append(kind.decode("latin-1"))
    return {"texts": tuple(texts), "colours": tuple(colours), "unknown": unknown}


def keywords(texts: Iterable[Chunk]) -> list[str]:
    """Of text chunks, as "Author", each once."""
    return list(dict.fromkeys(content.partition(b"\0")[0].decode("latin-1") for _, content in texts))


def colours_of(primaries: int, transfer: int) -> tuple[Chunk, ...]:
    """Chunks on the colour space of these numbers, which AVIF and JPEG XL have too; none for sRGB or no statement."""
    if (primaries, transfer) in (_UNSPECIFIED, _SRGB) or max(primaries, transfer) > 255:
        return ()
    return ((b"cICP", bytes((primaries, transfer, 0, 1))),)  # RGB, full range


def says_srgb(colours: Iterable[Chunk]) -> bool:
    """Whether chunks on the colour space say what a file means that has none."""
    chunks = dict(colours)
    if b"cICP" in chunks:
        return tuple(chunks[b"cICP"][:2]) == _SRGB
    if b"sRGB" in chunks:
        return True
    return all(
        kind not in chunks or _near(chunks[kind], expected)
        for kind, expected in ((b"gAMA", _SRGB_GAMMA), (b"cHRM", _SRGB_CHROMATICITIES))
    )


def _near(content: bytes, expected: tuple[int, ...]) -> bool:
    return len(content) == 4 * len(expected) and all(
        abs(value - wanted) <= _TOLERANCE
        for value, wanted in zip(struct.unpack(f">{len(expected)}I", content), expected, strict=True)
    )


def _is_aspect_ratio(content: bytes) -> bool:
    """Whether a chunk pHYs says that pixels are not square, and not how large they are."""
    return content[8:9] == b"\0" and content[:4] != content[4:8]


def with_metadata(plain: bytes, metadata: Mapping[str, Any]) -> bytes:
    """A PNG file that has none, with metadata by the names of Image's fields."""
    header, *others = chunks(plain)
    return file_of([header, *_made_of(metadata), *others])


def file_of(parts: Iterable[Chunk]) -> bytes:
    """Of all its chunks."""
    out = io.BytesIO()
    out.write(_SIGNATURE)
    for kind, content in parts:
        putchunk(out, kind, content)
    return out.getvalue()


def chunks(data: bytes) -> Iterator[Chunk]:
    """Of a PNG file; the last one may be incomplete."""
    place = len(_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length


def _made_of(metadata: Mapping[str, Any]) -> Iterator[Chunk]:
    """In the order that PNG asks for: the colour space comes before all else."""
    yield from metadata.get("colours", ())
    if icc := metadata.get("icc"):
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)
    if dpi := metadata.get("dpi"):
        yield b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1)
    if exif := metadata.get("exif"):
        yield b"eXIf", exif.removeprefix(b"Exif\0\0")
    if xmp := metadata.get("xmp"):
        yield _text(_XMP_KEYWORD, xmp)
    if comment := metadata.get("comment"):
        yield _text(b"Comment", comment)
    yield from metadata.get("texts", ())


def _text(keyword: bytes, text: bytes) -> Chunk:
    """Text of UTF-8, or of what it was read as; it ends at a zero."""
    text = text.split(b"\0")[0]
    try:
        text.decode()
    except UnicodeDecodeError:
        return b"tEXt", keyword + b"\0" + text  # which is Latin-1
    return b"iTXt", keyword + bytes(5) + text

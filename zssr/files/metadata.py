"""Metadata that Pillow does not carry from one file to the next, as fields of Image; and notes on what has none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import PIL.Image

from zssr.files.boxes import properties
from zssr.files.png import colours_of, read_chunks
from zssr.raster import profile_of

# Segments of JPEG files by how they begin, that are read elsewhere or say how the old file's pixels were stored.
_KNOWN_SEGMENTS = (
    b"JFIF\0", b"JFXX\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"Adobe", b"MPF\0",
    b"Ducky",
)  # fmt: skip
_PHOTOSHOP = b"Photoshop 3.0\0"
_IPTC = 0x0404  # one of Photoshop's resources
# The others are the resolution, the thumbnail, and the checksum of the IPTC data.
_KNOWN_RESOURCES = {_IPTC, 0x03ED, 0x040C, 0x0425}


def read_metadata(opened: PIL.Image.Image, data: bytes, notes: list[str]) -> dict[str, Any]:
    """Fields of Image beyond those of `with_metadata`."""
    reader = _READERS.get(opened.format or "")
    found = reader(opened, data) if reader else {}
    if unknown := found.pop("unknown", None):
        notes.append(f"parts of the file that zssr does not know were not kept: {', '.join(dict.fromkeys(unknown))}")
    return found


def photoshop_segment(iptc: bytes) -> bytes:
    """A segment APP13 of a JPEG file that holds IPTC data. Raises struct.error where they are too long."""
    resource = b"8BIM" + struct.pack(">HHI", _IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", 2 + len(_PHOTOSHOP) + len(resource)) + _PHOTOSHOP + resource


def _of_png(opened: PIL.Image.Image, data: bytes) -> dict[str, Any]:
    return read_chunks(data)


def _of_jpeg(opened: PIL.Image.Image, data: bytes) -> dict[str, Any]:
    segments: list[tuple[str, bytes]] = opened.applist  # type: ignore[attr-defined]
    comments = [content.strip(b"\0") for name, content in segments if name == "COM"]
    resources = opened.info.get("photoshop", {})
    known = (*_KNOWN_SEGMENTS, *([] if resources.keys() - _KNOWN_RESOURCES else [_PHOTOSHOP]))
    return {
        "comment": b"\n".join(filter(None, comments)) or None,
        "iptc": resources.get(_IPTC) or None,
        "unknown": [
            f"{name} {_title(content)}" for name, content in segments if name != "COM" and not content.startswith(known)
        ],
    }


def _title(content: bytes) -> str:
    """What a segment calls itself."""
    return "".join(letter for letter in content[:40].split(b"\0")[0].decode("latin-1") if letter.isprintable())


def _of_avif(opened: PIL.Image.Image, data: bytes) -> dict[str, Any]:
    """Primaries and transfer function, unless a profile says more."""
    for kind, content in properties(data):
        if kind == b"colr" and content.startswith(b"nclx") and len(content) >= 8 and not profile_of(opened):
            primaries, transfer = struct.unpack_from(">HH", content, 4)
            return {"colours": colours_of(primaries, transfer)}
    return {}


def _of_gif(opened: PIL.Image.Image, data: bytes) -> dict[str, Any]:
    xmp = ["XMP data"] if b"XMP DataXMP" in data else []
    return {"comment": opened.info.get("comment") or None, "unknown": xmp}


_READERS: dict[str, Callable[[PIL.Image.Image, bytes], dict[str, Any]]] = {
    "PNG": _of_png, "JPEG": _of_jpeg, "MPO": _of_jpeg, "GIF": _of_gif, "AVIF": _of_avif,
}  # fmt: skip

"""Boxes, which AVIF and JPEG XL files are made of."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Box = tuple[bytes, bytes]  # its type, such as b"ftyp", and what it holds

_INSIDE = {
    b"meta": 4,
    b"iprp": 0,
    b"ipco": 0,
}  # boxes of boxes on the way to an item's properties, and what precedes them


def boxes(data: bytes) -> Iterator[Box]:
    """Those of a file, or in a box; a broken one ends them."""
    place = 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        begin = place + 8
        if length == 1 and place + 16 <= len(data):
            length, begin = struct.unpack_from(">Q", data, begin)[0], place + 16
        end = len(data) if length == 0 else place + length
        if end < begin:
            return
        yield kind, data[begin:end]
        place = end


def properties(data: bytes) -> Iterator[Box]:
    """What an AVIF file says of its pictures."""
    for kind, content in boxes(data):
        if kind in _INSIDE:
            yield from properties(content[_INSIDE[kind] :])
        elif kind in (b"av1C", b"colr"):
            yield kind, content

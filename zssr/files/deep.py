"""AVIF and JPEG files of more than 8 bits a sample, of which Pillow reads 8 or none."""

from __future__ import annotations

import struct

import numpy as np

from zssr.errors import PictureError
from zssr.files.boxes import properties

_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
# Markers of frames: all of 0xC0 to 0xCF but those of tables and of an extension.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def bits_of(format: str | None, data: bytes) -> int:
    """Of a sample of an AVIF or JPEG file; 8 for any other."""
    if format == "AVIF":
        flags = [content[2] for kind, content in properties(data) if kind == b"av1C" and len(content) > 2]
        return max((12 if one & 0x20 else 10 for one in flags if one & 0x40), default=8)
    place = _place_of_bits(data) if format in ("JPEG", "MPO") else None
    return 8 if place is None else data[place]


def decode(format: str | None, data: bytes) -> np.ndarray:
    """(H, W) or (H, W, C) samples of such a file, as 16 bits."""
    import imagecodecs

    if format == "AVIF":
        samples = imagecodecs.avif_decode(data, index=0)
    else:
        if data.find(_END_OF_IMAGE, data.rfind(_START_OF_SCAN)) < 0:  # the decoder would make up what is missing
            raise OSError("its end is missing")
        samples = imagecodecs.jpeg8_decode(data)
        if samples.ndim == 3 and samples.shape[-1] == 4:
            raise PictureError("CMYK of more than 8 bits is not supported: save it as RGB first")
    return widened(samples, bits_of(format, data))


def widened(samples: np.ndarray, bits: int) -> np.ndarray:
    """Samples of up to 16 bits as 16."""
    most = (1 << bits) - 1
    return ((samples.astype(np.uint32) * 65535 + most // 2) // most).astype(np.uint16)


def as_8_bits(data: bytes) -> bytes:
    """A JPEG file that claims to have 8 bits, so that Pillow reads its metadata; its pixels are then not to be read."""
    place = _place_of_bits(data)
    return data if place is None else data[:place] + b"\x08" + data[place + 1 :]


def _place_of_bits(data: bytes) -> int | None:
    """Where a JPEG file says how many bits a sample has."""
    place = 2 if data.startswith(b"\xff\xd8") else len(data)
    while place + 5 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            return place + 4
        place += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, place + 2)[0]  # 0xFF: a filling byte
    return None

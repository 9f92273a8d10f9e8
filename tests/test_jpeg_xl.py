"""JPEG XL files."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import PIL.Image
import pytest

from zssr.errors import PictureError
from zssr.files import load
from zssr.files.jpeg_xl import read_header

RANDOM = np.random.default_rng(4)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_pixels_are_exact(bits: int, channels: int) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    levels = RANDOM.integers(0, 1 << bits, (24, 37, channels), kind).squeeze()
    image = load(imagecodecs.jpegxl_encode(levels, lossless=True, bitspersample=bits))
    assert image.peak == (255 if bits == 8 else 65535)
    assert np.array_equal(np.round(image.samples() / image.peak * ((1 << bits) - 1)), levels)


@pytest.mark.parametrize("size", [(16, 16), (40, 30), (100, 133), (7, 1300), (600, 1), (64, 128)])
def test_the_size_in_the_header(size: tuple[int, int]) -> None:
    data = imagecodecs.jpegxl_encode(np.zeros((*size, 3), np.uint8))
    assert read_header(data).size == size
    with pytest.raises(PictureError, match="--max-pixels"):
        load(data, max_pixels=200)


def test_colour_spaces() -> None:
    flat = np.full((16, 16, 3), 99, np.uint8)
    assert load(imagecodecs.jpegxl_encode(flat)).colours == ()
    linear = load(imagecodecs.jpegxl_encode(flat.astype(np.uint16)))  # which imagecodecs takes 16 bits for
    assert linear.colours == ((b"cICP", bytes((1, 8, 0, 1))),)


@pytest.mark.parametrize("compressed", [False, True])
def test_metadata(compressed: bool) -> None:
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0112] = "camera", 6
    extras = {b"Exif": bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0"), b"xml ": b"<x:xmpmeta/>"}
    data = imagecodecs.jpegxl_encode(RANDOM.integers(0, 255, (24, 37, 3), np.uint8), usecontainer=True)
    for kind, content in extras.items():
        packed = imagecodecs.brotli_encode(content)
        data += box(b"brob", kind + packed) if compressed else box(kind, content)
    image = load(data)
    assert image.size == (24, 37)  # the decoder has turned it already
    assert b"camera" in (image.exif or b"")
    assert image.xmp == b"<x:xmpmeta/>"


def test_broken_metadata_leave_the_picture() -> None:
    data = imagecodecs.jpegxl_encode(RANDOM.integers(0, 255, (24, 37, 3), np.uint8), usecontainer=True)
    for kind, content in ((b"Exif", bytes(4) + b"nothing"), (b"Exif", b""), (b"brob", b"xml nothing")):
        image = load(data + box(kind, content))
        assert image.size == (24, 37)
        assert "broken" in image.notes[0]


def test_a_jpeg_inside_is_read_as_itself() -> None:
    out = io.BytesIO()
    PIL.Image.fromarray(RANDOM.integers(0, 255, (24, 37, 3), np.uint8)).save(out, "JPEG", comment=b"text")
    image, itself = load(imagecodecs.jpegxl_encode_jpeg(out.getvalue())), load(out.getvalue())
    assert image.format == "jpg"
    assert image.comment == b"text"
    assert image.jpeg is not None
    assert itself.jpeg is not None
    assert image.jpeg.tables == itself.jpeg.tables
    assert np.array_equal(image.samples(), itself.samples())


def test_broken_files() -> None:
    data = imagecodecs.jpegxl_encode(RANDOM.integers(0, 255, (24, 37, 3), np.uint8), usecontainer=True)
    for share in (0.05, 0.3, 0.9):
        with pytest.raises(PictureError):
            load(data[: int(len(data) * share)])
    for _ in range(60):  # a picture or a PictureError, nothing else
        broken = bytearray(data)
        for place in RANDOM.integers(0, len(data), 4):
            broken[place] ^= int(RANDOM.integers(1, 256))
        try:
            load(bytes(broken))
        except PictureError as error:
            assert "\n" not in str(error)  # noqa: PT017 - success is fine too

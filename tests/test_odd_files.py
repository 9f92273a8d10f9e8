"""Files that are not quite as their formats want them."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

import zssr
from tests import fuzz
from tests.conftest import PICTURES
from zssr.errors import PictureError
from zssr.files.encoding import encode

PIXELS = np.asarray(PIL.Image.open(PICTURES / "cat.png").convert("RGB").resize((60, 40)))
WORDS = {315: "Jürgen Müller", 33432: "© 2024 猫"}  # author, copyright


def jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(out, "JPEG", quality=80, **options)
    return out.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, photometric="rgb", **options)  # type: ignore[arg-type]
    return out.getvalue()


def exif_of(data: bytes) -> dict[int, bytes]:
    found = PIL.Image.open(io.BytesIO(data)).getexif()
    return {tag: value.encode("latin-1") for tag, value in found.items() if isinstance(value, str)}


def test_a_jpeg_without_its_end() -> None:
    data = jpeg()
    image = zssr.load(data[:-2])
    assert torch.equal(image.pixels, zssr.load(data).pixels)
    assert image.notes == ("the file's end is missing, but none of its pixels",)
    after_a_marker = data[: data.rindex(b"\xff\x00") + 1]
    for short in (data[: len(data) // 2], data[:-60], after_a_marker, jpeg(progressive=True)[:-2]):
        with pytest.raises(PictureError, match="truncated"):
            zssr.load(short)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_sample_of_no_stated_use(kind: type) -> None:
    times = 1 if kind is np.uint8 else 257
    shape = np.zeros((40, 60, 1), np.uint8)
    shape[10:30, 20:40] = 255
    faint, light = np.minimum(shape, 1), PIXELS[..., :1]  # a mask of 0 and 1, and what might be infrared
    for sample, words in (
        (shape, "taken for transparency"), (0 * shape, "was dropped"), (faint, "was dropped"), (light, "was dropped")
    ):  # fmt: skip
        array = np.concatenate([PIXELS, sample], 2).astype(kind) * kind(times)
        image = zssr.load(tiff(array, extrasamples=["unspecified"]))
        assert words in image.notes[0]
        assert (image.alpha is not None) == (sample is shape)
        assert np.allclose(image.pixels.permute(1, 2, 0) * 255, PIXELS, atol=0.01)
        if image.alpha is not None:
            assert np.allclose(image.alpha[0] * 255, sample[..., 0], atol=0.01)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_tiff_of_odd_bits(bits: int) -> None:
    """Packed by hand, as few writers do it."""
    most = (1 << bits) - 1
    levels = np.round(PIXELS[..., 0].astype(float) / 255 * most).astype(np.int64)
    text = "".join("".join(f"{level:0{bits}b}" for level in row).ljust(-(-60 * bits // 8) * 8, "0") for row in levels)
    strip = int(text, 2).to_bytes(len(text) // 8, "big")
    entries = [
        (256, 3, 1, 60), (257, 3, 1, 40), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 3, 1, 40), (279, 4, 1, len(strip)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        directory += struct.pack("<HHII", tag, kind, count, value)  # little-endian: a short is its first half
    data = struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory + struct.pack("<I", 0)
    image = zssr.load(data)
    assert image.peak == 65535
    assert np.abs(image.pixels[0].numpy() * most - levels).max() < 0.2  # of the stored levels


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_than_8_bits(bits: int, channels: int) -> None:
    levels = np.random.default_rng(bits).integers(0, 1 << bits, (40, 60, channels), np.uint16).squeeze()
    image = zssr.load(imagecodecs.avif_encode(levels, level=100, bitspersample=bits))
    assert image.peak == 65535
    assert np.array_equal(np.round(image.samples() / 65535 * ((1 << bits) - 1)), levels)


def test_avif_says_its_colour_space() -> None:
    data = imagecodecs.avif_encode(PIXELS, level=100, primaries=12, transfer=16, matrix=0)
    assert zssr.load(data).colours == ((b"cICP", bytes((12, 16, 0, 1))),)


def test_jpeg_of_12_bits() -> None:
    levels = PIXELS.astype(np.uint16) * 16
    for samples in (levels, levels[..., 0].copy()):
        data = imagecodecs.jpeg8_encode(samples, level=100, bitspersample=12, subsampling="444")
        image = zssr.load(data[:2] + b"\xff\xfe\x00\x06text" + data[2:])
        assert image.peak == 65535
        assert image.comment == b"text"
        assert np.abs(image.samples() / 65535 * 4095 - samples).max() < 8
        for short in (data[:-2], data[: len(data) // 2]):
            with pytest.raises(PictureError, match="truncated"):
                zssr.load(short)


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_big_tiff(bits: type, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, PIXELS.astype(bits), photometric="rgb", bigtiff=True, extratags=[(315, "s", 0, "An author", True)]
    )
    image = zssr.load(path)
    for format in ("png", "tiff", "jpg", "webp"):
        data, notes = encode(image, format)
        assert not any("dropped" in note for note in notes)
        assert exif_of(data)[315] == b"An author", format


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff"])
def test_texts_in_utf_8(format: str, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    for tag, words in WORDS.items():
        exif[tag] = words.encode()
    image = zssr.load(jpeg(exif=exif))
    for peak in {255, 65535 if format in ("png", "tiff") else 255}:
        data, _ = encode(dataclasses.replace(image, peak=peak, jpeg=None), format)
        assert {tag: exif_of(data)[tag].decode() for tag in WORDS} == WORDS


def test_an_entry_of_another_type_than_its_tag() -> None:
    """The others stay, and so does the work."""
    out = io.BytesIO()
    tags = [(315, "s", 0, "An author", True), (306, 5, 1, (3779, 100), True)]  # a date that is a fraction
    tifffile.imwrite(out, PIXELS, photometric="rgb", datetime=None, extratags=tags)
    image = zssr.load(out.getvalue())
    assert image.notes == ("1 of its EXIF entries is broken and dropped",)
    assert exif_of(encode(image, "png")[0])[315] == b"An author"


def test_a_thousand_broken_files() -> None:
    """More of them: python -m tests.fuzz."""
    counts, faults = fuzz.fuzz(1000, 0, list(fuzz.originals()))
    assert faults == []
    assert counts["loaded"] > 100
    assert counts["refused"] > 100


def test_the_fuzzer_sees_faults() -> None:
    def raises(data: bytes) -> None:
        raise KeyError("no")

    def tells_much(data: bytes) -> None:
        raise PictureError("one\ntwo")

    assert fuzz.outcome(raises, b"") == "KeyError: 'no'"
    assert fuzz.outcome(tells_much, b"").startswith("not in one line")
    with fuzz._caught_output() as written:
        os.write(2, b"a line of a library")
        assert written() == "a line of a library"
        assert written() == ""


def test_directories_of_exif_stay_what_they_are() -> None:
    exif = PIL.Image.Exif()
    exif[0x8769] = {0x829A: 0.01, 0xA005: {1: "R98", 2: b"0100"}}
    exif[0x8825] = {1: "N", 2: (50.0, 56.0, 12.0)}
    found = PIL.Image.open(io.BytesIO(encode(zssr.load(jpeg(exif=exif)), "png")[0])).getexif()
    assert found.get_ifd(0x8769)[0x829A] == 0.01
    assert dict(found.get_ifd(0xA005)) == {1: "R98", 2: b"0100"}
    assert found.get_ifd(0x8825)[1] == "N"

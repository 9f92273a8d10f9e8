"""Nothing that a file holds beside its pixels is lost without a note."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile
from PIL.PngImagePlugin import PngInfo

from zssr.files import encode, load
from zssr.formats import FORMATS, METADATA
from zssr.image import Image, from_array

SRGB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6" dc:rights="secret"><exif:PixelXDimension>99'
XMP += b"</exif:PixelXDimension></rdf:Description></x:xmpmeta>"
IPTC = b"\x1c\x02\x50\x00\x06secret"
COMMENT = "a secret, ©".encode()
PIXELS = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)


def exif() -> PIL.Image.Exif:
    entries = PIL.Image.Exif()
    entries[0x010E], entries[0x0131], entries[0x0132] = "a secret", "a program", "2020:01:01 00:00:00"
    entries[0x9C9B], entries[0x8769], entries[0x8825] = "title".encode("utf-16-le"), {0x829A: 0.5}, {1: "N"}
    return entries


def saved(format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(out, format, **options)
    return out.getvalue()


def png() -> bytes:
    texts = PngInfo()
    texts.add_text("Author", "secret")
    texts.add_text("Long", "secret " * 99, zip=True)
    texts.add_itxt("Title", "Größe", "de", "Titel")
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    texts.add(b"cICP", bytes((12, 13, 0, 1)))
    texts.add(b"gAMA", struct.pack(">I", 100000))
    return saved("PNG", pnginfo=texts, dpi=(300, 200), icc_profile=SRGB, exif=exif())


def jpeg() -> bytes:
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0"
    segment = b"\xff\xed" + struct.pack(">H", 16 + len(resource)) + b"Photoshop 3.0\0" + resource
    return saved("JPEG", comment=COMMENT, xmp=XMP, dpi=(300, 200), icc_profile=SRGB, exif=exif(), extra=segment)


def tiff(bits: type) -> bytes:
    out = io.BytesIO()
    tags = [(315, "s", 0, "secret", True), (700, "B", len(XMP), XMP, True)]
    tifffile.imwrite(
        out, PIXELS.astype(bits), photometric="rgb", description="a secret", datetime="2020:01:01 00:00:00",
        software="a program", resolution=(300, 200), resolutionunit="INCH", iccprofile=SRGB, metadata=None,
        extratags=tags,
    )  # fmt: skip
    return out.getvalue()


def jpeg_xl() -> bytes:
    data = imagecodecs.jpegxl_encode(PIXELS, usecontainer=True)
    for kind, content in ((b"Exif", bytes(4) + exif().tobytes().removeprefix(b"Exif\0\0")), (b"xml ", XMP)):
        data += struct.pack(">I4s", 8 + len(content), kind) + content
    return data


SOURCES = {
    "PNG": png(),
    "JPEG": jpeg(),
    "WebP": saved("WEBP", xmp=XMP, icc_profile=SRGB, exif=exif()),
    "AVIF": saved("AVIF", xmp=XMP, icc_profile=SRGB, exif=exif()),
    "TIFF": tiff(np.uint8),
    "16-bit TIFF": tiff(np.uint16),
    "GIF": saved("GIF", comment=COMMENT),
    "BMP": saved("BMP", dpi=(300, 200)),
    "JPEG XL": jpeg_xl(),
}
EXPECTED = {
    "PNG": {"icc", "exif", "xmp", "dpi", "texts", "colours"},
    "JPEG": {"icc", "exif", "xmp", "dpi", "comment", "iptc"},
    "WebP": {"icc", "exif", "xmp"},
    "AVIF": {"icc", "exif", "xmp"},
    "TIFF": {"icc", "exif", "xmp", "dpi"},
    "16-bit TIFF": {"icc", "exif", "xmp", "dpi"},
    "GIF": {"comment"},
    "BMP": {"dpi"},
    "JPEG XL": {"exif", "xmp"},
}


def fields(image: Image) -> dict[str, Any]:
    """The metadata that are there, in a form that can be compared."""
    found = {name: getattr(image, name) for name in METADATA if getattr(image, name)}
    if "exif" in found:
        entries = PIL.Image.Exif()
        entries.load(found["exif"])
        directories = {tag: dict(entries.get_ifd(tag)) for tag in (0x8769, 0x8825) if tag in entries}
        layout = (0x0112, 0x011A, 0x011B, 0x0128, 0x83BB)  # orientation, resolution and IPTC data, which are fields too
        found["exif"] = {**{tag: value for tag, value in entries.items() if tag not in layout}, **directories}
    if "dpi" in found:
        found["dpi"] = [round(value) for value in found["dpi"]]
    return found


def test_every_field_is_in_the_table() -> None:
    others = {"pixels", "alpha", "peak", "format", "notes", "jpeg"}
    assert {field.name for field in dataclasses.fields(Image)} == others | set(METADATA)


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_read(source: str) -> None:
    image = load(SOURCES[source])
    assert fields(image).keys() == EXPECTED[source]
    assert image.notes == ()
    assert b"Orientation" not in (image.xmp or b"")
    assert b"PixelXDimension" not in (image.xmp or b"")
    assert b"secret" in (image.xmp or b"secret")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("peak", [255, 65535])
def test_what_goes_in_comes_out_or_a_note_says_so(source: str, format: str, peak: int) -> None:
    image = dataclasses.replace(load(SOURCES[source]), peak=peak, jpeg=None)
    data, notes = encode(image, format)
    before, after = fields(image), fields(load(data))
    if "comment" in before and format == "png":  # it is one of PNG's texts
        after["comment"] = after["texts"][0][1].removeprefix(b"Comment\0\0\0\0\0")
    for name, value in before.items():
        said = [note for note in notes if METADATA[name] in note]
        assert len(said) == (name not in after or after[name] != value), (name, notes)
        if name in FORMATS[format].holds and name != "exif":
            assert not said


@pytest.mark.parametrize("format", FORMATS)
def test_stripped_and_anonymous(format: str) -> None:
    for source in SOURCES.values():
        image = load(source)
        for bare in (encode(image, format, strip=True), encode(image.anonymous(), format)):
            assert b"secret" not in bare[0]
        assert not fields(load(encode(image, format, strip=True)[0]))
        assert load(encode(image.anonymous(), format)[0]).icc == image.icc


def test_srgb_needs_no_note() -> None:
    gamma = b"gAMA", struct.pack(">I", 45450)
    chromaticities = b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    image = from_array(PIXELS)
    for colours in ((gamma, chromaticities), ((b"sRGB", b"\0"),), ((b"cICP", bytes((1, 13, 0, 1))),)):
        assert encode(dataclasses.replace(image, colours=colours), "jpg")[1] == []
    linear = dataclasses.replace(image, colours=((b"gAMA", struct.pack(">I", 100000)),))
    assert "colours may look different" in encode(linear, "jpg")[1][0]


def test_what_nobody_knows_is_named() -> None:
    chunk = struct.pack(">I", 2) + b"vpAgab" + struct.pack(">I", zlib.crc32(b"vpAgab"))
    plain = saved("PNG")
    assert load(plain[:33] + chunk + plain[33:]).notes[0].endswith("were not kept: vpAg")
    plain = saved("JPEG", extra=b"\xff\xeb\x00\x08JP\x00abc")
    assert load(plain).notes[0].endswith("were not kept: APP11 JP")


def test_further_pictures_are_counted() -> None:
    other = PIL.Image.new("RGB", (8, 8))
    assert load(saved("MPO", save_all=True, append_images=[other])).notes == ("first of 2 frames",)


def test_what_does_not_fit_is_named() -> None:
    image = dataclasses.replace(from_array(PIXELS), xmp=b"x" * 70_000, comment=b"short")
    data, notes = encode(image, "jpg")
    assert [note for note in notes if "XMP" in note] == notes
    assert load(data).comment == b"short"


def test_a_tiff_that_pillow_does_not_open() -> None:
    for big in (False, True):
        out = io.BytesIO()
        tifffile.imwrite(
            out, np.zeros((8, 9, 2), np.uint16), photometric="minisblack", extrasamples=["unassalpha"], bigtiff=big,
            description="a picture", metadata=None, resolution=(300, 300), resolutionunit="INCH",
        )  # fmt: skip
        found = fields(load(out.getvalue()))
        assert found["exif"][0x010E] == "a picture"
        assert found["dpi"] == [300, 300]

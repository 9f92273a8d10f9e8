"""File formats, a row each; without torch and Pillow, so that help and mistakes need not wait for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Metadata, by the field of Image that holds them -> what notes call them.
METADATA = {
    "icc": "colour profile",
    "exif": "EXIF data",
    "xmp": "XMP data",
    "iptc": "IPTC data",
    "dpi": "resolution",
    "comment": "comment",
    "texts": "texts",
    "colours": "colour tags, so that colours may look different",
}
_COMMON = frozenset({"icc", "exif", "xmp"})


@dataclass(frozen=True)
class Format:
    """A format of outputs.

    name: as settings and notes say it. suffixes: every ending that means it, the first one that of new files.
    pillow_name: what Pillow calls it. mime: its MIME type. bits: the most it holds of a sample, 8 or 16.
    holds: the metadata, of METADATA, that it has a place of its own for. longest_side: the most pixels a side it can
    store. holds_grey: else grey is stored as RGB. holds_exif_directories: whether EXIF data keep their sub-directories
    as Pillow writes them. has_quality: whether it is written with the setting jpeg_quality. options: what else Pillow
    is told for saving.
    """

    name: str
    suffixes: tuple[str, ...]
    pillow_name: str
    mime: str
    holds: frozenset[str]
    bits: int = 8
    longest_side: int = 2**31 - 1
    holds_alpha: bool = True
    holds_grey: bool = True
    holds_exif_directories: bool = True
    has_quality: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def save_options(self, jpeg_quality: int) -> dict[str, Any]:
        """Pillow's keywords for saving."""
        return {**self.options, "quality": jpeg_quality} if self.has_quality else {**self.options}


_TABLE = (
    Format(
        "png", (".png",), "PNG", "image/png", _COMMON | {"dpi", "comment", "texts", "colours"}, bits=16,
    ),
    Format(
        "jpg", (".jpg", ".jpeg"), "JPEG", "image/jpeg", _COMMON | {"iptc", "dpi", "comment"},
        longest_side=65500, holds_alpha=False, has_quality=True, options={"subsampling": 0},
    ),
    Format(
        "webp", (".webp",), "WEBP", "image/webp", _COMMON, longest_side=16383, holds_grey=False,
        options={"lossless": True, "exact": True},
    ),
    Format(
        "tiff", (".tiff", ".tif"), "TIFF", "image/tiff", _COMMON | {"iptc", "dpi"}, bits=16,
        holds_exif_directories=False, options={"compression": "tiff_adobe_deflate"},
    ),
    Format(
        "avif", (".avif",), "AVIF", "image/avif", _COMMON, longest_side=65536, holds_grey=False, has_quality=True,
        options={"subsampling": "4:4:4"},
    ),
)  # fmt: skip
FORMATS = {format.name: format for format in _TABLE}

# name -> ending of a new file, and every ending that means the format
WRITABLE = {name: format.suffixes[0] for name, format in FORMATS.items()}
FORMAT_OF_SUFFIX = {suffix: name for name, format in FORMATS.items() for suffix in format.suffixes}
LARGEST_SIDE = {name: format.longest_side for name, format in FORMATS.items()}

# Formats are recognised by content and only these decoders of Pillow are ever tried.
PILLOW_READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF")
READABLE = ("JPEG", "PNG", "WebP", "TIFF", "BMP", "AVIF", "GIF", "JPEG XL")  # for people
# Ending of an input -> the format of its result, if that is to be the same; pictures in folders are found by these.
FORMAT_OF_INPUT = {
    **FORMAT_OF_SUFFIX, ".jfif": "jpg", ".jpe": "jpg", ".mpo": "jpg", ".apng": "png", ".avifs": "avif",
    ".bmp": "png", ".dib": "png", ".gif": "png", ".jxl": "png",
}  # fmt: skip
SUFFIXES = frozenset(FORMAT_OF_INPUT)
BESIDE_RESULTS = (".json", ".html", ".base64", ".safetensors")  # what zssr itself leaves in folders of pictures
# Pillow's name -> ours; MPO is a JPEG file with further pictures behind the first.
NAME_OF_PILLOW = {**{format.pillow_name: name for name, format in FORMATS.items()}, "MPO": "jpg"}

DEFAULT_MAX_PIXELS = 100_000_000

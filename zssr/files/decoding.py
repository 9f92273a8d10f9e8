"""Reading picture files.

Pillow reads everything of 8 bits and most metadata. It cannot hold more than one channel of 16 bits, so PNG, AVIF and
JPEG of more than 8 bits go through imagecodecs and such TIFF through tifffile.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from zssr.apart import BrokenFileError, read_apart
from zssr.errors import PictureError, one_line
from zssr.files import deep, jpeg_xl, mending
from zssr.files.metadata import read_metadata
from zssr.formats import DEFAULT_MAX_PIXELS, PILLOW_READS, READABLE
from zssr.image import (
    BROKEN,
    ORIENTATION_TAG,
    Image,
    JpegData,
    from_array,
    profile_of,
    to_8_bit_mode,
    with_metadata,
)

EXTRA_SAMPLES, PHOTOMETRIC = 338, 262  # tags of TIFF


def load(
    source: str | os.PathLike[str] | bytes,
    max_megabytes: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    partial: bool = False,
) -> Image:
    """Read a picture from a path or from the bytes of a file.

    Orientation is applied, palettes are looked up, CMYK becomes sRGB; everything else stays as
    stored. partial: whether what is left of a truncated file is read, and the rest filled. Raises
    PictureError when there is no picture, it is of no allowed format, is larger than the limits,
    truncated or corrupt.
    """
    name = "the input" if isinstance(source, bytes) else os.fspath(source)
    data = source if isinstance(source, bytes) else _read(Path(source), max_megabytes)
    if max_megabytes is not None and len(data) > max_megabytes * 1e6:
        raise PictureError(
            f"{name}: {len(data) / 1e6:.1f} MB is more than the limit of {max_megabytes:g} MB; raise it with --max-MB"
        )
    if not data:
        raise PictureError(f"{name}: the file is empty")
    try:
        return _decode(data, max_pixels)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from None
    except PIL.Image.DecompressionBombError:
        raise PictureError(f"{name}: too many pixels to be opened safely") from None
    except BROKEN as error:
        complaint = f"{name}: truncated or corrupt file ({one_line(error)})"
    mended = mending.mend(data, max_pixels)
    if mended is None:
        raise PictureError(complaint)
    if not (partial or mended.is_whole):
        raise PictureError(f"{complaint}; --partial restores what can be read")
    try:
        picture = _decode(mended.data, max_pixels)
    except (PictureError, *BROKEN):
        raise PictureError(f"{complaint}; nothing of the picture can be read") from None
    return dataclasses.replace(picture, notes=(mended.note, *picture.notes))


def _read(path: Path, max_megabytes: float | None) -> bytes:
    try:
        if path.is_dir():
            raise PictureError(f"{path}: is a folder, not a picture")
        size = path.stat().st_size
        if max_megabytes is not None and size > max_megabytes * 1e6:  # before reading it all
            raise PictureError(
                f"{path}: {size / 1e6:.1f} MB is more than the limit of {max_megabytes:g} MB; raise it with --max-MB"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: cannot be read ({one_line(error)})") from None


def _decode(data: bytes, max_pixels: int) -> Image:
    """Raises PictureError, and of BROKEN what libraries raise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's bomb warning: the limit is checked below
            opened = PIL.Image.open(io.BytesIO(deep.as_8_bits(data)), formats=PILLOW_READS)
    except PIL.UnidentifiedImageError:
        if data.startswith(mending.TIFF_SIGNATURES):
            return _decode_tiff_alone(data, max_pixels)
        if jpeg_xl.is_jpeg_xl(data):
            return _decode_jpeg_xl(data, max_pixels)
        raise PictureError(
            f"not a picture that zssr reads ({', '.join(READABLE)}); convert it to PNG with another program"
        ) from None
    _check_size(opened.width, opened.height, max_pixels)
    notes: list[str] = []
    frames = getattr(opened, "n_frames", 1)
    if frames > 1:
        notes.append(f"first of {frames} frames")
    picture, icc = _pixels(opened, data, notes)
    further = read_metadata(opened, data, notes)
    return dataclasses.replace(with_metadata(picture, opened, icc, notes), **further)


def _decode_tiff_alone(data: bytes, max_pixels: int) -> Image:
    """A TIFF of a kind that Pillow does not know at all, such as 16-bit grey with alpha."""
    import tifffile

    notes: list[str] = []
    described, exif = PIL.Image.Image(), PIL.Image.Exif()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        _check_size(page.imagewidth, page.imagelength, max_pixels)
        if len(file.pages) > 1:
            notes.append(f"first of {len(file.pages)} frames")
        described.format, described.info = "TIFF", {"xmp": page.tags.valueof(700)}
        exif.bigtiff, exif.endian = file.is_bigtiff, file.byteorder
        exif.load_from_fp(io.BytesIO(data), page.offset)
        icc = page.tags.valueof(34675)
    return with_metadata(from_array(_decode_tiff_16(data, max_pixels)), described, icc, notes, exif)


def _decode_jpeg_xl(data: bytes, max_pixels: int) -> Image:
    header = jpeg_xl.read_header(data)
    _check_size(*header.size[::-1], max_pixels)
    jpeg = jpeg_xl.jpeg_inside(data)
    if jpeg is not None:
        return _decode(jpeg, max_pixels)
    notes = ["first frame of an animation"] if header.animated else []
    if header.colours is None:
        notes.append("its colour profile was not read, so that colours may look different")
    described, exif = PIL.Image.Image(), PIL.Image.Exif()
    described.format, described.info = "JXL", jpeg_xl.read_metadata(data)
    exif.load(described.info.get("exif", b""))
    exif[ORIENTATION_TAG] = 1  # applied by the decoder
    picture = with_metadata(from_array(jpeg_xl.decode(data, header.bits)), described, None, notes, exif)
    return dataclasses.replace(picture, colours=header.colours or ())


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"{width}x{height} is more than the limit of {max_pixels} pixels; raise it with --max-pixels"
        )


def _pixels(opened: PIL.Image.Image, data: bytes, notes: list[str]) -> tuple[Image, bytes | None]:
    """The picture as it lies in the file, without metadata, and the profile that holds for it."""
    if _is_16_bit(opened, data):
        return from_array(_with_alpha(opened, _decode_16_bit(opened, data), notes)), profile_of(opened)
    if _has_unnamed_sample(opened):
        samples = _decode_tiff(data, opened.width * opened.height)
        return from_array(_with_alpha(opened, samples, notes)), profile_of(opened)
    converted, icc = to_8_bit_mode(opened, profile_of(opened), notes)
    jpeg = _jpeg_data(opened, data, notes) if opened.format in ("JPEG", "MPO") and opened.mode in ("L", "RGB") else None
    return dataclasses.replace(from_array(np.array(converted)), jpeg=jpeg), icc


def _jpeg_data(opened: PIL.Image.Image, data: bytes, notes: list[str]) -> JpegData | None:
    """The file's own coefficients; None where its components are not luma and chroma, or they cannot be read."""
    names = [component[0] for component in opened.layer]  # type: ignore[attr-defined]
    if len(names) > 1 and (opened.info.get("adobe_transform") == 0 or names == list(b"RGB")):
        return None
    try:
        read = read_apart("coefficients", data)
    except BrokenFileError:
        notes.append("the file's own coefficients cannot be read: found from its pixels")
        return None
    tables, samplings = read["tables"], read["samplings"]
    return JpegData(
        tuple(tuple(map(int, table)) for table in tables),
        tuple((int(vertical), int(horizontal)) for vertical, horizontal in samplings),
        tuple(torch.from_numpy(read[f"coefficients{number}"]) for number in range(len(read) - 2)),
    )


def _is_16_bit(opened: PIL.Image.Image, data: bytes) -> bool:
    if opened.format == "TIFF":
        bits = opened.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        if max(bits) > 16 or opened.mode == "F":
            raise PictureError("32-bit samples: save it with 8 or 16 bits a channel first")
        return 8 < max(bits) <= 16
    if opened.mode.startswith("I"):
        return True
    if opened.format == "PNG":
        return any(";16" in str(tile[3]) for tile in getattr(opened, "tile", ()))
    return deep.bits_of(opened.format, data) > 8


def _has_unnamed_sample(opened: PIL.Image.Image) -> bool:
    """Whether a grey or RGB TIFF says nothing of what its last sample is for; Pillow leaves it out."""
    tags = getattr(opened, "tag_v2", {})
    return opened.format == "TIFF" and tags.get(EXTRA_SAMPLES) == (0,) and tags.get(PHOTOMETRIC) in (1, 2)


def _with_alpha(opened: PIL.Image.Image, array: np.ndarray, notes: list[str]) -> np.ndarray:
    """With its last sample as transparency, where it looks so: most of it is nothing or full, and some of it full.

    Other uses are masks of 0 and 1, and light that is not seen.
    """
    if array.ndim < 3 or not _has_unnamed_sample(opened):
        return array
    sample, full = array[..., -1], np.iinfo(array.dtype).max
    if (sample == full).any() and ((sample == 0) | (sample == full)).mean() > 0.5:
        notes.append("a sample of no stated use is taken for transparency")
        return array
    notes.append("a sample of no stated use, which is no transparency, was dropped")
    return array[..., 0] if array.shape[-1] == 2 else array[..., :-1]


def _decode_16_bit(opened: PIL.Image.Image, data: bytes) -> np.ndarray:
    if opened.format == "PNG":
        import imagecodecs

        opened.load()  # metadata may follow the pixels
        return imagecodecs.png_decode(data)
    if opened.format == "TIFF":
        return _decode_tiff_16(data, opened.width * opened.height)
    if opened.mode.startswith("I"):
        raise PictureError(f"{opened.format} with pixels of type {opened.mode} is not supported")
    return deep.decode(opened.format, data)


def _decode_tiff_16(data: bytes, max_pixels: int) -> np.ndarray:
    """Of 9 to 16 bits, as 16."""
    array = _decode_tiff(data, max_pixels)
    if array.dtype != np.uint16:
        raise PictureError(f"TIFF samples of type {array.dtype} are not supported: save it as 16-bit integers")
    return array


def _decode_tiff(data: bytes, max_pixels: int) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        # Strips may share their bytes, so that a small file holds any number of samples.
        if page.samplesperpixel > 4 or page.imagedepth != 1 or math.prod(page.shape) > 4 * max_pixels:
            raise PictureError("TIFF with more than 4 samples a pixel: save it as RGB first")
        array = page.asarray()
        if page.axes == "SYX":
            array = np.moveaxis(array, 0, -1)
        bits = page.bitspersample
        if array.dtype == np.uint16 and bits < 16:
            array = deep.widened(array, bits)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            colours = array.shape[-1] - len(page.extrasamples) if array.ndim == 3 else None
            array[..., :colours] = np.iinfo(array.dtype).max - array[..., :colours]
        elif page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
            raise PictureError(f"TIFF of type {page.photometric!r} is not supported here: save it as RGB first")
        if page.extrasamples and page.extrasamples[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
            # Stored premultiplied; zssr works on the colours themselves.
            alpha = array[..., -1:].astype(np.float64)
            colour = np.divide(array[..., :-1] * 65535.0, alpha, out=np.zeros(array[..., :-1].shape), where=alpha > 0)
            array = np.concatenate([colour.round().clip(0, 65535).astype(np.uint16), array[..., -1:]], -1)
        return array

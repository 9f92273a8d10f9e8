"""The bytes of picture files as rasters; without torch, for the process that decodes files.

Pillow reads everything of 8 bits and all metadata. It cannot hold more than one channel of 16 bits, so 16-bit PNG goes
through imagecodecs and 16-bit TIFF through tifffile.
"""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import PIL.Image

from zssr.errors import PictureError
from zssr.formats import READABLE
from zssr.raster import BROKEN, ORIENTATION_TAG, Raster, raster_of, with_metadata

EXTRA_SAMPLES, PHOTOMETRIC = 338, 262  # tags of TIFF
END_OF_IMAGE = b"\xff\xd9"
FILLING = bytes(range(0, 200, 3))  # that a JPEG file's missing pixels would be made of


def size_of(path: str) -> tuple[int, int]:
    """(height, width) as the header says it. Raises what Pillow raises."""
    with PIL.Image.open(path, formats=READABLE) as opened:
        return opened.height, opened.width


def decode(data: bytes, max_pixels: int) -> Raster:
    """The picture in a file.

    Palettes are looked up, CMYK becomes sRGB; everything else stays as stored. Raises PictureError for what is no
    picture, of no allowed format or kind, or larger than the limit; and what the libraries raise on broken files.
    """
    try:
        opened = PIL.Image.open(io.BytesIO(data), formats=READABLE)
    except PIL.UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _decode_tiff_alone(data, max_pixels)
        raise PictureError("not a picture that zssr reads (JPEG, PNG, WebP, TIFF, BMP, AVIF, GIF)") from None
    _check_pixels(opened.width, opened.height, max_pixels)
    try:
        return _decode(opened, data)
    except PictureError:
        raise
    except BROKEN:
        if opened.format != "JPEG" or data.endswith(END_OF_IMAGE) or not _holds_all_pixels(data):
            raise
    raster = decode(data + END_OF_IMAGE, max_pixels)
    return dataclasses.replace(raster, notes=("the file's end is missing, but none of its pixels", *raster.notes))


def _holds_all_pixels(data: bytes) -> bool:
    """Whether a JPEG file lacks nothing but its end: then what follows its pixels changes none of them.

    False for progressive files, whose later scans may be missing as a whole.
    """
    try:
        first, second = (_decoded(data + more + END_OF_IMAGE) for more in (b"", FILLING))
    except BROKEN:
        return False
    return first is not None and second is not None and bool((first == second).all())


def _decoded(data: bytes) -> np.ndarray | None:
    with PIL.Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
        return None if opened.info.get("progressive") else np.array(opened)


def _decode_tiff_alone(data: bytes, max_pixels: int) -> Raster:
    """A TIFF of a kind that Pillow does not know at all, such as 16-bit grey with alpha."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        _check_pixels(page.imagewidth, page.imagelength, max_pixels)
        icc = page.tags.valueof(34675)
        orientation = page.tags.valueof(ORIENTATION_TAG)
    return Raster(_decode_tiff_16(data, max_pixels), orientation, icc, format="tiff")


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"{width}x{height} is more than the limit of {max_pixels} pixels; raise it with --max-pixels"
        )


def _decode(opened: PIL.Image.Image, data: bytes) -> Raster:
    frames = getattr(opened, "n_frames", 1)
    notes = [f"first of {frames} frames"] if frames > 1 and opened.format != "MPO" else []
    if _is_16_bit(opened):
        samples = _with_alpha(opened, _decode_16_bit(opened, data), notes)
        return with_metadata(samples, opened, opened.info.get("icc_profile"), notes)
    if _has_unnamed_sample(opened):
        samples = _with_alpha(opened, _decode_tiff(data, opened.width * opened.height), notes)
        return with_metadata(samples, opened, opened.info.get("icc_profile"), notes)
    raster = raster_of(opened)
    return dataclasses.replace(raster, notes=[*notes, *raster.notes], holds_ycc=_holds_ycc(opened))


def _holds_ycc(opened: PIL.Image.Image) -> bool:
    """Whether a file is JPEG, and its components are grey or luma and chroma."""
    if opened.format not in ("JPEG", "MPO") or opened.mode not in ("L", "RGB"):
        return False
    names = [component[0] for component in opened.layer]  # type: ignore[attr-defined]
    return len(names) == 1 or not (opened.info.get("adobe_transform") == 0 or names == list(b"RGB"))


def _is_16_bit(opened: PIL.Image.Image) -> bool:
    if opened.format == "TIFF":
        bits = opened.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        if max(bits) > 16 or opened.mode == "F":
            raise PictureError("32-bit samples: save it with 8 or 16 bits a channel first")
        return 8 < max(bits) <= 16
    if opened.mode.startswith("I"):
        return True
    return opened.format == "PNG" and any(";16" in str(tile[3]) for tile in getattr(opened, "tile", ()))


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

        return imagecodecs.png_decode(data)
    if opened.format != "TIFF":
        raise PictureError(f"{opened.format} with pixels of type {opened.mode} is not supported")
    return _decode_tiff_16(data, opened.width * opened.height)


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
            most = (1 << bits) - 1
            array = ((array.astype(np.uint32) * 65535 + most // 2) // most).astype(np.uint16)
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

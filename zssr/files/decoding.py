"""The bytes of picture files as rasters; without torch, for the process that decodes files.

Pillow reads everything of 8 bits and most metadata. It cannot hold more than one channel of 16 bits, so PNG, AVIF and
JPEG of more than 8 bits go through imagecodecs and such TIFF through tifffile.
"""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import PIL.Image

from zssr.errors import PictureError, one_line
from zssr.files import deep, jpeg_xl, mending
from zssr.files.metadata import read_metadata
from zssr.formats import PILLOW_READS, READABLE
from zssr.raster import BROKEN, Raster, profile_of, to_8_bit_mode, with_metadata

BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")  # of files that Pillow reads, if they are whole
EXTRA_SAMPLES, PHOTOMETRIC = 338, 262  # tags of TIFF


def size_of(path: str) -> tuple[int, int]:
    """(height, width) as the header says it. Raises what Pillow raises."""
    with PIL.Image.open(path, formats=PILLOW_READS) as opened:
        return opened.height, opened.width


def decode(data: bytes, max_pixels: int, partial: bool) -> Raster:
    """The picture in a file.

    Palettes are looked up, CMYK becomes sRGB; everything else stays as stored. partial: whether what is left of a
    truncated file is read, and the rest filled. Raises PictureError for what is no picture, of no allowed format or
    kind, larger than the limit, truncated or corrupt; and what libraries raise that nobody expects.
    """
    try:
        return _decode(data, max_pixels)
    except BROKEN as error:
        complaint = f"truncated or corrupt file ({one_line(error)})"
    mended = mending.mend(data, max_pixels)
    if mended is None:
        raise PictureError(complaint)
    if not (partial or mended.is_whole):
        raise PictureError(f"{complaint}; --partial restores what can be read")
    try:
        raster = _decode(mended.data, max_pixels)
    except (PictureError, *BROKEN):
        raise PictureError(f"{complaint}; nothing of the picture can be read") from None
    return dataclasses.replace(raster, notes=(mended.note, *raster.notes))


def _decode(data: bytes, max_pixels: int) -> Raster:
    """Raises PictureError, and of BROKEN what libraries raise."""
    try:
        opened = PIL.Image.open(io.BytesIO(deep.as_8_bits(data)), formats=PILLOW_READS)
    except PIL.UnidentifiedImageError:
        if data.startswith(mending.TIFF_SIGNATURES):
            return _decode_tiff_alone(data, max_pixels)
        if jpeg_xl.is_jpeg_xl(data):
            return _decode_jpeg_xl(data, max_pixels)
        if data.startswith(BEGINNINGS):
            raise OSError("its header is damaged") from None
        raise PictureError(
            f"not a picture that zssr reads ({', '.join(READABLE)}); convert it to PNG with another program"
        ) from None
    _check_size(opened.width, opened.height, max_pixels)
    notes: list[str] = []
    frames = getattr(opened, "n_frames", 1)
    if frames > 1:
        notes.append(f"first of {frames} frames")
    samples, icc = _samples(opened, data, notes)
    further = read_metadata(opened, data, notes)
    raster = with_metadata(samples, opened, icc, notes)
    return dataclasses.replace(raster, **further, holds_ycc=samples.dtype == np.uint8 and _holds_ycc(opened))


def _decode_tiff_alone(data: bytes, max_pixels: int) -> Raster:
    """A TIFF of a kind that Pillow does not know at all, such as 16-bit grey with alpha."""
    import tifffile

    notes: list[str] = []
    described, exif = PIL.Image.Image(), PIL.Image.Exif()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        _check_size(page.imagewidth, page.imagelength, max_pixels)
        if len(file.pages) > 1:
            notes.append(f"first of {len(file.pages)} frames")
        described.format = "TIFF"
        described.info = {"xmp": page.tags.valueof(700), "icc_profile": page.tags.valueof(34675)}
        exif.bigtiff, exif.endian = file.is_bigtiff, file.byteorder
        exif.load_from_fp(io.BytesIO(data), page.offset)
    return with_metadata(_decode_tiff_16(data, max_pixels), described, profile_of(described), notes, exif)


def _decode_jpeg_xl(data: bytes, max_pixels: int) -> Raster:
    header = jpeg_xl.read_header(data)
    _check_size(*header.size[::-1], max_pixels)
    jpeg = jpeg_xl.jpeg_inside(data)
    if jpeg is not None:
        return _decode(jpeg, max_pixels)
    notes = ["first frame of an animation"] if header.animated else []
    if header.colours is None:
        notes.append("its colour profile was not read, so that colours may look different")
    described = PIL.Image.Image()
    described.format = "JXL"
    try:
        described.info = jpeg_xl.read_metadata(data)
    except BROKEN:
        notes.append("its metadata are broken and were dropped")
    raster = with_metadata(jpeg_xl.decode(data, header.bits), described, None, notes)
    return dataclasses.replace(raster, colours=header.colours or (), orientation=1)  # applied by the decoder


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"{width}x{height} is more than the limit of {max_pixels} pixels; raise it with --max-pixels"
        )


def _samples(opened: PIL.Image.Image, data: bytes, notes: list[str]) -> tuple[np.ndarray, bytes | None]:
    """As they lie in the file, and the profile that holds for them."""
    if _is_16_bit(opened, data):
        return _with_alpha(opened, _decode_16_bit(opened, data), notes), profile_of(opened)
    if _has_unnamed_sample(opened):
        return _with_alpha(opened, _decode_tiff(data, opened.width * opened.height), notes), profile_of(opened)
    converted, icc = to_8_bit_mode(opened, profile_of(opened), notes)
    return np.array(converted), icc


def _holds_ycc(opened: PIL.Image.Image) -> bool:
    """Whether a file is JPEG, and its components are grey or luma and chroma."""
    if opened.format not in ("JPEG", "MPO") or opened.mode not in ("L", "RGB"):
        return False
    names = [component[0] for component in opened.layer]  # type: ignore[attr-defined]
    return len(names) == 1 or not (opened.info.get("adobe_transform") == 0 or names == list(b"RGB"))


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

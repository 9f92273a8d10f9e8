"""Pictures: loading, saving, and the eight flips and rotations of the square.

Pillow reads and writes everything of 8 bits and all metadata. It cannot hold more than
one channel of 16 bits, so 16-bit PNG goes through imagecodecs and 16-bit TIFF through
tifffile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import struct
import tempfile
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import jpeglib
import numpy as np
import PIL.Image
import PIL.ImageCms
import tifffile
import torch
from PIL.PngImagePlugin import putchunk
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from zssr.errors import OutputError, PictureError
from zssr.formats import DEFAULT_MAX_PIXELS, FORMAT_OF_SUFFIX, READABLE, WRITABLE

_FORMAT_NAMES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff", "AVIF": "avif"}
_ORIENTATION_TAG = 0x0112
# EXIF orientation -> dihedral move that puts the picture upright.
_ORIENTATION_MOVES = {1: 0, 2: 4, 3: 2, 4: 6, 5: 5, 6: 3, 7: 7, 8: 1}
# TIFF tags that describe how the pixels lie in the old file; they are wrong in a new one.
_TIFF_LAYOUT_TAGS = {
    254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 297,
    317, 320, 322, 323, 324, 325, 338, 339, 347, 530, 531, 532, 700, 34675,
}  # fmt: skip
_EXIF_IFD, _EXIF_WIDTH, _EXIF_HEIGHT = 0x8769, 0xA002, 0xA003


@dataclass(frozen=True)
class JpegData:
    """What a JPEG file holds, before it is decoded.

    tables: of each component, 64 quantisation steps in row-major order. factors: (vertical, horizontal) sampling
    factor of each component. coefficients: int16 (rows, columns, 8, 8) of each component, before they are
    multiplied by the steps. move: dihedral move that puts the decoded picture upright.
    """

    tables: tuple[tuple[int, ...], ...]
    factors: tuple[tuple[int, int], ...]
    coefficients: tuple[Tensor, ...] = field(repr=False)
    move: int = 0


@dataclass(frozen=True)
class Image:
    """One picture in memory.

    pixels: (C, H, W) float32 in [0, 1], C = 1 (grey) or 3 (RGB): file value / peak.
    alpha: (1, H, W) float32 in [0, 1], or None where the file has none.
    peak: the file's largest sample value, 255 or 65535.
    icc, exif, dpi: metadata as in the file; orientation is already applied and reset.
    format: "png", "jpg", ... of the file it came from.
    notes: what loading had to decide, in plain words.
    jpeg: of a JPEG file in grey or YCbCr, what it holds.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    peak: int = 255
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    format: str = "png"
    notes: tuple[str, ...] = ()
    jpeg: JpegData | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def samples(self) -> np.ndarray:
        """(H, W) or (H, W, C) uint8 or uint16 samples, alpha as the last channel; rounded once."""
        planes = self.pixels if self.alpha is None else torch.cat([self.pixels, self.alpha])
        dtype = np.uint8 if self.peak == 255 else np.uint16
        samples = np.empty((*self.size, len(planes)), dtype)
        for channel, plane in enumerate(planes):  # one plane at a time keeps the peak memory low
            samples[..., channel] = plane.clamp(0, 1).mul(self.peak).round_().cpu().numpy()
        return samples[..., 0] if len(planes) == 1 else samples

    def pillow(self) -> PIL.Image.Image:
        """The picture as a Pillow image of 8 bits a channel: L, LA, RGB or RGBA."""
        return PIL.Image.fromarray(dataclasses.replace(self, peak=255).samples())


def dihedral(x: Tensor, move: int) -> Tensor:
    """Flip and rotate the last two dimensions; move 0 to 7, 0 is the identity.

    Moves 0 to 3 rotate by move * 90 degrees counter-clockwise; 4 to 7 mirror left-right first.
    """
    if move & 4:
        x = x.flip(-1)
    return torch.rot90(x, move & 3, (-2, -1))


def dihedral_inverse(x: Tensor, move: int) -> Tensor:
    """Undo `dihedral(x, move)`."""
    x = torch.rot90(x, -(move & 3), (-2, -1))
    return x.flip(-1) if move & 4 else x


def fill_hidden(image: Image) -> Tensor:
    """The colours, with those under fully transparent pixels replaced by the nearest visible one.

    What a program left under transparency is arbitrary; enlarged, it would bleed into the edges as a fringe.
    """
    if image.alpha is None or bool((image.alpha > 0).all()) or bool((image.alpha == 0).all()):
        return image.pixels
    hidden = (image.alpha[0] == 0).numpy()
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return image.pixels[:, torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def from_array(array: np.ndarray) -> Image:
    """An Image from (H, W), (H, W, 1..4) uint8 or uint16 samples; a 2nd or 4th channel is alpha.

    Raises PictureError for other shapes and types.
    """
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3):
        raise PictureError(
            f"array of {array.dtype} with shape {array.shape}: expected (H, W) or (H, W, C), uint8 or uint16"
        )
    planes = array[..., None] if array.ndim == 2 else array
    if planes.shape[-1] not in (1, 2, 3, 4) or 0 in planes.shape:
        raise PictureError(f"array of shape {array.shape}: expected 1 to 4 channels last and at least one pixel")
    peak = 255 if array.dtype == np.uint8 else 65535
    values = torch.from_numpy(planes.astype(np.float32)).permute(2, 0, 1).div(peak).contiguous()
    colours = 3 if len(values) >= 3 else 1
    return Image(values[:colours], values[colours:] if len(values) > colours else None, peak)


def from_pillow(opened: PIL.Image.Image) -> Image:
    """An Image from a Pillow image in memory, of 8 bits a channel or 16-bit grey. Raises PictureError."""
    notes: list[str] = []
    if opened.mode.startswith("I;16"):
        deep = from_array(np.array(opened, np.uint16))
        return _with_metadata(deep, opened, opened.info.get("icc_profile"), notes)
    converted, icc = _to_8_bit_mode(opened, opened.info.get("icc_profile"), notes)
    return _with_metadata(from_array(np.array(converted)), opened, icc, notes)


def load(
    source: str | os.PathLike[str] | bytes,
    max_megabytes: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Image:
    """Read a picture from a path or from the bytes of a file.

    Orientation is applied, palettes are looked up, CMYK becomes sRGB; everything else stays as
    stored. Raises PictureError when there is no picture, it is of no allowed format, is larger
    than the limits, truncated or corrupt.
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's bomb warning: the limit is checked below
            opened = PIL.Image.open(io.BytesIO(data), formats=READABLE)
    except PIL.UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _load_tiff_alone(name, data, max_pixels)
        raise PictureError(f"{name}: not a picture that zssr reads (JPEG, PNG, WebP, TIFF, BMP, AVIF, GIF)") from None
    except PIL.Image.DecompressionBombError:
        raise PictureError(f"{name}: too many pixels to be opened safely") from None
    except _BROKEN as error:
        raise PictureError(f"{name}: corrupt file ({_one_line(error)})") from None
    if opened.width * opened.height > max_pixels:
        raise PictureError(f"{name}: {_too_many_pixels(opened.width, opened.height, max_pixels)}")
    try:
        return _decode(opened, data)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from None
    except _BROKEN as error:
        raise PictureError(f"{name}: truncated or corrupt file ({_one_line(error)})") from None


def _load_tiff_alone(name: str, data: bytes, max_pixels: int) -> Image:
    """A TIFF of a kind that Pillow does not know at all, such as 16-bit grey with alpha."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            if page.imagewidth * page.imagelength > max_pixels:
                raise PictureError(_too_many_pixels(page.imagewidth, page.imagelength, max_pixels))
            icc = page.tags.valueof(34675)
            move = _ORIENTATION_MOVES.get(page.tags.valueof(_ORIENTATION_TAG) or 1, 0)
        picture = from_array(_decode_tiff_16(data, max_pixels))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from None
    except _BROKEN as error:
        raise PictureError(f"{name}: truncated or corrupt file ({_one_line(error)})") from None
    return dataclasses.replace(_turned(picture, move), icc=icc, format="tiff")


def _too_many_pixels(width: int, height: int, max_pixels: int) -> str:
    return f"{width}x{height} is more than the limit of {max_pixels} pixels; raise it with --max-pixels"


# What Pillow, imagecodecs and tifffile raise on broken files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
           struct.error, zlib.error, RuntimeError, ArithmeticError, MemoryError,
           PIL.Image.DecompressionBombError)  # fmt: skip


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


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
        raise PictureError(f"{path}: cannot be read ({_one_line(error)})") from None


def _decode(opened: PIL.Image.Image, data: bytes) -> Image:
    notes: list[str] = []
    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format != "MPO":
        notes.append(f"first of {frames} frames")
    if _is_16_bit(opened):
        picture = from_array(_decode_16_bit(opened, data))
        return _with_metadata(picture, opened, opened.info.get("icc_profile"), notes)
    converted, icc = _to_8_bit_mode(opened, opened.info.get("icc_profile"), notes)
    jpeg = _jpeg_data(opened, data) if opened.format in ("JPEG", "MPO") and opened.mode in ("L", "RGB") else None
    return _with_metadata(dataclasses.replace(from_array(np.array(converted)), jpeg=jpeg), opened, icc, notes)


def _jpeg_data(opened: PIL.Image.Image, data: bytes) -> JpegData | None:
    """The file's own coefficients; None where its components are not luma and chroma."""
    names = [component[0] for component in opened.layer]  # type: ignore[attr-defined]
    if len(names) > 1 and (opened.info.get("adobe_transform") == 0 or names == list(b"RGB")):
        return None
    # The library reads files only. The data were decoded whole before, so it does not meet a broken one.
    with tempfile.TemporaryDirectory(prefix="zssr-") as folder:
        path = Path(folder) / "picture.jpg"
        path.write_bytes(data)
        held = jpeglib.read_dct(str(path))
    components = [held.Y] if held.Cb is None else [held.Y, held.Cb, held.Cr]
    return JpegData(
        tuple(tuple(int(step) for step in held.qt[number].flatten()) for number in held.quant_tbl_no),
        tuple((int(vertical), int(horizontal)) for vertical, horizontal in held.samp_factor),
        tuple(torch.from_numpy(np.ascontiguousarray(component)) for component in components),
    )


def _with_metadata(picture: Image, opened: PIL.Image.Image, icc: bytes | None, notes: list[str]) -> Image:
    """The picture upright, with the profile that holds for it and all other metadata of the file."""
    orientation, exif = 1, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of broken EXIF before it raises
            found = opened.getexif()
            orientation = found.get(_ORIENTATION_TAG, 1)
            exif = _exif_bytes(found, opened.format or "PNG")
    except _BROKEN:
        notes.append("its EXIF data are broken and were dropped")
    dpi = _dpi(opened.info.get("dpi"))
    upright = _turned(picture, _ORIENTATION_MOVES.get(orientation, 0))
    return dataclasses.replace(
        upright,
        icc=icc,
        exif=exif,
        dpi=dpi if dpi is None or upright.size == picture.size else dpi[::-1],
        format=_FORMAT_NAMES.get(opened.format or "", "png"),
        notes=tuple(notes),
    )


def _turned(picture: Image, move: int) -> Image:
    alpha = None if picture.alpha is None else dihedral(picture.alpha, move).contiguous()
    jpeg = None if picture.jpeg is None else dataclasses.replace(picture.jpeg, move=move)
    return dataclasses.replace(picture, pixels=dihedral(picture.pixels, move).contiguous(), alpha=alpha, jpeg=jpeg)


def _dpi(value: object) -> tuple[float, float] | None:
    """A believable resolution, or None."""
    if isinstance(value, tuple) and len(value) == 2 and all(1 <= float(v) <= 65535 for v in value):
        return float(value[0]), float(value[1])
    return None


def _is_16_bit(opened: PIL.Image.Image) -> bool:
    if opened.format == "TIFF":
        bits = opened.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        if max(bits) > 16 or opened.mode == "F":
            raise PictureError("32-bit samples: save it with 8 or 16 bits a channel first")
        return max(bits) == 16
    if opened.mode.startswith("I"):
        return True
    return opened.format == "PNG" and any(";16" in str(tile[3]) for tile in getattr(opened, "tile", ()))


def _decode_16_bit(opened: PIL.Image.Image, data: bytes) -> np.ndarray:
    if opened.format == "PNG":
        return imagecodecs.png_decode(data)
    if opened.format != "TIFF":
        raise PictureError(f"{opened.format} with pixels of type {opened.mode} is not supported")
    return _decode_tiff_16(data, opened.width * opened.height)


def _decode_tiff_16(data: bytes, max_pixels: int) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        # Strips may share their bytes, so that a small file holds any number of samples.
        if page.samplesperpixel > 4 or page.imagedepth != 1 or math.prod(page.shape) > 4 * max_pixels:
            raise PictureError("TIFF with more than 4 samples a pixel: save it as RGB first")
        array = page.asarray()
        if page.axes == "SYX":
            array = np.moveaxis(array, 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            array = 65535 - array
        elif page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
            raise PictureError(f"16-bit TIFF of type {page.photometric!r} is not supported: save it as RGB first")
        if array.dtype != np.uint16:
            raise PictureError(f"TIFF samples of type {array.dtype} are not supported: save it as 16-bit integers")
        if page.extrasamples and page.extrasamples[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
            # Stored premultiplied; zssr works on the colours themselves.
            alpha = array[..., -1:].astype(np.float64)
            colour = np.divide(array[..., :-1] * 65535.0, alpha, out=np.zeros(array[..., :-1].shape), where=alpha > 0)
            array = np.concatenate([colour.round().clip(0, 65535).astype(np.uint16), array[..., -1:]], -1)
        return array


def _to_8_bit_mode(
    opened: PIL.Image.Image, icc: bytes | None, notes: list[str]
) -> tuple[PIL.Image.Image, bytes | None]:
    """One of L, LA, RGB, RGBA, and the profile that now holds."""
    original_format, mode = opened.format, opened.mode
    opened.load()
    if mode == "CMYK":
        notes.append("CMYK converted to sRGB")
        if icc:
            try:
                converted = PIL.ImageCms.profileToProfile(
                    opened, io.BytesIO(icc), PIL.ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                result = converted or opened.convert("RGB")
            except PIL.ImageCms.PyCMSError:
                notes.append("its colour profile is broken and was not used")
                result = opened.convert("RGB")
        else:
            result = opened.convert("RGB")
        icc = None
    elif mode in ("P", "PA"):
        result = opened.convert("RGBA" if mode == "PA" or "transparency" in opened.info else "RGB")
        samples = np.array(result)
        # A palette of greys is a grey picture, unless its profile is one for colour.
        if (samples[..., :1] == samples[..., 1:3]).all() and (icc is None or icc[16:20] == b"GRAY"):
            result = result.convert("LA" if result.mode == "RGBA" else "L")
    elif mode in ("1", "L", "RGB", "YCbCr", "RGBX"):
        target = "RGB" if mode in ("RGB", "YCbCr", "RGBX") else "L"
        if "transparency" in opened.info:
            result = opened.convert("RGBA")
            result = result if target == "RGB" else result.convert("LA")
        else:
            result = opened if mode == target else opened.convert(target)
    elif mode in ("La", "RGBa"):
        result = opened.convert(mode.upper())
    elif mode in ("LA", "RGBA"):
        result = opened
    else:
        raise PictureError(f"pixels of type {mode} are not supported: save it as RGB first")
    result.format = original_format
    return result, icc


def _exif_bytes(exif: PIL.Image.Exif, file_format: str) -> bytes | None:
    if file_format == "TIFF":
        for tag in _TIFF_LAYOUT_TAGS & set(exif):
            del exif[tag]
    if not len(exif):
        return None
    if _ORIENTATION_TAG in exif:
        exif[_ORIENTATION_TAG] = 1
    if _EXIF_IFD in exif:  # asking for it would make it
        details = exif.get_ifd(_EXIF_IFD)
        details.pop(_EXIF_WIDTH, None)  # the size of the old pixels is wrong for new ones
        details.pop(_EXIF_HEIGHT, None)
    return exif.tobytes()


def encode(image: Image, format: str = "png", jpeg_quality: int = 95, strip: bool = False) -> tuple[bytes, list[str]]:
    """The picture as the bytes of a file, and notes on what that format could not hold.

    format: a key of WRITABLE. WebP is written lossless; jpeg_quality (1 to 100) holds for jpg
    and avif. strip leaves out profile, EXIF and resolution.
    """
    notes = []
    if image.peak > 255 and format not in ("png", "tiff"):
        notes.append(f"{format} holds 8 bits: rounded from 16")
        image = dataclasses.replace(image, peak=255)
    if image.alpha is not None and format == "jpg":
        notes.append("jpg holds no transparency: laid on white")
        image = dataclasses.replace(image, pixels=image.pixels * image.alpha + 1 - image.alpha, alpha=None)
    icc, exif, dpi = (None, None, None) if strip else (image.icc, image.exif, image.dpi)
    grey = len(image.pixels) == 1 and format not in ("webp", "avif")  # which store grey as RGB
    if icc and icc[16:20] != (b"GRAY" if grey else b"RGB "):
        notes.append("its colour profile is for another kind of picture and was dropped")
        icc = None
    if image.peak > 255:
        if exif and format == "tiff":
            notes.append("of EXIF data, 16-bit tiff keeps only texts such as camera and author")
        return (_encode_png_16 if format == "png" else _encode_tiff_16)(image.samples(), icc, exif, dpi), notes
    options: Any = {
        "png": {},
        "jpg": {"quality": jpeg_quality, "subsampling": 0},
        "webp": {"lossless": True, "exact": True},
        "tiff": {"compression": "tiff_adobe_deflate"},
        "avif": {"quality": jpeg_quality, "subsampling": "4:4:4"},
    }[format]
    metadata = {"icc_profile": icc, "exif": exif, "dpi": dpi}
    buffer = io.BytesIO()
    if exif and format == "tiff":
        shorter = _without_directories(exif)
        if len(shorter) < len(exif):
            notes.append("of EXIF data, tiff keeps only camera, author and the like")
        metadata["exif"] = shorter
    pillow_format = {"jpg": "JPEG"}.get(format, format.upper())
    picture = image.pillow()
    try:
        picture.save(buffer, pillow_format, **options, **{key: value for key, value in metadata.items() if value})
    except _BROKEN as error:
        if exif:  # the picture matters more
            notes.append(f"its EXIF data do not fit into {format} and were dropped")
            data, more = encode(dataclasses.replace(image, exif=None), format, jpeg_quality)
            return data, notes + more
        height, width = image.size
        raise OutputError(f"{format} cannot hold this {width}x{height} picture ({_one_line(error)})") from None
    return buffer.getvalue(), notes


def _without_directories(exif: bytes) -> bytes:
    """EXIF without its sub-directories, which Pillow's TIFF writer cannot place."""
    loaded = PIL.Image.Exif()
    loaded.load(exif)
    for tag in (_EXIF_IFD, 0x8825, 0xA005):
        if tag in loaded:
            del loaded[tag]
    return loaded.tobytes()


def _encode_png_16(samples: np.ndarray, icc: bytes | None, exif: bytes | None, dpi: tuple | None) -> bytes:
    plain = imagecodecs.png_encode(np.ascontiguousarray(samples))
    header_end = 8 + 25  # signature, then the IHDR chunk
    out = io.BytesIO()
    out.write(plain[:header_end])
    if icc:
        putchunk(out, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if dpi:
        putchunk(out, b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))
    if exif:
        putchunk(out, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    out.write(plain[header_end:])
    return out.getvalue()


def _encode_tiff_16(samples: np.ndarray, icc: bytes | None, exif: bytes | None, dpi: tuple | None) -> bytes:
    channels = 1 if samples.ndim == 2 else samples.shape[-1]
    tags = []
    if exif:
        loaded = PIL.Image.Exif()
        loaded.load(exif)
        # Camera, author, date and the like; sub-directories cannot be moved by value.
        tags = [(tag, "s", 0, value, True) for tag, value in loaded.items()
                if isinstance(value, str) and tag not in _TIFF_LAYOUT_TAGS | {270, 305, 306}]  # fmt: skip
    out = io.BytesIO()
    tifffile.imwrite(
        out, samples, photometric="rgb" if channels >= 3 else "minisblack", compression="zlib",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None, iccprofile=icc,
        resolution=dpi, resolutionunit="INCH" if dpi else None, metadata=None, extratags=tags, software=False,
    )  # fmt: skip
    return out.getvalue()


def write(data: bytes, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write bytes to a file that is either complete or not there: aside first, then renamed.

    Raises OutputError when the file exists (and overwrite is not set) or cannot be written.
    """
    path = Path(path)
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=".zssr-", suffix=".partial", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)  # mkstemp's files are private; outputs get the usual permissions
        os.umask(mask)
        os.chmod(partial, 0o666 & ~mask)
        if overwrite:
            os.replace(partial, path)
        else:
            _rename_to_new(partial, path)
        partial = None
    except FileExistsError:
        raise OutputError(f"{path}: exists already; use --overwrite or --skip-existing") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or _one_line(error)})") from None
    finally:
        if partial:
            with contextlib.suppress(OSError):
                os.unlink(partial)


def _rename_to_new(partial: str, path: Path) -> None:
    """Rename, but never over a file that appeared in the meantime."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: check, then rename
        if path.exists():
            raise FileExistsError from None
        os.replace(partial, path)
    else:
        os.unlink(partial)


def save(
    image: Image,
    path: str | os.PathLike[str],
    format: str | None = None,
    jpeg_quality: int = 95,
    strip: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """Encode a picture and write it; the format follows the file name unless given.

    Returns notes on what the format could not hold. Raises OutputError.
    """
    data, notes = encode(image, format or format_of(path), jpeg_quality, strip)
    write(data, path, overwrite)
    return notes


def format_of(path: str | os.PathLike[str]) -> str:
    """The output format that a file name asks for; raises OutputError where it names none."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMAT_OF_SUFFIX:
        raise OutputError(f"{path}: cannot write {suffix or 'a name without ending'}; use one of {', '.join(WRITABLE)}")
    return FORMAT_OF_SUFFIX[suffix]

"""A picture in memory, and what Pillow images and arrays hold as one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import PIL.Image
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from zssr.dihedral import IDENTITY, dihedral
from zssr.raster import Chunk, Raster, raster_of

# EXIF orientation -> dihedral transform that puts the picture upright.
_UPRIGHT = {1: 0, 2: 4, 3: 2, 4: 6, 5: 5, 6: 3, 7: 7, 8: 1}


@dataclass(frozen=True)
class JpegData:
    """What a JPEG file holds, before it is decoded.

    tables: of each component, 64 quantisation steps in row-major order. factors: (vertical, horizontal) sampling
    factor of each component. coefficients: int16 (rows, columns, 8, 8) of each component, before they are
    multiplied by the steps. move: dihedral transform that puts the decoded picture upright.
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
    icc, exif, xmp, iptc, dpi, comment: metadata as in the file; orientation is already applied and reset.
    texts, colours: text chunks, and what says which colour space the pixels are in, as PNG has them.
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
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    texts: tuple[Chunk, ...] = ()
    colours: tuple[Chunk, ...] = ()
    format: str = "png"
    notes: tuple[str, ...] = ()
    jpeg: JpegData | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def anonymous(self) -> Image:
        """Without the metadata that may tell people and places."""
        return dataclasses.replace(self, exif=None, xmp=None, iptc=None, comment=None, texts=())

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


def as_stored(x: Tensor, peak: float) -> Tensor:
    """Values in [0, 1] rounded as a file of samples from 0 to `peak` holds them; clipped. x is not changed."""
    return x.clamp(0, 1).mul_(peak).round_().div_(peak)


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
    return from_raster(Raster(array))


def from_pillow(opened: PIL.Image.Image) -> Image:
    """An Image from a Pillow image in memory, of 8 bits a channel or 16-bit grey. Raises PictureError."""
    return from_raster(raster_of(opened))


def from_raster(raster: Raster, jpeg: JpegData | None = None) -> Image:
    """What a file holds, turned and flipped as its orientation asks for. jpeg: what a JPEG file holds beside it."""
    samples = raster.samples
    planes = samples[None] if samples.ndim == 2 else np.moveaxis(samples, -1, 0)
    peak = 255 if samples.dtype == np.uint8 else 65535
    values = torch.from_numpy(np.ascontiguousarray(planes, np.float32)).div_(peak)
    move = _UPRIGHT.get(raster.orientation, IDENTITY)
    if move != IDENTITY:
        values = dihedral(values, move).contiguous()
    colours = 3 if len(values) >= 3 else 1
    return Image(
        values[:colours],
        values[colours:] if len(values) > colours else None,
        peak,
        icc=raster.icc,
        exif=raster.exif,
        xmp=raster.xmp,
        iptc=raster.iptc,
        comment=raster.comment,
        texts=raster.texts,
        colours=raster.colours,
        dpi=_turned(raster.dpi, move),
        format=raster.format,
        notes=raster.notes,
        jpeg=None if jpeg is None else dataclasses.replace(jpeg, move=move),
    )


def _turned(dpi: tuple[float, float] | None, move: int) -> tuple[float, float] | None:
    """Of the picture after a dihedral transform; odd ones are quarter turns."""
    if dpi is None:
        return None
    horizontal, vertical = dpi
    return (vertical, horizontal) if move % 2 else (horizontal, vertical)

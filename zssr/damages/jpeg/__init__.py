"""JPEG compression, its finder, and what the program knows of it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import torch
from torch import Tensor

from zssr import files
from zssr.damages.jpeg.find import JpegTraces, find_jpeg
from zssr.damages.jpeg.operator import Jpeg
from zssr.damages.jpeg.tables import BLOCK, COLOUR_SAMPLINGS, Table, nearest_quality, standard_tables
from zssr.damages.kind import Damaged, Finding, Kind, Trial, number
from zssr.errors import SettingsError
from zssr.image import Image, JpegData
from zssr.settings import Settings

# From this quality on compression cannot be seen, and there is nothing to gain.
INVISIBLE_QUALITY = 97
# What lay under another compression is known too roughly to be undone unasked.
EARLIER_CONFIDENCE = 0.8
# Side in pixels of the part on which samplings are tried.
PART_SIDE = 512


def of_file(data: JpegData) -> Jpeg | None:
    """The compression of a file, with its own coefficients; None for a sampling that is not known."""
    if len(data.tables) == 1:
        return Jpeg(data.tables, "grey", move=data.move, coefficients=data.coefficients)
    luma, *chroma = data.factors
    for name, (down, across) in COLOUR_SAMPLINGS.items():
        if all(luma == (down * factor[0], across * factor[1]) for factor in chroma):
            return Jpeg(data.tables, name, move=data.move, coefficients=data.coefficients)
    return None


def of_quality(image: Image, quality: int) -> Jpeg:
    """The compression with the standard tables of a quality, its grid at the picture's corner."""
    luma, chroma = standard_tables(quality)
    return Jpeg((luma,), "grey") if len(image.pixels) == 1 else _with_sampling(image.pixels, (luma, chroma), (0, 0))


def _given(settings: Settings, image: Image, enlarges: bool) -> list[Jpeg]:
    if not isinstance(settings.jpeg, int | float):
        return []
    if settings.jpeg != int(settings.jpeg):
        raise SettingsError(f"jpeg {settings.jpeg:g}: the quality must be a whole number")
    return [of_quality(image, int(settings.jpeg))]


def _find(image: Image, pixels: Tensor, thorough: bool) -> list[Finding]:
    """In the file and in the pixels. thorough: look for an earlier compression under that of the file too."""
    findings, last = ([], None) if image.jpeg is None else _in_file(image.jpeg)
    if image.jpeg is None or (thorough and last is not None):
        traces = find_jpeg(pixels, last)
        if traces is not None:
            findings.append(_in_pixels(traces, pixels, is_earlier=last is not None))
    return findings


def _in_file(data: JpegData) -> tuple[list[Finding], JpegTraces | None]:
    """The file's own compression; and the traces it left, which an earlier one is looked for under."""
    damage = of_file(data)
    quality = nearest_quality(data.tables[0])
    sampling = "unusual sampling" if damage is None else damage.sampling
    words = f"JPEG, quality about {quality}, {sampling} (from the file)"
    if damage is None or quality >= INVISIBLE_QUALITY:
        words += ": left alone" if damage is None else ": too mild to be seen, left alone"
        damage = None
    last = None
    if data.move == 0:
        chroma = data.tables[1] if len(data.tables) > 1 else None
        last = JpegTraces((0, 0), data.tables[0], chroma, sampling, quality, 1.0)
    return [Finding("jpeg", words, 1.0, damage)], last


def _in_pixels(traces: JpegTraces, pixels: Tensor, is_earlier: bool) -> Finding:
    row, column = traces.offset
    place = f", blocks from ({column}, {row})" if traces.offset != (0, 0) else ""
    which = "an earlier " if is_earlier else ""
    words = f"{which}JPEG, quality about {traces.quality}, {traces.sampling}{place} (from the pixels)"
    damage: Jpeg | None
    if traces.quality >= INVISIBLE_QUALITY:
        words, damage = f"{words}: too mild to be seen, left alone", None
    elif traces.chroma is None and len(pixels) == 1:
        damage = Jpeg((traces.luma,), "grey", traces.offset)
    elif traces.chroma is None:  # a grey picture stored in colour
        damage = Jpeg((traces.luma, traces.luma), "4:4:4", traces.offset)
    else:
        damage = _with_sampling(pixels, (traces.luma, traces.chroma), traces.offset)
    confidence = min(traces.confidence, EARLIER_CONFIDENCE) if is_earlier else traces.confidence
    return Finding("jpeg", words, confidence, damage)


def _with_sampling(pixels: Tensor, tables: tuple[Table, Table], offset: tuple[int, int]) -> Jpeg:
    """With the chroma sampling, and place of its larger blocks, that changes the picture least when done again."""
    part = pixels[None, :, :PART_SIDE, :PART_SIDE]
    candidates = [
        Jpeg(tables, name, (offset[0] + BLOCK * row, offset[1] + BLOCK * column))
        for name, (down, across) in COLOUR_SAMPLINGS.items()
        for row in range(down)
        for column in range(across)
    ]
    return min(candidates, key=lambda damage: float((damage.degrade(part) - part).abs().mean()))


def _settled(parts: Sequence[Jpeg], settings: Settings) -> list[Jpeg]:
    """The earliest first: it was found under the last."""
    return [dataclasses.replace(part, bins=settings.jpeg_bins) for part in reversed(parts)]


def _damage(case: Damaged, quality: int, rng: torch.Generator, folder: str) -> Damaged:
    """By a real encoder, so that the file's coefficients are there."""
    stream = io.BytesIO()
    case.image.pillow().save(stream, "JPEG", quality=quality)
    image = files.load(stream.getvalue())
    return dataclasses.replace(case, image=image, plain=image.pixels[None], settings={**case.settings, "jpeg": "auto"})


KIND = Kind(
    Jpeg,
    given=_given,
    find=_find,
    automatic=True,
    settled=_settled,
    trials=(Trial("jpeg", "quality 1 to 100", number(1, 100, int), _damage),),
)

__all__ = ["KIND", "Jpeg", "of_file", "of_quality"]

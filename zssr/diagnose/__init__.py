"""What happened to a picture, and how sure that is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zssr.degrade import Blur, Degradation, Jpeg, Missing, Mosaic, Noise, Region
from zssr.degrade.jpeg import SAMPLINGS, nearest_quality, standard_tables
from zssr.diagnose import blur, mosaic, noise, scratches
from zssr.diagnose import jpeg as jpeg_traces
from zssr.image import Image, JpegData, fill_hidden
from zssr.settings import REPAIRS

SURE = 0.9  # confidence from which damage is repaired unasked
# From this quality on compression cannot be seen, and there is nothing to gain.
INVISIBLE_QUALITY = 97


@dataclass(frozen=True)
class Finding:
    """One damage. kind: of settings.REPAIRS. words: for a person. confidence: 0 to 1.

    damage: as an operator on pictures of this size; None where nothing can or need be done about it.
    """

    kind: str
    words: str
    confidence: float
    damage: Degradation | None

    @property
    def sure(self) -> bool:
        return self.confidence >= SURE

    def to_json(self) -> dict[str, Any]:
        damage = None if self.damage is None else self.damage.to_json()
        return {"kind": self.kind, "words": self.words, "confidence": round(self.confidence, 3), "damage": damage}


def diagnose(image: Image, kinds: Sequence[str] = REPAIRS, earlier: bool = True) -> tuple[Finding, ...]:
    """Look for damages of the given kinds, in the order in which they are listed in settings.REPAIRS.

    earlier: look for a compression under that of the file too.
    """
    pixels = fill_hidden(image)
    finders: dict[str, Callable[[Image, Tensor], list[Finding]]] = {
        "jpeg": functools.partial(_jpeg, earlier=earlier),
        "noise": _noise,
        "mosaic": _mosaics,
        "blur": _blurs,
        "scratches": _scratches,
    }
    return tuple(finding for kind in REPAIRS if kind in kinds for finding in finders[kind](image, pixels))


def without_echoes(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Without blurred parts that look so because they are surely pixelated."""
    mosaics = [finding.damage.region for finding in findings if finding.sure and isinstance(finding.damage, Mosaic)]
    return tuple(finding for finding in findings if not is_pixelated(finding.damage, mosaics))


def is_pixelated(damage: Degradation | None, mosaics: list[Region]) -> bool:
    """Whether what looks blurred is so because it is pixelated."""
    if not isinstance(damage, Blur) or damage.region is None:
        return False
    return any(bool((damage.region.pixels & region.pixels).any()) for region in mosaics)


def of_file(data: JpegData) -> Jpeg | None:
    """The compression of a file, with its own coefficients; None for a sampling that is not known."""
    if len(data.tables) == 1:
        return Jpeg(data.tables, "grey", move=data.move, coefficients=data.coefficients)
    luma, *chroma = data.factors
    for name, (down, across) in SAMPLINGS.items():
        if name != "grey" and all(luma == (down * factor[0], across * factor[1]) for factor in chroma):
            return Jpeg(data.tables, name, move=data.move, coefficients=data.coefficients)
    return None


def of_quality(image: Image, quality: int) -> Jpeg:
    """The compression with the standard tables of a quality, its grid at the picture's corner."""
    luma, chroma = standard_tables(quality)
    return Jpeg((luma,), "grey") if len(image.pixels) == 1 else _settled(image.pixels, (luma, chroma), (0, 0))


def _jpeg(image: Image, pixels: Tensor, earlier: bool) -> list[Finding]:
    findings = []
    last = None
    if image.jpeg is not None:
        damage = of_file(image.jpeg)
        quality = nearest_quality(image.jpeg.tables[0])
        sampling = "unusual sampling" if damage is None else damage.sampling
        words = f"JPEG, quality about {quality}, {sampling} (from the file)"
        if damage is None or quality >= INVISIBLE_QUALITY:
            words += ": left alone" if damage is None else ": too mild to be seen, left alone"
            damage = None
        findings.append(Finding("jpeg", words, 1.0, damage))
        tables = image.jpeg.tables
        if image.jpeg.move == 0:
            chroma = tables[1] if len(tables) > 1 else None
            last = jpeg_traces.JpegTraces((0, 0), tables[0], chroma, sampling, quality, 1.0)
    if image.jpeg is None or (earlier and last is not None):
        traces = jpeg_traces.find(pixels, last)
        if traces is not None:
            which = "an earlier " if last is not None else ""
            row, column = traces.offset
            place = f", blocks from ({column}, {row})" if traces.offset != (0, 0) else ""
            words = f"{which}JPEG, quality about {traces.quality}, {traces.sampling}{place} (from the pixels)"
            found: Jpeg | None
            if traces.quality >= INVISIBLE_QUALITY:
                words, found = f"{words}: too mild to be seen, left alone", None
            elif traces.chroma is None and len(pixels) == 1:
                found = Jpeg((traces.luma,), "grey", traces.offset)
            elif traces.chroma is None:  # a grey picture stored in colour
                found = Jpeg((traces.luma, traces.luma), "4:4:4", traces.offset)
            else:
                found = _settled(pixels, (traces.luma, traces.chroma), traces.offset)
            # What lay under another compression is known too roughly to be undone unasked.
            confidence = traces.confidence if last is None else min(traces.confidence, 0.8)
            findings.append(Finding("jpeg", words, confidence, found))
    return findings


def _settled(pixels: Tensor, tables: tuple[tuple[int, ...], ...], offset: tuple[int, int]) -> Jpeg:
    """With the chroma sampling, and place of its larger blocks, that changes the picture least when done again."""
    part = pixels[None, :, :512, :512]
    candidates = [
        Jpeg(tables, name, (offset[0] + 8 * row, offset[1] + 8 * column))
        for name, (down, across) in SAMPLINGS.items()
        if name != "grey"
        for row in range(down)
        for column in range(across)
    ]
    return min(candidates, key=lambda damage: float((damage.degrade(part) - part).abs().mean()))


def _noise(image: Image, pixels: Tensor) -> list[Finding]:
    traces = noise.find(pixels)
    if traces is None:
        return []
    if traces.slope > 0:
        words = f"noise of {traces.sigma:.1f} grey levels, growing with brightness"
        return [Finding("noise", words, traces.confidence, Noise(max(traces.offset, 0.0) ** 0.5, traces.slope))]
    return [Finding("noise", f"noise of {traces.sigma:.1f} grey levels", traces.confidence, Noise(traces.sigma))]


def _mosaics(image: Image, pixels: Tensor) -> list[Finding]:
    return [
        Finding(
            "mosaic",
            f"mosaic of {found.cell[1]}x{found.cell[0]} cells in {found.width}x{found.height} at"
            f" ({found.left}, {found.top})",
            found.confidence,
            Mosaic(
                Region.rectangle(image.size, found.top, found.left, found.height, found.width), found.cell, found.phase
            ),
        )
        for found in mosaic.find(pixels)
    ]


def _blurs(image: Image, pixels: Tensor) -> list[Finding]:
    return [
        Finding(
            "blur",
            f"blur of sigma {found.sigma:.1f} in {found.width}x{found.height} at ({found.left}, {found.top})",
            found.confidence,
            Blur(
                f"gaussian:{found.sigma:.2f}",
                Region.rectangle(image.size, found.top, found.left, found.height, found.width),
            ),
        )
        for found in blur.find(pixels)
    ]


def _scratches(image: Image, pixels: Tensor) -> list[Finding]:
    found = scratches.find(pixels)
    if not found.any():
        return []
    words = f"scratches on {100 * found.float().mean().item():.2f} % of the pixels"
    return [Finding("scratches", words, 0.5, Missing(Region(found[None, None])))]


def describe(findings: Sequence[Finding]) -> str:
    """Lines for a person."""
    if not findings:
        return "no damage found"
    return "\n".join(f"{finding.words}{'' if finding.sure else ' (not sure)'}" for finding in findings)


__all__ = ["Finding", "describe", "diagnose", "of_file", "of_quality"]

"""What is to be undone for one picture: what was found in it, and what was given by hand."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zssr import image as images
from zssr.degrade import Blur, Degradation, Jpeg, Missing, Mosaic, Noise, Region
from zssr.degrade.downscale import LARGEST_SIGMA, SMALLEST_SIGMA, read_kernel
from zssr.degrade.jpeg import nearest_quality
from zssr.diagnose import Finding, diagnose, is_pixelated, of_quality
from zssr.errors import KernelError, PictureError, SettingsError
from zssr.image import Image
from zssr.resample import Size
from zssr.settings import Area, Settings, parse_areas

# Below this quality compression changes noise so much that its measured strength says little.
NOISE_SURVIVES = 90


@dataclass(frozen=True)
class Damage:
    """parts: in the order in which they happened, each at the picture's own size.

    whole_mosaic: over all of the picture, whose cells are then a smaller picture. notes: what is left alone.
    """

    parts: tuple[Degradation, ...]
    findings: tuple[Finding, ...]
    whole_mosaic: Mosaic | None
    notes: tuple[str, ...]


def damage_of(image: Image, settings: Settings, enlarges: bool) -> Damage:
    """Raises SettingsError for areas, masks and amounts that do not fit the picture."""
    notes: list[str] = []
    given = _given(image, settings)
    asked = {
        kind
        for kind, value in (
            ("jpeg", settings.jpeg), ("noise", settings.noise), ("mosaic", settings.mosaic), ("blur", settings.blurred)
        )
        if value == "auto"
    }  # fmt: skip
    if settings.repair not in ("auto", "none"):
        asked |= set(settings.repairs())
    if settings.scratches:
        asked.add("scratches")
    by_hand = {kind for kind, _ in given}
    if isinstance(settings.noise, int | float):  # 0 too: a person says that there is none
        by_hand.add("noise")
    findings = diagnose(image, tuple((asked | set(settings.repairs())) - by_hand), earlier="jpeg" in settings.repair)
    taken = list(given)
    for finding in findings:
        if finding.damage is None:
            notes.append(finding.words)
        elif finding.sure or finding.kind in asked:
            taken.append((finding.kind, finding.damage))
        else:
            notes.append(f"perhaps {finding.words}: not sure enough, left alone (--repair {finding.kind} undoes it)")
    for kind in sorted(asked - by_hand - {finding.kind for finding in findings}):
        notes.append(f"no {kind} was found")
    taken = _sensible(taken, asked | by_hand, notes)
    parts = {kind: [damage for k, damage in taken if k == kind] for kind in {k for k, _ in taken}}
    whole = next((m for m in parts.get("mosaic", []) if isinstance(m, Mosaic) and m.region.pixels.all()), None)
    if whole is not None:
        if len(taken) > 1:
            notes.append("the mosaic covers the whole picture: other damage is not undone with it")
        return Damage((), findings, whole, tuple(notes))
    missing: list[Degradation] = []
    holes = [
        part.region for part in (*parts.get("scratches", []), *parts.get("missing", [])) if isinstance(part, Missing)
    ]
    if holes:
        union = functools.reduce(torch.logical_or, (region.pixels for region in holes))
        missing = [Missing(Region(union))]
    found = [jpeg for jpeg in reversed(parts.get("jpeg", [])) if isinstance(jpeg, Jpeg)]  # the earliest first
    jpegs = [dataclasses.replace(jpeg, bins=settings.jpeg_bins) for jpeg in found]
    if missing:  # the file's coefficients hold the scratches too
        jpegs = [dataclasses.replace(jpeg, coefficients=None) for jpeg in jpegs]
    kernel = read_kernel(settings.kernel)
    first: list[Degradation] = [] if enlarges or kernel == "bicubic" else [_whole_blur(kernel)]
    order = [*first, *parts.get("noise", []), *parts.get("blur", []), *parts.get("mosaic", []), *jpegs, *missing]
    return Damage(tuple(order), findings, None, tuple(notes))


def known(parts: tuple[Degradation, ...], size: Size) -> Tensor | None:
    """(1, 1, *size) bool: pixels that no local damage covers; None where there is none."""
    covered = None
    for part in parts:
        damaged = part.damaged(size)
        if damaged is not None:
            covered = damaged if covered is None else covered | damaged
    return None if covered is None else ~covered


def _given(image: Image, settings: Settings) -> list[tuple[str, Degradation]]:
    """Damages with amounts given by hand."""
    given: list[tuple[str, Degradation]] = []
    if isinstance(settings.jpeg, int | float):
        if settings.jpeg != int(settings.jpeg):
            raise SettingsError(f"jpeg {settings.jpeg:g}: the quality must be a whole number")
        given.append(("jpeg", of_quality(image, int(settings.jpeg))))
    if isinstance(settings.noise, int | float) and settings.noise:
        given.append(("noise", Noise(float(settings.noise))))
    for area in parse_areas("mosaic", settings.mosaic):
        given.append(("mosaic", _mosaic(area, image)))
    for area in parse_areas("blurred", settings.blurred):
        given.append(("blur", _blur(area, image)))
    if settings.mask is not None:
        given.append(("missing", Missing(mask_of(settings.mask, image.size))))
    return given


def _sensible(
    taken: list[tuple[str, Degradation]], wanted: set[str], notes: list[str]
) -> list[tuple[str, Degradation]]:
    """Without what was found only because of another damage, unless it was asked for."""
    kept = []
    coarse = any(isinstance(d, Jpeg) and nearest_quality(d.tables[0]) < NOISE_SURVIVES for _, d in taken)
    mosaics = [d.region for _, d in taken if isinstance(d, Mosaic)]
    for kind, damage in taken:
        if isinstance(damage, Noise) and coarse and "noise" not in wanted:
            notes.append("noise under compression is left to the repair of the compression (--noise undoes it)")
            continue
        if "blur" not in wanted and is_pixelated(damage, mosaics):
            continue
        kept.append((kind, damage))
    return kept


def _whole_blur(kernel: str | tuple[tuple[float, ...], ...]) -> Blur:
    if kernel in ("box", "lanczos"):
        raise SettingsError(f"kernel {kernel}: at scale 1 it changes nothing; give gaussian:SIGMA or a file")
    return Blur(kernel)


def mask_of(path: str, size: Size) -> Region:
    """The white part of a picture. Raises SettingsError unless it has this size and is neither empty nor full."""
    try:
        mask = images.load(path)
    except PictureError as error:
        raise SettingsError(f"mask {error}") from None
    if mask.size != size:
        raise SettingsError(
            f"mask {path}: is {mask.size[1]}x{mask.size[0]} and the picture {size[1]}x{size[0]}; make them the same"
        )
    white = mask.pixels.mean(0) >= 0.5
    if not white.any():
        raise SettingsError(f"mask {path}: nothing in it is white, so nothing is missing")
    if white.all():
        raise SettingsError(f"mask {path}: all of it is white; nothing would be left to learn from")
    return Region(white[None, None])


def region_of(name: str, area: Area, size: Size) -> Region:
    """The pixels of an area of a setting. Raises SettingsError where it reaches outside the picture."""
    if area.file is not None:
        if not Path(area.file).exists():
            raise SettingsError(f"{name} '{area.file}': is neither X,Y,WIDTH,HEIGHT in pixels nor a file with a mask")
        return mask_of(area.file, size)
    if area.rectangle is None:
        return Region.rectangle(size, 0, 0, *size)
    left, top, width, height = area.rectangle
    if width == 0 or height == 0:
        raise SettingsError(f"{name} {left},{top},{width},{height}: the area is empty")
    if left + width > size[1] or top + height > size[0]:
        raise SettingsError(f"{name} {left},{top},{width},{height}: reaches outside the picture ({size[1]}x{size[0]})")
    return Region.rectangle(size, top, left, height, width)


def _mosaic(area: Area, image: Image) -> Mosaic:
    region = region_of("mosaic", area, image.size)
    rows, columns = region.pixels[0, 0].any(1).nonzero(), region.pixels[0, 0].any(0).nonzero()
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
    if not area.amounts:
        for finding in diagnose(image, ("mosaic",)):
            assert isinstance(finding.damage, Mosaic)
            if bool((finding.damage.region.pixels & region.pixels).any()):
                return Mosaic(region, finding.damage.cell, finding.damage.phase)
        raise SettingsError("mosaic: no cells can be seen in this area; give their side, X,Y,WIDTH,HEIGHT:CELL")
    if not all(amount == int(amount) for amount in area.amounts):
        raise SettingsError(f"mosaic cell {area.amounts[0]:g}: must be a whole number of pixels")
    cell = (int(area.amounts[-1]), int(area.amounts[0]))
    if min(cell) < 1 or max(cell) < 2:
        raise SettingsError(f"mosaic cell {cell[1]}x{cell[0]}: a cell needs at least 2 pixels")
    if cell[0] > height or cell[1] > width:
        raise SettingsError(f"mosaic cell {cell[1]}x{cell[0]}: is larger than its area, {width}x{height}")
    return Mosaic(region, cell, (top % cell[0], left % cell[1]))


def _blur(area: Area, image: Image) -> Blur:
    region = region_of("blurred", area, image.size)
    if len(area.amounts) == 2:
        raise SettingsError("blurred: give one SIGMA")
    if area.amounts:
        kernel = f"gaussian:{area.amounts[0]:g}"
        try:
            read_kernel(kernel)
        except KernelError:
            raise SettingsError(
                f"blurred: SIGMA {area.amounts[0]:g} must lie between {SMALLEST_SIGMA:g} and {LARGEST_SIGMA:g}"
            ) from None
    else:
        found = [finding.damage for finding in diagnose(image, ("blur",))]
        fitting = [
            damage
            for damage in found
            if isinstance(damage, Blur) and damage.region and bool((damage.region.pixels & region.pixels).any())
        ]
        if not fitting:
            raise SettingsError("blurred: how strong the blur is cannot be seen; give X,Y,WIDTH,HEIGHT:SIGMA")
        kernel = str(fitting[0].kernel)
    return Blur(kernel, None if bool(region.pixels.all()) else region)


def collapsed(image: Image, mosaic: Mosaic) -> Image:
    """One pixel a cell. Cells cut by the border count as whole."""
    cells = mosaic.cells(image.pixels[None])[0]
    return dataclasses.replace(image, pixels=cells, alpha=None, jpeg=None)

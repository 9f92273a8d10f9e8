"""Scores on folders of pictures, by the protocol of the super-resolution papers."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import io
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import psutil
import torch
from torch import Tensor

from zssr import image as images
from zssr.damage import mask_of
from zssr.degrade import Blur, Downscale, Missing, Mosaic, Noise, Region
from zssr.degrade.downscale import read_kernel
from zssr.degrade.mosaic import LARGEST_CELL, SMALLEST_CELL
from zssr.errors import OutputError, PictureError, SettingsError
from zssr.formats import SUFFIXES
from zssr.image import Image
from zssr.metrics import psnr, psnr_b, psnr_y, ssim, ssim_y
from zssr.resample import Scale, Size, fit
from zssr.restoration import OnStep, restore
from zssr.settings import LARGEST_FACTOR, Settings


@dataclass(frozen=True)
class Score:
    """One picture's figures; NaN where there is none.

    before: of what the result is compared with; see the function `before`. rms, coefficients: see Agreement.
    """

    name: str
    before_psnr: float
    before_ssim: float
    before_psnr_b: float
    psnr: float
    ssim: float
    psnr_b: float
    wall_seconds: float = math.nan
    cpu_seconds: float = math.nan
    rms: float = math.nan
    coefficients: float = math.nan

    @staticmethod
    def heading(before: str = "bicubic") -> str:
        return (
            f"{'picture':24}{before + ' PSNR':>16}{'SSIM':>8}{'PSNR-B':>8}{'zssr PSNR':>12}{'SSIM':>8}{'PSNR-B':>8}"
            f"{'wall s':>9}{'CPU s':>9}{'agreement':>11}{'DCT':>8}"
        )

    def row(self) -> str:
        def number(value: float, width: int, digits: int) -> str:
            return f"{'-' if math.isnan(value) else f'{value:.{digits}f}':>{width}}"

        return (
            f"{self.name[:23]:24}"
            + number(self.before_psnr, 16, 2)
            + number(self.before_ssim, 8, 4)
            + number(self.before_psnr_b, 8, 2)
            + number(self.psnr, 12, 2)
            + number(self.ssim, 8, 4)
            + number(self.psnr_b, 8, 2)
            + number(self.wall_seconds, 9, 1)
            + number(self.cpu_seconds, 9, 1)
            + number(self.rms, 11, 2)
            + number(self.coefficients, 8, 4)
        )


@dataclass(frozen=True)
class Table:
    """All scores of a folder. used: on how many pictures each prior was used; it is left out where it does harm."""

    scores: tuple[Score, ...]
    protocol: str
    settings: Settings
    peak_megabytes: float
    used: dict[str, int]

    def mean(self) -> Score:
        fields = [field.name for field in dataclasses.fields(Score) if field.name != "name"]
        means = {f: sum(getattr(score, f) for score in self.scores) / len(self.scores) for f in fields}
        return Score(f"mean of {len(self.scores)}", **means)

    def to_json(self) -> dict[str, Any]:
        def finite(score: Score) -> dict[str, Any]:
            values = dataclasses.asdict(score)
            return {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in values.items()
            }

        return {
            "protocol": self.protocol,
            "settings": self.settings.to_json(),
            "mean": finite(self.mean()),
            "pictures": [finite(score) for score in self.scores],
            "peak_megabytes": self.peak_megabytes,
            "priors_used": self.used,
        }


@dataclass(frozen=True)
class Damage:
    """What `evaluate` does to each picture: one field for each kind, as "KIND:AMOUNT+KIND:AMOUNT" names them.

    They happen in the order of the fields, whatever the order in the text.
    """

    scale: float | None = None
    blur: float | None = None
    noise: float | None = None
    mosaic: int | None = None
    blurred: float | None = None
    jpeg: int | None = None
    missing: str | None = None

    @classmethod
    def parse(cls, text: str) -> Damage:
        """Raises SettingsError for what is no damage."""
        found: dict[str, Any] = {}
        for part in text.split("+"):
            kind, _, amount = part.strip().partition(":")
            if kind in found:
                raise SettingsError(f"damage '{part}': {kind} is there twice")
            if kind not in _AMOUNTS:
                near = difflib.get_close_matches(kind, _AMOUNTS, 1, 0.5)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise SettingsError(f"damage '{part}': must be of {', '.join(_AMOUNTS)}, such as jpeg:10+scale:2{hint}")
            read, low, high, meaning = _AMOUNTS[kind]
            try:
                found[kind] = read(amount)
                if not low <= (1 if isinstance(found[kind], str) else found[kind]) <= high or not amount:
                    raise ValueError
            except ValueError:
                raise SettingsError(f"damage '{part}': needs {kind}:AMOUNT, {meaning}") from None
        return cls(**found)


_AMOUNTS: dict[str, tuple[Any, float, float, str]] = {
    "scale": (float, 1.01, LARGEST_FACTOR, f"how many times smaller, up to {LARGEST_FACTOR}"),
    "blur": (float, 0.05, 30, "sigma of a Gaussian in pixels, 0.05 to 30"),
    "noise": (float, 0.1, 100, "standard deviation in grey levels, up to 100"),
    "mosaic": (int, SMALLEST_CELL, LARGEST_CELL, f"side of a cell in pixels, {SMALLEST_CELL} to {LARGEST_CELL}"),
    "blurred": (float, 0.05, 30, "sigma of a Gaussian in pixels, 0.05 to 30"),
    "jpeg": (int, 1, 100, "quality 1 to 100"),
    "missing": (str, 1, 1, "a mask's file (white is missing), or the per cent that random scratches cover"),
}
SQUARE_SIDE = 128  # of the part that is pixelated or blurred
SCRATCH_WIDTHS = (2, 5)


def evaluate(
    folder: Path,
    settings: Settings,
    on_score: Callable[[Score], None],
    bars: Callable[[str], AbstractContextManager[OnStep | None]],
    save: Path | None = None,
    damage: Damage | None = None,
    separately: bool = False,
    only: frozenset[str] | None = None,
    longest: int | None = None,
) -> Table:
    """Damage each picture, restore it, score it.

    damage: by default made smaller by the settings' scale, with their kernel and noise. separately: undo the
    smaller size after everything else, each with a training of its own. only: names of the pictures to take.
    longest: side to which larger pictures are made smaller first.
    """
    if damage is None:
        noise = settings.noise if isinstance(settings.noise, int | float) and settings.noise else None
        damage = Damage(scale=float(max(_factor(settings))), noise=noise)
        factor = _factor(settings)
    else:
        given = Fraction(str(damage.scale or 1)).limit_denominator(100)
        factor = (given, given)
    scores = []
    used: Counter[str] = Counter()
    paths = [path for path in _pictures(folder) if only is None or path.name in only]
    if not paths:
        raise PictureError(f"{folder}: holds none of the {len(only or ())} pictures asked for")
    outputs = {path: save / f"{path.stem}.png" for path in paths} if save is not None else {}
    for path, output in outputs.items():  # before hours of work
        if output.resolve() in {p.resolve() for p in paths}:
            raise OutputError(f"{output}: is one of the pictures to be evaluated; save into another folder")
        if (output.exists() and not settings.overwrite) or list(outputs.values()).count(output) > 1:
            raise OutputError(f"{output}: {path.name}'s output exists already, or is another picture's too")
    for number, path in enumerate(paths):
        truth = images.load(path, settings.max_MB, settings.max_pixels)
        if len(truth.pixels) == 3 and bool((truth.pixels == truth.pixels[:1]).all()):
            truth = dataclasses.replace(truth, pixels=truth.pixels[:1])
        if longest is not None and max(truth.size) > longest:
            share = longest / max(truth.size)
            size = (max(1, round(truth.size[0] * share)), max(1, round(truth.size[1] * share)))
            truth = dataclasses.replace(truth, pixels=fit(truth.pixels[None], size)[0].clamp_(0, 1))
            truth.pixels.mul_(truth.peak).round_().div_(truth.peak)
        # Whole multiples of the factor, so that both pictures show exactly the same scene.
        height, width = (length - length % part.numerator for length, part in zip(truth.size, factor, strict=True))
        if 0 in (height, width):
            raise PictureError(f"{path}: smaller than the factor")
        pixels = truth.pixels[:, :height, :width]
        with tempfile.TemporaryDirectory(prefix="zssr-") as temporary:
            case = _damaged(pixels, truth.peak, damage, factor, settings, number, Path(temporary))
            wall, cpu = time.monotonic(), time.process_time()
            with bars(path.name) as on_step:
                picture, chosen = case.picture, case.settings
                if separately:
                    picture = restore(picture, dataclasses.replace(chosen, scale=1), on_step=on_step).image
                    chosen = dataclasses.replace(settings, scale=chosen.scale, repair="none", noise=None)
                result = restore(picture, chosen, on_step=on_step)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        score = Score(
            path.name, *_figures(case.plain, pixels, damage, factor, case.inside),
            *_figures(result.tensor(), pixels, damage, factor, case.inside), wall, cpu, result.agreement.rms,
            math.nan if result.agreement.coefficients is None else result.agreement.coefficients,
        )  # fmt: skip
        if save is not None:
            images.save(result.image, outputs[path], overwrite=settings.overwrite)
        scores.append(score)
        used.update(prior.name for prior in result.plan.priors.used())
        on_score(score)
    return Table(tuple(scores), _protocol(damage, factor), settings, _peak_megabytes(), dict(used))


@dataclass(frozen=True)
class _Case:
    """A damaged picture, how to restore it, what to compare with, and (1, H, W) bool where to look, or all."""

    picture: Image
    settings: Settings
    plain: Tensor
    inside: Tensor | None


def _damaged(
    truth: Tensor, peak: int, damage: Damage, factor: Scale, settings: Settings, number: int, temporary: Path
) -> _Case:
    """truth: (C, H, W). Settings name each damage by hand, as a person would who knows it."""
    repairs = settings.repair != "none"
    given: dict[str, Any] = {
        "repair": "none",
        "scale": [float(part) for part in factor],
        "scale_factor": None,
        "scale_times": None,
    }
    has_place = damage.missing or damage.mosaic or damage.blurred  # another one on each picture
    rng = torch.Generator().manual_seed(settings.seed + number if has_place else settings.seed)
    x = truth[None]
    inside = None
    kernel = read_kernel(settings.kernel)
    if max(factor) > 1:
        x = Downscale((1 / factor[0], 1 / factor[1]), kernel).degrade(x)
    size = (x.shape[-2], x.shape[-1])
    mosaic = None
    if damage.blur is not None:
        if max(factor) == 1:
            given["kernel"] = f"gaussian:{damage.blur}"
        else:
            given["blurred"] = f"all:{damage.blur:g}"
        x = Blur(f"gaussian:{damage.blur}").degrade(x)
    if damage.noise is not None:
        given["noise"] = damage.noise
        x = Noise(damage.noise).degrade(x, rng)
    x = x.clamp(0, 1).mul(peak).round().div(peak)
    if damage.mosaic is not None:
        top, left, side = _square(size, rng)
        region = Region.rectangle(size, top, left, side, side)
        cell = (damage.mosaic, damage.mosaic)
        mosaic = Mosaic(region, cell, (top % damage.mosaic, left % damage.mosaic))
        x = mosaic.degrade(x).mul(peak).round().div(peak)
        inside = region.pixels[0]
        given["mosaic"] = f"{left},{top},{side},{side}:{damage.mosaic}"
    if damage.blurred is not None:
        top, left, side = _square(size, rng)
        region = Region.rectangle(size, top, left, side, side)
        x = Blur(f"gaussian:{damage.blurred}", region).degrade(x).mul(peak).round().div(peak)
        inside = region.pixels[0]
        given["blurred"] = f"{left},{top},{side},{side}:{damage.blurred:g}"
    plain = x
    if mosaic is not None:
        plain = torch.where(mosaic.region.pixels, mosaic.interpolated(x), x)
    picture = Image(x[0], peak=peak)
    if damage.jpeg is not None:
        stream = io.BytesIO()
        picture.pillow().save(stream, "JPEG", quality=damage.jpeg)
        picture = images.load(stream.getvalue())
        plain = picture.pixels[None]
        given["jpeg"] = "auto"
    if damage.missing is not None:
        region = _holes(damage.missing, size, settings.seed + number)
        inside = region.pixels[0]
        picture = dataclasses.replace(picture, pixels=Missing(region).degrade(picture.pixels[None])[0], jpeg=None)
        given["mask"] = str(temporary / "mask.png")
        images.save(Image(region.pixels[0].float()), given["mask"])
        plain = _telea(picture, region)
    if plain.shape[-2:] != truth.shape[-2:]:
        plain = fit(plain, (truth.shape[-2], truth.shape[-1]))
        if inside is not None:
            inside = fit(inside[None].float(), (truth.shape[-2], truth.shape[-1]))[0] > 0.5
    if not repairs:
        given = {key: given[key] for key in ("repair", "scale", "scale_factor", "scale_times")}
    return _Case(picture, dataclasses.replace(settings, **given), plain[0], inside)


def _holes(missing: str, size: Size, seed: int) -> Region:
    try:
        share = float(missing) / 100
    except ValueError:
        mask = images.load(missing)
        if mask.size == size[::-1] != size:  # one mask for portraits and landscapes
            return Region((mask.pixels.mean(0) >= 0.5).T[None, None].contiguous())
        return mask_of(missing, size)
    if not 0.001 <= share <= 0.9:
        raise SettingsError(f"damage 'missing:{missing}': scratches must cover 0.1 to 90 per cent") from None
    return Region(scratched(size, share, seed)[None, None])


def scratched(size: Size, share: float, seed: int) -> Tensor:
    """(H, W) bool: random straight scratches, two to five pixels wide, over a share of the pixels."""
    numbers = np.random.default_rng(seed)
    drawn = PIL.Image.new("1", size[::-1])
    pen = PIL.ImageDraw.Draw(drawn)
    while np.asarray(drawn).mean() < share:
        x, y = numbers.uniform(0, size[1]), numbers.uniform(0, size[0])
        angle, length = numbers.uniform(0, 2 * math.pi), numbers.uniform(40, 200)
        end = (x + length * math.cos(angle), y + length * math.sin(angle))
        pen.line([(x, y), end], fill=1, width=int(numbers.integers(SCRATCH_WIDTHS[0], SCRATCH_WIDTHS[1] + 1)))
    return torch.from_numpy(np.array(drawn))


def _telea(picture: Image, region: Region) -> Tensor:
    """OpenCV's inpainting (Telea 2004), to compare with; the damaged picture itself where OpenCV is not installed."""
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return picture.pixels[None]
    hole = region.pixels[0, 0].numpy().astype(np.uint8) * 255
    filled = cv2.inpaint(dataclasses.replace(picture, peak=255).samples(), hole, 3, cv2.INPAINT_TELEA)
    return images.from_array(filled).pixels[None]


def _figures(
    result: Tensor, truth: Tensor, damage: Damage, factor: Scale, inside: Tensor | None
) -> tuple[float, float, float]:
    """PSNR, SSIM, PSNR-B by the protocol of the damage; NaN for those that are not usual there."""
    if max(factor) > 1:
        border = _border(factor)
        return psnr_y(result, truth, border), ssim_y(result, truth, border), math.nan
    if inside is not None:
        return psnr(result, truth, inside), math.nan, math.nan
    return psnr(result, truth), ssim(result, truth), psnr_b(result, truth) if damage.jpeg else math.nan


def score_results(results: Path, truth: Path, settings: Settings, on_score: Callable[[Score], None]) -> Table:
    """Score pictures that any tool made. A result belongs to the truth of its size whose name its own begins with."""
    border = _border(_factor(settings))
    truths = [(path, images.load(path, None, settings.max_pixels)) for path in _pictures(truth)]
    scores = []
    for path in _pictures(results):
        result = images.load(path, None, settings.max_pixels)
        fitting = [(p, t) for p, t in truths if t.size == result.size and _belongs(path.stem, _key(p))]
        if not fitting:
            raise PictureError(f"{path}: no picture in {truth} has a name that it begins with, and its size")
        truth_path, best = max(fitting, key=lambda pair: len(_key(pair[0])))
        if len(best.pixels) != len(result.pixels):
            raise PictureError(f"{path}: grey against colour in {truth_path}")
        score = Score(
            path.name, math.nan, math.nan, math.nan, psnr_y(result.pixels, best.pixels, border),
            ssim_y(result.pixels, best.pixels, border), math.nan,
        )  # fmt: skip
        scores.append(score)
        on_score(score)
    return Table(tuple(scores), _protocol(Damage(), _factor(settings)), settings, _peak_megabytes(), {})


def _belongs(stem: str, key: str) -> bool:
    """Whether a result's name is the truth's, or begins with it and goes on with no letter or digit."""
    return stem == key or (stem.startswith(key) and not stem[len(key)].isalnum())


def _key(path: Path) -> str:
    return path.stem.removesuffix("_gt").removesuffix("_hr").removesuffix("_HR")


def _factor(settings: Settings) -> tuple[Any, Any]:
    factor = settings.factor()
    assert factor is not None  # the command has no --size
    if max(factor) == 1:
        raise SettingsError("scale 1: there is nothing to evaluate; give a larger --scale, or --damage")
    return factor


def _border(factor: tuple[Any, Any]) -> int:
    return math.ceil(max(factor))


def _square(size: Size, rng: torch.Generator) -> tuple[int, int, int]:
    """(top, left, side) of one somewhere in a picture."""
    side = min(SQUARE_SIDE, *size)
    top, left = (int(torch.randint(length - side + 1, (1,), generator=rng)) for length in size)
    return top, left, side


def before(damage: Damage) -> str:
    """What the result is compared with, in a word."""
    if damage.missing is not None:
        return "Telea" if importlib.util.find_spec("cv2") else "input"
    return "bicubic" if damage.scale or damage.mosaic else "input"


def _protocol(damage: Damage, factor: Scale) -> str:
    if max(factor) > 1:
        return f"luma of BT.601 (16 to 235), 8-bit rounding, border of {_border(factor)} cut"
    if damage.mosaic or damage.blurred or damage.missing:
        return "all channels together, inside the damaged part, 8-bit rounding"
    return "all channels together, 8-bit rounding, no border cut"


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise PictureError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise PictureError(f"{folder}: no pictures in this folder")
    return paths


def _peak_megabytes() -> float:
    """Most memory that this process has held so far."""
    if os.name == "nt":
        return psutil.Process().memory_info().peak_wset / 1e6  # type: ignore[attr-defined]
    import resource
    import sys

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e6 if sys.platform == "darwin" else 1e3)

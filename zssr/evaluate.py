"""Scores on folders of pictures, by the protocol of the super-resolution papers."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from zssr import image as images
from zssr.degrade import Chain, Downscale, Noise
from zssr.degrade.downscale import read_kernel
from zssr.errors import OutputError, PictureError, SettingsError
from zssr.formats import SUFFIXES
from zssr.image import Image
from zssr.metrics import psnr_y, ssim_y
from zssr.restoration import OnStep, restore
from zssr.settings import Settings


@dataclass(frozen=True)
class Score:
    """One picture's figures; NaN where there is none."""

    name: str
    bicubic_psnr: float
    bicubic_ssim: float
    psnr: float
    ssim: float
    wall_seconds: float = math.nan
    cpu_seconds: float = math.nan
    rms: float = math.nan

    @staticmethod
    def heading() -> str:
        return (
            f"{'picture':24}{'bicubic PSNR-Y':>16}{'SSIM-Y':>8}{'zssr PSNR-Y':>14}{'SSIM-Y':>8}"
            f"{'wall s':>9}{'CPU s':>9}{'agreement':>11}"
        )

    def row(self) -> str:
        def number(value: float, width: int, digits: int) -> str:
            return f"{'-' if math.isnan(value) else f'{value:.{digits}f}':>{width}}"

        return (
            f"{self.name[:23]:24}"
            + number(self.bicubic_psnr, 16, 2)
            + number(self.bicubic_ssim, 8, 4)
            + number(self.psnr, 14, 2)
            + number(self.ssim, 8, 4)
            + number(self.wall_seconds, 9, 1)
            + number(self.cpu_seconds, 9, 1)
            + number(self.rms, 11, 2)
        )


@dataclass(frozen=True)
class Table:
    """All scores of a folder."""

    scores: tuple[Score, ...]
    protocol: str
    settings: Settings
    peak_megabytes: float

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
        }


def evaluate(
    folder: Path,
    settings: Settings,
    on_score: Callable[[Score], None],
    bars: Callable[[str], AbstractContextManager[OnStep | None]],
    save: Path | None = None,
) -> Table:
    """Downscale each picture with the settings' kernel and noise, restore it, score it."""
    factor = _factor(settings)
    border = _border(factor)
    kernel = read_kernel(settings.kernel)
    downscale = Downscale((1 / factor[0], 1 / factor[1]), kernel)
    bicubic = Downscale((1 / factor[0], 1 / factor[1]))
    damage = Chain((downscale, Noise(settings.noise)) if settings.noise else (downscale,))
    scores = []
    paths = _pictures(folder)
    outputs = {path: save / f"{path.stem}.png" for path in paths} if save is not None else {}
    for path, output in outputs.items():  # before hours of work
        if output.resolve() in {p.resolve() for p in paths}:
            raise OutputError(f"{output}: is one of the pictures to be evaluated; save into another folder")
        if (output.exists() and not settings.overwrite) or list(outputs.values()).count(output) > 1:
            raise OutputError(f"{output}: {path.name}'s output exists already, or is another picture's too")
    for path in paths:
        truth = images.load(path, settings.max_MB, settings.max_pixels)
        # Whole multiples of the factor, so that both pictures show exactly the same scene.
        height, width = (length - length % part.numerator for length, part in zip(truth.size, factor, strict=True))
        if 0 in (height, width):
            raise PictureError(f"{path}: smaller than the factor")
        pixels = truth.pixels[:, :height, :width]
        rng = torch.Generator().manual_seed(settings.seed)
        small = damage.degrade(pixels[None], rng).clamp(0, 1).mul(truth.peak).round().div(truth.peak)
        plain = bicubic.interpolate(small, (height, width))[0]
        wall, cpu = time.monotonic(), time.process_time()
        with bars(path.name) as on_step:
            result = restore(Image(small[0], peak=truth.peak), settings, on_step=on_step)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        score = Score(
            path.name, psnr_y(plain, pixels, border), ssim_y(plain, pixels, border),
            psnr_y(result.tensor(), pixels, border), ssim_y(result.tensor(), pixels, border), wall, cpu,
            result.agreement.rms,
        )  # fmt: skip
        if save is not None:
            images.save(result.image, outputs[path], overwrite=settings.overwrite)
        scores.append(score)
        on_score(score)
    return Table(tuple(scores), _protocol(border), settings, _peak_megabytes())


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
            path.name, math.nan, math.nan, psnr_y(result.pixels, best.pixels, border),
            ssim_y(result.pixels, best.pixels, border),
        )  # fmt: skip
        scores.append(score)
        on_score(score)
    return Table(tuple(scores), _protocol(border), settings, _peak_megabytes())


def _belongs(stem: str, key: str) -> bool:
    """Whether a result's name is the truth's, or begins with it and goes on with no letter or digit."""
    return stem == key or (stem.startswith(key) and not stem[len(key)].isalnum())


def _key(path: Path) -> str:
    return path.stem.removesuffix("_gt").removesuffix("_hr").removesuffix("_HR")


def _factor(settings: Settings) -> tuple[Any, Any]:
    factor = settings.factor()
    assert factor is not None  # the command has no --size
    if max(factor) == 1:
        raise SettingsError("scale 1: there is nothing to evaluate; give a larger --scale")
    return factor


def _border(factor: tuple[Any, Any]) -> int:
    return math.ceil(max(factor))


def _protocol(border: int) -> str:
    return f"luma of BT.601 (16 to 235), 8-bit rounding, border of {border} cut"


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

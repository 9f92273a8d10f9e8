"""Scores on folders of pictures, by the protocol of the super-resolution papers."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
from torch import Tensor

from zssr import files
from zssr.damages import Damaged
from zssr.errors import OutputError, PictureError, SettingsError
from zssr.evaluate.damaging import TestDamage, damaged
from zssr.evaluate.scores import Score, Table
from zssr.formats import SUFFIXES
from zssr.image import Image, as_stored
from zssr.metrics import psnr, psnr_b, psnr_y, ssim, ssim_y
from zssr.progress import OnStep
from zssr.resample import Scale, fit
from zssr.restoration import restore
from zssr.settings import Settings
from zssr.targets import stems


def evaluate(
    folder: Path,
    settings: Settings,
    on_score: Callable[[Score], None],
    bars: Callable[[str], AbstractContextManager[OnStep | None]],
    save: Path | None = None,
    damage: TestDamage | None = None,
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
        factor = _factor(settings)
        noise = settings.noise if isinstance(settings.noise, int | float) and settings.noise else None
        damage = TestDamage({"scale": float(max(factor))} | ({} if noise is None else {"noise": noise}))
    else:
        given = Fraction(str(damage.amounts.get("scale", 1))).limit_denominator(100)
        factor = (given, given)
    paths = [path for path in _pictures(folder) if only is None or path.name in only]
    if not paths:
        raise PictureError(f"{folder}: holds none of the {len(only or ())} pictures asked for")
    outputs = _outputs(paths, save, settings.overwrite)
    scores: list[Score] = []
    used: Counter[str] = Counter()
    for number, path in enumerate(paths):
        truth = _truth(path, factor, settings, longest)
        with tempfile.TemporaryDirectory(prefix="zssr-") as temporary:
            case, chosen = damaged(truth, damage, factor, settings, number, temporary)
            wall, cpu = time.monotonic(), time.process_time()
            with bars(path.name) as on_step:
                picture = case.image
                if separately:
                    picture = restore(picture, dataclasses.replace(chosen, scale=1), on_step=on_step).image
                    chosen = dataclasses.replace(settings, scale=chosen.scale, repair="none", noise=None)
                result = restore(picture, chosen, on_step=on_step)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        score = Score(
            path.name, *_figures(case.plain[0], truth.pixels, case, factor),
            *_figures(result.tensor(), truth.pixels, case, factor), wall, cpu, result.agreement.rms,
            math.nan if result.agreement.coefficients is None else result.agreement.coefficients,
        )  # fmt: skip
        if path in outputs:
            files.save(result.image, outputs[path], overwrite=settings.overwrite)
        scores.append(score)
        used.update(prior.name for prior in result.plan.priors.used())
        on_score(score)
    return Table(tuple(scores), _protocol(damage, factor), settings, _peak_megabytes(), dict(used))


def _outputs(paths: list[Path], save: Path | None, overwrite: bool) -> dict[Path, Path]:
    """Where each picture's result is saved. Raises OutputError before hours of work."""
    named = zip(paths, stems(paths), strict=True)
    outputs = {path: save / f"{stem}.png" for path, stem in named} if save is not None else {}
    for path, output in outputs.items():
        if output.resolve() in {p.resolve() for p in paths}:
            raise OutputError(f"{output}: is one of the pictures to be evaluated; save into another folder")
        if (output.exists() and not overwrite) or list(outputs.values()).count(output) > 1:
            raise OutputError(f"{output}: {path.name}'s output exists already, or is another picture's too")
    return outputs


def _truth(path: Path, factor: Scale, settings: Settings, longest: int | None) -> Image:
    """A picture as it is scored: grey if its channels are the same, made smaller to `longest`, its sides whole
    multiples of the factor, so that the damaged picture shows exactly the same scene."""
    truth = files.load(path, settings.max_MB, settings.max_pixels)
    pixels = truth.pixels
    if len(pixels) == 3 and bool((pixels == pixels[:1]).all()):
        pixels = pixels[:1]
    if longest is not None and max(truth.size) > longest:
        share = longest / max(truth.size)
        size = (max(1, round(truth.size[0] * share)), max(1, round(truth.size[1] * share)))
        pixels = as_stored(fit(pixels[None], size)[0], truth.peak)
    whole = zip(pixels.shape[-2:], factor, strict=True)
    height, width = (length - length % part.numerator for length, part in whole)
    if 0 in (height, width):
        raise PictureError(f"{path}: smaller than the factor")
    return Image(pixels[:, :height, :width], peak=truth.peak)


def _figures(result: Tensor, truth: Tensor, case: Damaged, factor: Scale) -> tuple[float, float, float]:
    """PSNR, SSIM, PSNR-B by the protocol of the damage; NaN for those that are not usual there."""
    if max(factor) > 1:
        border = _border(factor)
        return psnr_y(result, truth, border), ssim_y(result, truth, border), math.nan
    if case.inside is not None:
        return psnr(result, truth, case.inside[0]), math.nan, math.nan
    return psnr(result, truth), ssim(result, truth), psnr_b(result, truth) if case.image.jpeg else math.nan


def score_results(results: Path, truth: Path, settings: Settings, on_score: Callable[[Score], None]) -> Table:
    """Score pictures that any tool made. A result belongs to the truth of its size whose name its own begins with."""
    border = _border(_factor(settings))
    truths = [(path, files.load(path, None, settings.max_pixels)) for path in _pictures(truth)]
    scores = []
    for path in _pictures(results):
        result = files.load(path, None, settings.max_pixels)
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
    return Table(tuple(scores), _protocol(TestDamage({}), _factor(settings)), settings, _peak_megabytes(), {})


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


def _protocol(damage: TestDamage, factor: Scale) -> str:
    if max(factor) > 1:
        return f"luma of BT.601 (16 to 235), 8-bit rounding, border of {_border(factor)} cut"
    if damage.placed:
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


__all__ = ["Score", "Table", "TestDamage", "evaluate", "score_results"]

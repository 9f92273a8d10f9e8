"""What the worker processes do: look at an upload, restore a picture, convert a result."""

from __future__ import annotations

import dataclasses
import io
import math
import secrets
import time
from typing import Any

import distributed
from torch import Tensor

from web.config import RANDOM_PART_SCALE, visitor_settings
from web.protocol import TOPIC, Catalogue, UploadCheck, WebResult, WebTask, stop_event_name
from zssr.damages import KINDS
from zssr.damages.downscale import read_kernel
from zssr.damages.region import region_of_area
from zssr.damages.rules import without_echoes
from zssr.diagnose import describe
from zssr.errors import Cancelled, PictureError, SettingsError
from zssr.files import encode, load
from zssr.image import Image
from zssr.plan import make_plan
from zssr.priors import shipped
from zssr.priors.cards import FAMILIES, load_weights
from zssr.progress import Progress
from zssr.repairs import repairs_for
from zssr.resample import fit
from zssr.resources import step_flops
from zssr.restoration import restore
from zssr.settings import AUTO, Settings, parse_areas, specs

SEND_EVERY = 0.4  # seconds between two messages on progress
CHECK_STOP_EVERY = 0.2  # seconds between two looks whether to stop
THUMBNAIL, LARGE_THUMBNAIL = 160, 320  # longest sides in pixels
KERNEL_SQUARE = 8  # pixels a side for each weight of a kernel that is shown
MOST_A_STEP = 16  # a training step may cost so many times the default's
SPREAD_SEEN = 0.8  # how bright the uncertainty's brightest pixels are shown, about


def catalogue() -> Catalogue:
    """The shipped priors, and what visitors are warned of."""
    priors = {name: FAMILIES[load_weights(path)[1].family].task for name, path in shipped().items()}
    return Catalogue(priors, {kind.name: kind.operator.warning for kind in KINDS if kind.operator.warning})


def diagnose(upload: UploadCheck) -> dict[str, Any]:
    """What is said at once of an upload. Raises PictureError."""
    picture = load(upload.data, upload.max_MB, upload.max_pixels, partial=True)  # a job says so, or refuses it
    repairs = repairs_for(picture, Settings(), False)
    findings = without_echoes(repairs.findings)
    height, width = picture.size
    undone = repairs.words
    return {
        "width": width,
        "height": height,
        "format": picture.format,
        "words": "; ".join([*describe(findings).splitlines(), *picture.notes]),
        "findings": [
            {
                "kind": finding.kind, "words": finding.words, "sure": finding.sure,
                "confidence": round(finding.confidence, 3),
            }
            for finding in findings
        ],
        "proposed": f"undo {', then '.join(undone)}" if undone else "nothing to repair: choose a scale to enlarge it",
        "warnings": _warnings({finding.kind for finding in findings}),
        "thumbnail": _png(_small(picture, LARGE_THUMBNAIL)),
    }  # fmt: skip


def check(upload: UploadCheck) -> dict[str, Any]:
    """Whether an upload can be restored with its settings: its sizes, and what is to be restored if only a part.

    Raises PictureError and SettingsError.
    """
    settings = visitor_settings(upload.settings)
    if step_flops(settings) > MOST_A_STEP * step_flops(Settings()):
        raise SettingsError(
            "settings: batch_size, crop_size, model_width, model_depth and model_kernel_size together make each step"
            f" over {MOST_A_STEP} times as long as the default; choose smaller ones"
        )
    read_kernel(settings.kernel)
    for name in settings.prior.split("+") if settings.prior not in ("none", AUTO) else ():
        if name not in shipped():
            raise SettingsError(f"settings: prior '{name}': must be one of {', '.join(shipped())}, auto or none")
    picture = load(upload.data, upload.max_MB, upload.max_pixels, settings.partial)
    part, data = None, None
    if upload.part:
        picture, part = _random_part(picture, upload.part)
        data = encode(picture, "png")[0]
    for name in (name for name, spec in specs().items() if spec.areas):
        for area in parse_areas(name, getattr(settings, name)):
            region_of_area(name, area, picture.size)
    out_size = settings.out_size(picture.size)
    if out_size[0] * out_size[1] > upload.max_output_pixels:
        raise SettingsError(
            f"settings: the result would have {out_size[1]}x{out_size[0]} pixels, more than the"
            f" {upload.max_output_pixels} that are made here; choose a smaller scale"
        )
    return {"size": [*picture.size[::-1]], "out_size": [*out_size[::-1]], "part": part, "data": data}


def convert(data: bytes, format: str) -> bytes:
    """A result, as PNG, in another format."""
    return encode(load(data), format)[0]


def restore_job(task: WebTask) -> WebResult:
    """A job from its beginning to its end. Raises the errors of zssr."""
    sender = ProgressSender(task)
    try:
        return _restored(task, sender)
    except Cancelled:
        return WebResult({}, {}, cancelled=True)
    finally:
        sender.send(over=True)


def _restored(task: WebTask, sender: ProgressSender) -> WebResult:
    sender.begin()
    settings = visitor_settings(task.settings)
    picture = load(task.data, task.max_MB, task.max_pixels, settings.partial)
    if not task.keep_exif:  # it may tell the place
        picture = picture.anonymous()
    sender.picture(picture)
    plan = make_plan(picture, settings)
    sender.planned()
    result = restore(picture, plan=plan, on_step=sender.step, on_preview=sender.preview, spread=True)
    sender.check()
    encoded, notes = result.encode("png")
    before = fit(picture.pixels, result.image.size).clamp_(0, 1)
    files = {
        "result.png": encoded,
        "before.png": encode(dataclasses.replace(result.image, pixels=before).anonymous(), "png")[0],
        "source.png": encode(picture.anonymous(), "png")[0],
        "thumbnail.jpg": _jpeg(_small(result.image, THUMBNAIL)),
        "sidecar.json": result.sidecar_json(),
    }
    gain = 1
    if result.spread is not None:
        gain = _spread_gain(result.spread)
        files["spread.png"] = encode(Image((result.spread * gain).clamp(0, 1)), "png")[0]
    kernels = (part.point_spread for part in plan.last.degradation.parts)
    kernel = next((weights for weights in kernels if weights is not None), None)
    if kernel is not None:
        files["kernel.png"] = _png(_kernel_picture(kernel))
    findings = without_echoes(plan.findings)
    outcome = {
        "seconds": round(result.seconds, 1),
        "agreement": dataclasses.asdict(result.agreement),
        "words": result.words,
        "unknown": result.unknown,
        "notes": [*result.notes, *notes],
        "findings": [finding.words for finding in findings],
        "warnings": _warnings({finding.kind for finding in findings} | _kinds_given(task.settings)),
        "learned": result.learned,
        "spread": result.spread is not None,
        "spread_gain": gain,
        "kernel": kernel is not None,
        "format": "png",
        "bytes": len(encoded),
        "out_size": [*result.image.size[::-1]],
    }
    return WebResult(files, outcome)


def _warnings(kinds: set[str]) -> list[str]:
    """Of damages by these names, each once."""
    return list(dict.fromkeys(kind.operator.warning for kind in KINDS if kind.operator.warning and kind.name in kinds))


def _kinds_given(settings: dict[str, Any]) -> set[str]:
    """The names of the damages that a visitor's settings describe or ask for."""
    return {spec.repairs for name, spec in specs().items() if spec.repairs and settings.get(name)}


def _spread_gain(spread: Tensor) -> int:
    """The uncertainty is small; some power of two times as bright it can be seen."""
    high = spread.flatten().kthvalue(math.ceil(0.99 * spread.numel())).values.item()
    return int(2 ** max(0, math.floor(math.log2(SPREAD_SEEN / max(high, 1e-4)))))


class ProgressSender:
    """Sends the web process how far a job is, and asks whether to stop."""

    def __init__(self, task: WebTask) -> None:
        self._task = task
        self._started = self._last_sent = self._last_checked = time.monotonic()
        try:
            self._worker: Any = distributed.get_worker()
            self._stop: Any = distributed.Event(stop_event_name(task.id, task.attempt))
        except ValueError:  # called directly
            self._worker = self._stop = None

    def send(self, **event: Any) -> None:
        """An event; see web.jobs.RunningJob.update."""
        if self._worker is not None:
            self._worker.log_event(TOPIC, {"id": self._task.id, "attempt": self._task.attempt, **event})

    def begin(self) -> None:
        """The job is at work."""
        self.send(begun=True, worker=None if self._worker is None else self._worker.address)
        self.check()

    def check(self) -> None:
        """Raises Cancelled, or PictureError when it takes too long."""
        self._last_checked = time.monotonic()
        if self._stop is not None and self._stop.is_set():
            raise Cancelled("cancelled")
        if self._last_checked - self._started > self._task.seconds:
            raise PictureError(
                f"stopped after {self._task.seconds:.0f} s, the longest that a job may take here; choose a smaller"
                " scale, quality fast, or a time budget"
            )

    def picture(self, picture: Image) -> None:
        """What is worked on, to be shown small."""
        self.send(input=_jpeg(_small(picture, THUMBNAIL)))

    def planned(self) -> None:
        """The damage is known."""
        self.check()
        self.send(progress={"fraction": 0.0, "stage": "look", "stage_name": "making the first estimate"})

    def step(self, progress: Progress) -> None:
        """Called often by restore."""
        now = time.monotonic()
        if now - self._last_checked > CHECK_STOP_EVERY:
            self.check()
        if now - self._last_sent < SEND_EVERY and progress.fraction < 1:
            return
        self._last_sent = now
        # Each step of the way is a training and an application.
        step, steps = progress.stage_number // 2 + 1, progress.stages // 2
        share = 100 * progress.error / max(progress.base_error, 1e-3)
        is_learning = progress.stage == "train" and progress.fraction < 1  # the next is heard of after a tile only
        doing = "learning" if is_learning else "applying what was learned"
        self.send(
            progress={
                "fraction": round(progress.whole, 4),
                "stage": progress.stage,
                "stage_name": doing if steps == 1 else f"{doing}, step {step} of {steps}",
                "stage_number": progress.stage_number,
                "stages": progress.stages,
            },
            # Relative to the first estimate, so that easy and hard crops count alike.
            point=[round(progress.whole, 4), round(share, 2), progress.lr]
            if progress.stage == "train" and math.isfinite(share)
            else None,
        )

    def preview(self, now: Tensor, before: Tensor) -> None:
        """The middle of the result as it is, and as it was first."""
        self.send(preview=_jpeg(Image(now)), before=_jpeg(Image(before)))


def _random_part(picture: Image, side: int) -> tuple[Image, dict[str, int]]:
    height, width = picture.size
    rows, columns = min(side, height), min(side, width)
    # On whole blocks, so that a JPEG picture's part begins with one.
    top = secrets.randbelow((height - rows) // 8 + 1) * 8
    left = secrets.randbelow((width - columns) // 8 + 1) * 8
    cut = (..., slice(top, top + rows), slice(left, left + columns))
    part = dataclasses.replace(
        picture, pixels=picture.pixels[cut].contiguous(), jpeg=None, format="png",
        alpha=None if picture.alpha is None else picture.alpha[cut].contiguous(),
    )  # fmt: skip
    return part, {"x": left, "y": top, "width": columns, "height": rows, "scale": RANDOM_PART_SCALE}


def _small(picture: Image, side: int) -> Image:
    """At most so large, seen on white."""
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = pixels * picture.alpha + (1 - picture.alpha)
    factor = min(1.0, side / max(picture.size))
    size = (max(1, round(picture.size[0] * factor)), max(1, round(picture.size[1] * factor)))
    small = pixels if factor == 1 else fit(pixels, size).clamp_(0, 1)
    return Image(small, icc=picture.icc)


def _kernel_picture(weights: Tensor) -> Image:
    """White where a point went most, one square a pixel; negative weights as none."""
    levels = (weights / weights.max()).clamp(0, 1).float()
    return Image(levels.repeat_interleave(KERNEL_SQUARE, 0).repeat_interleave(KERNEL_SQUARE, 1)[None])


def _png(picture: Image) -> bytes:
    return encode(picture, "png")[0]


def _jpeg(picture: Image) -> bytes:
    stream = io.BytesIO()
    picture.pillow().save(stream, "JPEG", quality=88, icc_profile=picture.icc)
    return stream.getvalue()

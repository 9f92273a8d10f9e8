"""What a worker does with a job."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import os
import time
from typing import Any

import distributed
import torch

from zssr.batch.kept import kept_result, key_of, packed, read_source, write_result
from zssr.batch.records import TOPIC, Done, Outcome, Task, failed
from zssr.errors import ZssrError
from zssr.files import load
from zssr.image import Image
from zssr.progress import Progress
from zssr.restoration import restore
from zssr.settings import Settings
from zssr.targets import is_remote

SEND_EVERY = 0.5  # seconds between two words of a worker
THUMBNAIL = 160  # longest side in pixels


def restore_task(task: Task) -> Done:
    """What a worker does with a job; only faults of zssr itself are raised."""
    worker = _worker()
    outcome = dataclasses.replace(failed(task.job, ""), worker=str(worker and worker.address), share=task.job.share)
    try:
        return _restored(task, worker, outcome)
    except (ZssrError, OSError) as error:
        return Done(dataclasses.replace(outcome, reason=str(error)))
    finally:
        _send(worker, {"number": task.number, "over": True})


def _restored(task: Task, worker: Any, outcome: Outcome) -> Done:
    job, settings = task.job, task.job.settings
    begin = time.monotonic()
    data = read_source(job) if task.data is None else task.data
    key = key_of(data, settings, task.weights)
    travels = task.transfer or is_remote(job.target)
    if not travels:
        kept = kept_result(job, key, task.trains_first)
        if kept is not None and not task.force:
            return kept
    picture = load(data, settings.max_MB, settings.max_pixels, settings.partial)
    last_sent = 0.0

    def on_step(progress: Progress) -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent > SEND_EVERY:
            last_sent = time.monotonic()
            _send(worker, {"number": task.number, "source": job.source, **dataclasses.asdict(progress)})

    if settings.device == "auto" and torch.cuda.device_count() > 1 and worker is not None:
        place = int(worker.name) if str(worker.name).isdecimal() else os.getpid()
        settings = dataclasses.replace(settings, device=f"cuda:{place % torch.cuda.device_count()}")
    result = restore(picture, _for_one(settings), on_step=on_step, warm_start=task.weights)
    weights = result.weights if task.trains_first else None
    encoded, notes = result.encode(job.format)
    sidecar = result.sidecar_json(
        settings=job.settings.to_json(), key=key, sha256=hashlib.sha256(encoded).hexdigest(),
        weights=hashlib.sha256(packed(weights)).hexdigest() if weights else None,
    )  # fmt: skip
    outcome = dataclasses.replace(
        outcome, state="made", seconds=round(time.monotonic() - begin, 3),
        training_steps=sum(report.steps for report in result.reports),
        training_seconds=round(sum(report.seconds for report in result.reports), 3),
        agreement=result.agreement.rms, unknown=result.unknown, notes=(*result.notes, *notes),
        size=(result.image.size[1], result.image.size[0]), before=_thumbnail(picture), after=_thumbnail(result.image),
    )  # fmt: skip
    if travels:
        return Done(outcome, encoded, sidecar, weights)
    write_result(job, encoded, sidecar, weights)
    return Done(outcome, weights=weights)


def _for_one(settings: Settings) -> Settings:
    """Without what only says where the result goes."""
    return dataclasses.replace(settings, format=None, overwrite=False, base64=False)


def _thumbnail(image: Image) -> str:
    stream = io.BytesIO()
    small = image.pillow().convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()


def _worker() -> Any:
    try:
        return distributed.get_worker()
    except ValueError:
        return None


def _send(worker: Any, event: dict[str, Any]) -> None:
    if worker is not None:
        worker.log_event(TOPIC, event)

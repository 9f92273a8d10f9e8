"""Many pictures with many settings, to the end: the jobs of a config.json on a Dask cluster.

One engine: on one machine it starts a cluster of processes itself; given a client or the address of a scheduler, the
same run goes over any number of machines. Dask knows which worker lives and gives the jobs of a dead one to another.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distributed
import PIL.Image
import psutil
import safetensors
import safetensors.numpy
import torch

from zssr.cluster import connected, cores, workers_now
from zssr.errors import BatchError, OutputError, PictureError, ZssrError
from zssr.files import load, write
from zssr.image import Image
from zssr.jobs import Job, Run, files_of, make_run, sidecar_of, weights_of
from zssr.priors import located, names_in
from zssr.progress import Progress
from zssr.resources import BYTES_OF_RUNTIME, estimate_from_sizes, pixels_of_a_step
from zssr.restoration import restore
from zssr.settings import Settings, parse_areas, specs
from zssr.targets import exists_remote, is_remote, read_remote, write_remote
from zssr.version import __version__
from zssr.weights import Weights

TOPIC = "zssr"
TELL_EVERY = 0.5  # seconds between two words of a worker
ASK_EVERY = 1.0  # seconds between two looks at how many workers there are
AHEAD = 16  # jobs that wait at the cluster beside those that run, so that no worker waits for the next
THUMBNAIL = 160  # longest side in pixels
MOST_THUMBNAILS = 500  # that are kept; more would fill memory, and no page shows them


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    state: "made", "kept" (finished before), "failed" (its own fault, with a reason), or "lost" (its workers died).
    before, after: thumbnails as base64 of JPEG. agreement: root mean square, in grey levels.
    """

    source: str
    target: str
    where: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    training_steps: int = 0
    training_seconds: float = 0.0
    agreement: float | None = None
    unknown: str = ""
    notes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    before: str = ""
    after: str = ""
    worker: str = ""
    share: str | None = None


@dataclass(frozen=True)
class Task:
    """A job on its way to a worker.

    data: the source's bytes, where they travel. weights: to begin with. leads: whether others begin with its own.
    """

    number: int
    job: Job
    data: bytes | None = None
    transfer: bool = False
    force: bool = False
    weights: Weights | None = None
    leads: bool = False


@dataclass(frozen=True)
class Done:
    """A task on its way back. data, sidecar: the result's, where they travel."""

    outcome: Outcome
    data: bytes | None = None
    sidecar: bytes | None = None
    weights: Weights | None = None


@dataclass
class Watch:
    """What a caller may see and say: every outcome, every word of progress; and whether to stop after what runs."""

    on_start: Callable[[int, str], None] = lambda jobs, dashboard: None
    on_progress: Callable[[dict[str, Any]], None] = lambda event: None
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass
class Report:
    """The end of a run. left: jobs that were not begun because the caller asked to stop."""

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    left: int = 0

    def count(self, state: str) -> int:
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def complete(self) -> bool:
        return not self.left and not self.count("failed") and not self.count("lost")


def run(
    config: Run | dict[str, Any],
    client: distributed.Client | None = None,
    *,
    force: bool = False,
    watch: Watch | None = None,
    work: Callable[[Task], Done] | None = None,
) -> Report:
    """Restore all pictures of a config (see jobs.make_run), on a client's cluster or one that is started for it.

    force: make finished results again. work: what a worker does with a task; for tests.
    Raises SettingsError for mistakes in the config before anything starts, BatchError when the cluster is gone.
    """
    planned = config if isinstance(config, Run) else make_run(config)
    watch = watch or Watch()
    begin = time.monotonic()
    report = Report()
    if client is not None:
        _run(planned, client, force, watch, work or restore_task, report)
    else:
        with connected(planned.scheduler, workers_of(planned), planned.threads, planned.retries, "zssr.batch") as own:
            _run(planned, own, force, watch, work or restore_task, report)
    report.seconds = time.monotonic() - begin
    return report


def workers_of(planned: Run) -> int:
    """Processes to start on this machine: no more than cores, which would only be shared, nor than jobs."""
    return min(planned.workers or torch.cuda.device_count() or cores(), cores(), len(planned.jobs))


def _run(planned: Run, client: Any, force: bool, watch: Watch, work: Callable[[Task], Done], report: Report) -> None:
    dashboard = (client.dashboard_link or "") if importlib.util.find_spec("bokeh") else ""  # it draws the pages
    watch.on_start(len(planned.jobs), dashboard)
    client.subscribe_topic(TOPIC, lambda event: watch.on_progress(event[1]))
    token = os.urandom(4).hex()
    leaders: dict[str, int] = {}  # of those that share weights: the number of the one that is trained in full
    for number, job in enumerate(planned.jobs):
        if job.share is not None:
            leaders.setdefault(job.share, number)
    # Taken from the end: the leaders first, as the others wait for them; then the largest, so that the run does not
    # end with one long straggler.
    estimates = [estimate(job) for job in planned.jobs]
    first = set(leaders.values())
    waiting = sorted(enumerate(planned.jobs), key=lambda pair: (pair[0] in first, estimates[pair[0]][0], -pair[0]))
    weights: dict[str, Weights | None] = {}
    held: dict[Any, tuple[int, Job, int]] = {}
    memory_here = memory_free = psutil.virtual_memory().available  # where workers name no limit
    stopping, told = False, 0.0
    running = distributed.as_completed()

    def at_hand() -> list[dict[str, Any]]:
        try:
            return workers_now(client)
        except BatchError:
            raise BatchError(_gone(report, planned)) from None

    def next_job() -> tuple[int, Job] | None:
        for position in range(len(waiting) - 1, max(-1, len(waiting) - 1 - 1000), -1):
            number, job = waiting[position]
            if job.share is None or leaders[job.share] == number or job.share in weights:
                return waiting.pop(position)
        return None

    slots, asked, sent = 1, 0.0, 0

    def submit() -> None:
        nonlocal slots, asked, sent, memory_free
        if time.monotonic() - asked > ASK_EVERY:  # workers come and go
            workers = at_hand()
            slots = sum(worker["nthreads"] for worker in workers) or 1
            limits = [worker["memory_limit"] for worker in workers]
            memory_free = sum(limits) if limits and all(limits) else memory_here
            asked = time.monotonic()
        if len(held) > slots + AHEAD // 2:
            return  # several together cost the scheduler little more than one
        tasks: list[Task] = []
        memories = [memory for _, _, memory in held.values()]
        while len(memories) < slots + AHEAD:
            found = next_job()
            if found is None:
                break
            number, job = found
            needed = estimates[number][1]
            if memories and sum(sorted([needed, *memories])[-slots:]) > memory_free:
                waiting.append(found)
                break
            own = weights.get(job.share) if job.share is not None else None
            leads = job.share is not None and leaders[job.share] == number
            data = None
            if planned.transfer or is_remote(job.source) or is_remote(job.target):
                try:
                    data = _read(job)
                    kept = _kept(job, key_of(data, job.settings, own), leads)
                    kept = None if force else kept
                except ZssrError as error:
                    finish(job, Done(_failed(job, str(error))))
                    continue
                if kept is not None:
                    finish(job, kept)
                    continue
            tasks.append(Task(number, job, data, planned.transfer, force, own, leads))
            memories.append(needed)
        if tasks:
            # Dask takes those that are sent together in the order of their keys.
            keys = [f"zssr-{token}-{sent + place:09}" for place in range(len(tasks))]
            sent += len(tasks)
            futures = client.map(_unless_stopped, tasks, key=keys, pure=False, retries=0, work=work, token=token)
            for future, task in zip(futures, tasks, strict=True):
                held[future] = task.number, task.job, estimates[task.number][1]
            running.update(futures)

    def finish(job: Job, done: Done) -> None:
        outcome = done.outcome
        if done.data is not None and outcome.state == "made":
            try:
                _write(job, done.data, done.sidecar or b"", done.weights)
            except ZssrError as error:
                outcome = _failed(job, str(error))
        if job.share is not None and planned.jobs[leaders[job.share]] is job:
            weights[job.share] = done.weights
        if len(report.outcomes) >= MOST_THUMBNAILS:
            outcome = dataclasses.replace(outcome, before="", after="")
        report.outcomes.append(outcome)
        watch.on_outcome(outcome)

    submit()
    while held:
        if client.status not in ("running", "connecting"):
            raise BatchError(_gone(report, planned))
        stopping = stopping or watch.should_stop()
        if stopping and time.monotonic() - told > ASK_EVERY:  # again and again, for workers that come late
            with contextlib.suppress(OSError):  # the scheduler is gone, which is seen above
                client.run(_stop, token, on_error="ignore")
            if not at_hand():
                break  # nobody would take them up
            told = time.monotonic()
        finished = _soon(running)
        results = _gathered(finished, client)
        for future in finished:
            number, job, _ = held.pop(future)
            done = results[future] if future in results else _done(future, job, report, planned)
            future.release()
            if done is None:
                waiting.append((number, job))
            else:
                finish(job, done)
        if not stopping:
            submit()
    for future in held:
        future.cancel()
    report.left = len(waiting) + len(held)


_STOPPED: set[str] = set()  # in a worker: runs of which it begins no more jobs


def _stop(token: str) -> None:
    _STOPPED.add(token)


def _unless_stopped(task: Task, work: Callable[[Task], Done], token: str) -> Done | None:
    """None for a job that was not begun. Cancelling instead would lose count of those that just end or begin."""
    return None if token in _STOPPED else work(task)


def _soon(running: Any) -> list[Any]:
    """The finished futures, if any finish within a moment."""
    with running.thread_condition:
        if not running.has_ready():
            running.thread_condition.wait(0.2)
    return list(running.next_batch(block=False))


def _gathered(futures: list[Any], client: Any) -> dict[Any, Done | None]:
    """The results of those that succeeded, all in one go; none, where one of them cannot be had."""
    fine = [future for future in futures if future.status == "finished"]
    try:
        return dict(zip(fine, client.gather(fine), strict=True))
    except Exception:  # each is asked for by itself then, and says what ails it
        return {}


def _done(future: Any, job: Job, report: Report, planned: Run) -> Done | None:
    try:
        done: Done | None = future.result()
    except distributed.KilledWorker:
        return Done(dataclasses.replace(_failed(job, "every worker that tried it died; set aside"), state="lost"))
    except (distributed.CancelledError, distributed.comm.CommClosedError):
        raise BatchError(_gone(report, planned)) from None
    except Exception as error:  # a fault of ours must not stop the others
        return Done(_failed(job, f"{type(error).__name__}: {error}"))
    return done


def _gone(report: Report, planned: Run) -> str:
    return (
        f"the scheduler is gone; {len(report.outcomes)} of {len(planned.jobs)} jobs are done. Run the same command"
        " again: it goes on where this stopped"
    )


def _failed(job: Job, reason: str) -> Outcome:
    return Outcome(job.source, job.target, job.where, "failed", reason)


# --------------------------------------------------------------------------------------- one job


def key_of(data: bytes, settings: Settings, weights: Weights | None = None) -> str:
    """What a result depends on: the input's bytes, the settings, the version, the weights to begin with."""
    said = json.dumps([settings.to_json(), __version__], sort_keys=True)
    begun = hashlib.sha256(_packed(weights)).digest() if weights else b""
    return hashlib.sha256(hashlib.sha256(data).digest() + said.encode() + begun + _named_files(settings)).hexdigest()


def _named_files(settings: Settings) -> bytes:
    """The hashes of the files that settings name: masks, kernels, priors."""
    names = [settings.mask or "", settings.kernel]
    for name, spec in specs().items():
        if spec.areas:
            names += [area.file or "" for area in parse_areas(name, getattr(settings, name))]
    paths = [*(Path(name) for name in names if name), *map(located, names_in(settings.prior))]
    return b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths if path.is_file())


def restore_task(task: Task) -> Done:
    """What a worker does with a job; only faults of zssr itself are raised."""
    worker = _worker()
    outcome = dataclasses.replace(_failed(task.job, ""), worker=str(worker and worker.address), share=task.job.share)
    try:
        return _restored(task, worker, outcome)
    except (ZssrError, OSError) as error:
        return Done(dataclasses.replace(outcome, reason=str(error)))
    finally:
        _tell(worker, {"number": task.number, "over": True})


def _restored(task: Task, worker: Any, outcome: Outcome) -> Done:
    job, settings = task.job, task.job.settings
    begin = time.monotonic()
    data = _read(job) if task.data is None else task.data
    key = key_of(data, settings, task.weights)
    travels = task.transfer or is_remote(job.target)
    if not travels:
        kept = _kept(job, key, task.leads)
        if kept is not None and not task.force:
            return kept
    picture = load(data, settings.max_MB, settings.max_pixels)
    told = 0.0

    def on_step(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            _tell(worker, {"number": task.number, "source": job.source, **dataclasses.asdict(progress)})

    if settings.device == "auto" and torch.cuda.device_count() > 1 and worker is not None:
        place = int(worker.name) if str(worker.name).isdecimal() else os.getpid()
        settings = dataclasses.replace(settings, device=f"cuda:{place % torch.cuda.device_count()}")
    result = restore(picture, _for_one(settings), on_step=on_step, warm_start=task.weights)
    weights = result.weights if task.leads else None
    encoded, notes = result.encode(job.format)
    sidecar = result.sidecar_json(
        settings=job.settings.to_json(), key=key, sha256=hashlib.sha256(encoded).hexdigest(),
        weights=hashlib.sha256(_packed(weights)).hexdigest() if weights else None,
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
    _write(job, encoded, sidecar, weights)
    return Done(outcome, weights=weights)


def _for_one(settings: Settings) -> Settings:
    """Without what only says where the result goes."""
    return dataclasses.replace(settings, format=None, overwrite=False, base64=False)


def _read(job: Job) -> bytes:
    if is_remote(job.source):
        return read_remote(job.source, job.settings.max_MB)
    try:
        with Path(job.source).open("rb") as file:
            return file.read(int(job.settings.max_MB * 1e6) + 1)
    except OSError as error:
        raise PictureError(f"{job.source}: cannot be read ({error.strerror})") from None


def _write(job: Job, data: bytes, sidecar: bytes, weights: Weights | None) -> None:
    """The picture last: the sidecar holds its hash, so that a picture that is not of it counts as missing."""
    files = [(sidecar_of(job.target), sidecar), (job.target, data)]
    if weights:
        files.insert(0, (weights_of(job.target), _packed(weights)))
    if job.settings.base64:
        files.insert(0, (f"{job.target}.base64", base64.b64encode(data)))
    for path, content in files:
        if is_remote(path):
            write_remote(content, path)
        else:
            write(content, path, overwrite=True)


def _packed(weights: Weights) -> bytes:
    return safetensors.numpy.save(dict(weights))


def _kept(job: Job, key: str, leads: bool) -> Done | None:
    """The result, where it is there, made of the same input with the same settings; None where it is not.

    Raises OutputError for a file in its place that is of no batch run.
    """
    held: Any = None
    with contextlib.suppress(ZssrError, OSError, ValueError):
        held = json.loads(_bytes_of(sidecar_of(job.target)))
    if not isinstance(held, dict) or "key" not in held:
        for path in files_of(job):
            if (exists_remote(path) if is_remote(path) else Path(path).exists()) and not job.settings.overwrite:
                raise OutputError(f"{path}: exists and is not of a batch run; give another output, or overwrite")
        return None
    if held["key"] != key:
        return None
    weights: Weights | None
    try:
        if hashlib.sha256(_bytes_of(job.target)).hexdigest() != held.get("sha256"):
            return None
        weights = None
        if leads and held.get("weights"):
            packed = _bytes_of(weights_of(job.target))
            if hashlib.sha256(packed).hexdigest() != held["weights"]:
                return None
            weights = safetensors.numpy.load(packed)
    except (ZssrError, OSError, ValueError, safetensors.SafetensorError):
        return None
    outcome = dataclasses.replace(
        _failed(job, ""), state="kept", share=job.share, unknown=str(held.get("unknown", "")),
        agreement=held.get("agreement", {}).get("rms"), notes=tuple(held.get("notes", ())),
        size=tuple(held["output_size"]) if "output_size" in held else None,
    )  # fmt: skip
    return Done(outcome, weights=weights)


def finished(job: Job) -> bool:
    """Whether its result is there and would be kept. Of jobs that share weights, only the first one's can be told."""
    try:
        return _kept(job, key_of(_read(job), job.settings), leads=job.share is not None) is not None
    except ZssrError:
        return False  # the run will say why


def _bytes_of(path: str) -> bytes:
    return read_remote(path, None) if is_remote(path) else Path(path).read_bytes()


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


def _tell(worker: Any, event: dict[str, Any]) -> None:
    if worker is not None:
        worker.log_event(TOPIC, event)


# --------------------------------------------------------------------------------------- estimates


def estimate(job: Job) -> tuple[float, int]:
    """(cost, memory): pixels through the network, about, which is what a job takes beside others, and bytes at the
    peak. Cost is 0 for a picture that cannot be read."""
    size, out_size = _sizes(job)
    if out_size is None:
        return 0.0, BYTES_OF_RUNTIME
    assert size is not None
    return estimate_from_sizes(job.settings, size, out_size)


def _sizes(job: Job) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(height, width) of source and result, from the file's header alone."""
    if is_remote(job.source):
        return None, None
    try:
        with PIL.Image.open(job.source) as opened:
            size = (opened.height, opened.width)
        return size, job.settings.out_size(size)
    except (OSError, ZssrError, PIL.Image.DecompressionBombError):
        return None, None


def seconds_a_unit() -> float:
    """Seconds for a unit of cost (see `estimate`) on this machine: a moment of training, measured."""
    noise = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    for steps in (5, 30):  # the first run warms up
        report = restore(noise, Settings(num_epochs=steps, scale=2, ensemble=False)).reports[0]
    return report.seconds / (report.steps * pixels_of_a_step(96, 1))

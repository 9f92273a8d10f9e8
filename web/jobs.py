"""The jobs of the demo on a Dask cluster: given to workers, watched, stopped, kept."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import distributed

from web.config import Config
from web.protocol import TOPIC, WebResult, WebTask, stop_event_name
from web.store import Job, JobStore
from zssr.cluster import connected, workers_now
from zssr.errors import BatchError, ZssrError

WORKER_MODULE = "web.worker"  # by name, as it needs torch and the web process must not import that
SECONDS_TO_STOP = 1.0  # in which a worker has to heed a stop, before its process is started anew
ATTEMPTS = 3  # of a job at which the server died
MOST_POINTS = 200  # of a curve that is drawn
CHECK_EVERY = 0.25  # seconds between two looks for late jobs and workers that do not listen
SWEEP_EVERY = 5.0  # seconds between two looks for expired jobs and missing workers

log = logging.getLogger("zssr.web")


def call_in_worker(function: str, *arguments: Any) -> Any:
    """Runs in a worker's process: calls a function of the worker module."""
    return getattr(importlib.import_module(WORKER_MODULE), function)(*arguments)


@dataclass
class RunningJob:
    """What is known of a job that waits or runs, not kept on disk.

    version: grows with every change. attempt: tells this run's events from those of a run before. preview: how many
    previews there were. pictures: JPEG files by the name of their view.
    """

    version: int = 0
    attempt: int = 0
    future: Any = None
    worker: str | None = None
    begun: float | None = None
    progress: dict[str, Any] | None = None
    curve: list[list[float]] = field(default_factory=list)
    preview: int = 0
    pictures: dict[str, bytes] = field(default_factory=dict)

    def update(self, event: dict[str, Any]) -> None:
        """By what its worker sent; see web.worker.ProgressSender."""
        if event.get("begun"):
            self.worker, self.begun = event["worker"], time.monotonic()
            self.progress = {"fraction": 0.0, "stage": "look", "stage_name": "looking for damage"}
        if "input" in event:
            self.pictures["thumbnail"] = event["input"]
        if "progress" in event:
            self.progress = event["progress"]
        if event.get("point") is not None:
            self.curve.append(event["point"])
            if len(self.curve) > MOST_POINTS:
                del self.curve[1:-1:2]
        if "preview" in event:
            self.preview += 1
            self.pictures["preview"], self.pictures["preview-before"] = event["preview"], event["before"]
        self.version += 1


@dataclass
class Stopping:
    """A job that was told to stop. by: when its worker is started anew."""

    worker: str | None
    by: float


class JobManager:
    """Started by `start`, used from any thread, ended by `stop`.

    on_end: called with each job that is done or failed.
    """

    def __init__(self, config: Config, store: JobStore, on_end: Callable[[Job], None] = lambda job: None) -> None:
        self._config, self._store, self._on_end = config, store, on_end
        self._running: dict[str, RunningJob] = {}
        self._stopping: dict[tuple[str, int], Stopping] = {}  # by id and attempt
        self._changed = threading.Condition()  # also guards _running
        self._exit = contextlib.ExitStack()
        self._ended = threading.Event()
        self._order = itertools.count()
        self._client: Any = None

    def start(self) -> None:
        """Start or join the cluster, and go on with what was left. Raises BatchError."""
        config = self._config
        self._client = self._exit.enter_context(
            connected(config.scheduler, config.workers, config.threads, 1, WORKER_MODULE)
        )
        self._client.subscribe_topic(TOPIC, self._on_event)
        self._store.sweep()
        for job in self._store.unfinished():
            if job.attempts >= ATTEMPTS:
                self._fail(job, "the server died several times while it worked on it; choose a smaller scale")
            else:
                log.info("job=%s requeued after a restart", job.id)
                job = dataclasses.replace(job, state="queued", started=None)
                self._store.update(job)
                self.submit(job)
        threading.Thread(target=self._keep_house, name="zssr-web-jobs", daemon=True).start()

    def stop(self) -> None:
        """End the cluster; what waits or runs is taken up again by the next start."""
        self._ended.set()
        with self._changed:
            self._running.clear()
            self._changed.notify_all()
        for job in self._store.unfinished():
            if job.state == "running":  # stopped by us, which is not its fault
                self._store.update(dataclasses.replace(job, state="queued", attempts=job.attempts - 1))
        self._exit.close()

    @property
    def workers(self) -> int:
        """How many there are at the moment."""
        try:
            return len(workers_now(self._client))
        except BatchError:
            return 0

    def submit(self, job: Job) -> None:
        """Give a job of the store to a worker."""
        running = RunningJob(attempt=secrets.randbits(48))
        with self._changed:
            self._running[job.id] = running
        data = self._store.read(job.id, "input")
        if self._store.get(job.id) is None:
            with self._changed:
                self._running.pop(job.id, None)  # removed in the meantime
            return
        if data is None:
            self._fail(job, "its picture was lost in a crash of the server; send it again")
            return
        task = WebTask(
            job.id, running.attempt, data, job.details["settings"], self._config.max_seconds, self._config.max_MB,
            self._config.max_pixels, job.details["exif"] == "keep",
        )  # fmt: skip
        try:
            running.future = self._client.submit(
                call_in_worker, "restore_job", task, key=f"zssr-web-{job.id}-{running.attempt}", pure=False, retries=0,
                priority=-next(self._order),  # else Dask may exchange those that come within a moment
            )  # fmt: skip
        except Exception:  # no job may wait for ever
            log.exception("job=%s cannot be given to the cluster", job.id)
            self._fail(job, "the server cannot take it at the moment; try again later")
            return
        running.future.add_done_callback(lambda future: self._on_done(job.id, running.attempt, future))
        self._notify_all()

    def remove(self, id: str) -> None:
        """Stop a job, if it waits or runs, and forget it."""
        with self._changed:
            running = self._running.pop(id, None)
        self._store.remove(id)
        if running is not None:
            self._tell_to_stop(id, running)
        log.info("job=%s removed", id)
        self._notify_all()

    def running_job(self, id: str) -> RunningJob | None:
        """What is known of a job that waits or runs; None where it does neither."""
        with self._changed:
            return self._running.get(id)

    def wait_for_change(self, id: str, version: int, timeout: float) -> int:
        """Until there is news of a job after `version`; the version then. -1: it waits or runs no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._version(id) != version, timeout)
            return self._version(id)

    def _version(self, id: str) -> int:
        running = self._running.get(id)
        return -1 if running is None else running.version

    def _notify_all(self) -> None:
        """Every job may have another place in the queue now."""
        with self._changed:
            for running in self._running.values():
                running.version += 1
            self._changed.notify_all()

    def _tell_to_stop(self, id: str, running: RunningJob) -> None:
        distributed.Event(stop_event_name(id, running.attempt), client=self._client).set()
        if running.worker is not None:
            self._stopping[id, running.attempt] = Stopping(running.worker, time.monotonic() + SECONDS_TO_STOP)
        if running.future is not None:
            running.future.cancel()

    def _on_event(self, stamped: tuple[float, dict[str, Any]]) -> None:
        """What a worker sends of its progress; runs in the client's own thread, so it only notes."""
        event = stamped[1]
        id, attempt = event["id"], event["attempt"]
        with self._changed:
            running = self._running.get(id)
            if event.get("over"):
                self._stopping.pop((id, attempt), None)
                if running is not None and running.attempt == attempt:
                    running.worker = None  # it works for others now
                return
            if running is None or running.attempt != attempt:
                if event.get("begun"):  # stopped just before it began: it will ask soon
                    self._stopping[id, attempt] = Stopping(event["worker"], time.monotonic() + SECONDS_TO_STOP)
                return
            running.update(event)
            self._changed.notify_all()
        if event.get("begun"):
            threading.Thread(target=self._on_begin, args=(id,)).start()  # the disk may take its time

    def _on_begin(self, id: str) -> None:
        if self._store.begin(id, time.time()):
            log.info("job=%s begun", id)
            self._notify_all()

    def _on_done(self, id: str, attempt: int, future: Any) -> None:
        running = self.running_job(id)
        if running is None or running.attempt != attempt or self._ended.is_set():
            return  # removed, or the server is being stopped
        job = self._store.get(id)
        if job is None:
            with self._changed:
                self._running.pop(id, None)
            return
        try:
            result: WebResult = future.result()
        except ZssrError as error:
            self._fail(job, str(error))
        except distributed.KilledWorker:
            self._fail(job, "the process that worked on it died, probably for lack of memory; choose a smaller scale")
        except (distributed.CancelledError, distributed.comm.CommClosedError):
            if not self._ended.is_set():
                self._fail(job, "the cluster that worked on it was lost; try again")
        except MemoryError:
            self._fail(job, "the server's memory does not suffice for this picture; choose a smaller scale")
        except Exception:  # a fault of ours must not leave a job that never ends
            log.exception("job=%s failed", id)
            self._fail(job, "zssr failed on this picture; the server's operator finds more in the log")
        else:
            if result.cancelled:
                return
            try:
                for name, data in result.files.items():
                    self._store.write(id, name, data)
            except OSError as error:
                log.error("job=%s cannot be kept: %s", id, error)
                self._fail(job, "the server has no room for the result; try again later")
                return
            job.details["outcome"] = result.outcome
            self._end(job, "done")

    def _fail(self, job: Job, reason: str) -> None:
        job.details["error"] = reason
        self._end(job, "failed")

    def _end(self, job: Job, state: str) -> None:
        now = time.time()
        ended = dataclasses.replace(job, state=state, ended=now)
        self._store.update(ended)
        with self._changed:
            self._running.pop(job.id, None)
        self._notify_all()
        seconds = now - (job.started or now)
        log.info("job=%s %s seconds=%.1f total=%.1f", job.id, state, seconds, now - job.created)
        self._on_end(ended)

    # ------------------------------------------------------------------------------- housekeeping

    def _keep_house(self) -> None:
        swept = 0.0
        while not self._ended.wait(CHECK_EVERY):
            now = time.monotonic()
            duties: list[Callable[[float], object]] = [self._restart_unresponsive_workers, self._fail_overdue_jobs]
            if now - swept > SWEEP_EVERY:
                swept = now
                duties.append(self._delete_expired_jobs)
                if self._config.scheduler is None:  # asked for, workers of ours that are missing are started again
                    duties.append(lambda now: workers_now(self._client))
            for duty in duties:
                try:
                    duty(now)
                except Exception:  # whatever it is, the house has to be kept
                    if not self._ended.is_set():
                        log.exception("housekeeping")

    def _restart_unresponsive_workers(self, now: float) -> None:
        for key, stopping in list(self._stopping.items()):
            if now < stopping.by:
                continue
            self._stopping.pop(key, None)
            if self._config.scheduler is None and stopping.worker is not None:
                log.info("job=%s does not heed the stop; its worker is started anew", key[0])
                self._client.restart_workers([stopping.worker], raise_for_error=False)

    def _delete_expired_jobs(self, now: float) -> None:
        for job in self._store.ended_before(time.time() - self._config.lifetime_hours * 3600):
            log.info("job=%s expired", job.id)
            self._store.remove(job.id)

    def _fail_overdue_jobs(self, now: float) -> None:
        """Those whose worker did not notice itself that the time is over."""
        with self._changed:
            late = [
                (id, running) for id, running in self._running.items()
                if running.begun is not None and now - running.begun > self._config.max_seconds + 10
            ]  # fmt: skip
        for id, running in late:
            job = self._store.get(id)
            if job is not None:
                self._fail(job, f"stopped after {self._config.max_seconds:.0f} s, the longest that a job may take here")
            self._tell_to_stop(id, running)

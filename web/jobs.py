"""The jobs of the demo on a Dask cluster: given to workers, watched, stopped, kept."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
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
from web.table import Job, Table
from web.tasks import TOPIC, Done, Look, Task, run, stop_name
from zssr.cluster import connected, workers_now
from zssr.errors import BatchError, PictureError, ZssrError

LOOK_SECONDS = 60.0  # longest look at an upload
LOOKS_AT_ONCE = 3  # that one visitor may ask for
GRACE = 1.0  # seconds in which a worker has to heed a stop, before its process is started anew
ATTEMPTS = 3  # of a job at which the server died
MOST_POINTS = 200  # of a curve that is drawn
TICK = 0.25
SWEEP_EVERY = 5.0

log = logging.getLogger("zssr.web")


@dataclass
class Live:
    """What is known of a job at work, not kept. version: grows with every change. preview: how many there were."""

    version: int = 0
    attempt: int = 0
    future: Any = None
    worker: str | None = None
    begun: float | None = None
    progress: dict[str, Any] | None = None
    curve: list[list[float]] = field(default_factory=list)
    preview: int = 0
    pictures: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Stopping:
    """A job that was told to stop. by: when its worker is started anew."""

    worker: str | None
    by: float


class Engine:
    """Started by `start`, used from any thread, ended by `stop`."""

    def __init__(self, config: Config, table: Table, on_end: Callable[[Job], None] = lambda job: None) -> None:
        self._config, self._table, self._on_end = config, table, on_end
        self._live: dict[str, Live] = {}
        self._stopping: dict[tuple[str, int], Stopping] = {}
        self._changed = threading.Condition()
        self._exit = contextlib.ExitStack()
        self._askers: collections.Counter[str] = collections.Counter()
        self._one_look = threading.Lock()
        self._ended = threading.Event()
        self._order = itertools.count()
        self._client: Any = None
        self._looking: Any = None
        self.priors: dict[str, str] = {}

    def start(self) -> None:
        """Start or join the cluster, and go on with what was left. Raises BatchError."""
        config = self._config
        # Uploads are looked at in a process of their own, so that a look never waits behind a training, and a file that
        # crashes its decoder takes nothing else down.
        self._looking = self._exit.enter_context(connected(None, 1, 1, 0, "web.work"))
        self._client = self._exit.enter_context(
            connected(config.scheduler, config.workers, config.threads, 1, "web.work")
        )
        self._client.subscribe_topic(TOPIC, self._told)
        self.priors = self._looking.submit(run, "priors", pure=False).result(LOOK_SECONDS)
        self._table.sweep()
        for job in self._table.unfinished():
            if job.attempts >= ATTEMPTS:
                self._fail(job, "the server died several times while it worked on it; choose a smaller scale")
            else:
                log.info("job=%s requeued after a restart", job.id)
                job = dataclasses.replace(job, state="queued", started=None)
                self._table.change(job)
                self.submit(job)
        threading.Thread(target=self._tick, name="zssr-web-tick", daemon=True).start()

    def stop(self) -> None:
        """End the cluster; what waits or runs is taken up again by the next start."""
        self._ended.set()
        with self._changed:
            self._live.clear()
            self._changed.notify_all()
        for job in self._table.unfinished():
            if job.state == "running":  # stopped by us, which is not its fault
                self._table.change(dataclasses.replace(job, state="queued", attempts=job.attempts - 1))
        self._exit.close()

    @property
    def workers(self) -> int:
        """How many there are at the moment."""
        try:
            return len(workers_now(self._client))
        except BatchError:
            return 0

    # ------------------------------------------------------------------------------------ uploads

    def look(self, who: str, function: str, *arguments: Look | bytes | str) -> Any:
        """A function of web.work, at once, one after the other. who: asks. Raises the errors of zssr, and Busy."""
        with self._changed:
            asked = self._askers[who]
            if asked >= LOOKS_AT_ONCE or self._askers.total() >= self._config.max_looks:
                raise Busy("too many pictures are being looked at just now; try again in some seconds")
            self._askers[who] += 1
        try:
            with self._one_look:
                return self._look(function, *arguments)
        finally:
            with self._changed:
                self._askers[who] -= 1
                self._askers += collections.Counter()  # forget those with none

    def _look(self, function: str, *arguments: Look | bytes | str) -> Any:
        future = self._looking.submit(run, function, *arguments, pure=False, retries=0)
        try:
            return future.result(timeout=LOOK_SECONDS)
        except distributed.KilledWorker:
            raise PictureError("the picture: its decoder crashed; it is probably broken") from None
        except TimeoutError:
            self._looking.restart(wait_for_workers=False)
            raise PictureError("the picture: looking at it takes too long; try a smaller one") from None
        except distributed.CancelledError:
            raise Busy("the server was interrupted; try again") from None

    # --------------------------------------------------------------------------------------- jobs

    def submit(self, job: Job) -> None:
        """A job that is in the table."""
        live = Live(attempt=secrets.randbits(48))
        with self._changed:
            self._live[job.id] = live
        data = self._table.read(job.id, "input")
        if self._table.get(job.id) is None:
            with self._changed:
                self._live.pop(job.id, None)  # removed in the meantime
            return
        if data is None:
            self._fail(job, "its picture was lost in a crash of the server; send it again")
            return
        task = Task(
            job.id, live.attempt, data, job.held["settings"], self._config.max_seconds, self._config.max_MB,
            self._config.max_pixels, job.held["exif"] == "keep",
        )  # fmt: skip
        try:
            live.future = self._client.submit(
                run, "restore_job", task, key=f"zssr-web-{job.id}-{live.attempt}", pure=False, retries=0,
                priority=-next(self._order),  # else Dask may exchange those that come within a moment
            )  # fmt: skip
        except Exception:  # no job may wait for ever
            log.exception("job=%s cannot be given to the cluster", job.id)
            self._fail(job, "the server cannot take it at the moment; try again later")
            return
        live.future.add_done_callback(lambda future: self._done(job.id, live.attempt, future))
        self._touch()

    def remove(self, id: str) -> None:
        """Stop a job, if it waits or runs, and forget it."""
        with self._changed:
            live = self._live.pop(id, None)
        self._table.remove(id)
        if live is not None:
            self._halt(id, live)
        log.info("job=%s removed", id)
        self._touch()

    def live(self, id: str) -> Live | None:
        """Of a job that waits or runs."""
        with self._changed:
            return self._live.get(id)

    def wait(self, id: str, version: int, timeout: float) -> int:
        """Until there is news of a job after `version`; the version then. -1: it waits or runs no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._version(id) != version, timeout)
            return self._version(id)

    def _version(self, id: str) -> int:
        live = self._live.get(id)
        return -1 if live is None else live.version

    def _touch(self) -> None:
        """All wait for other places in the queue now."""
        with self._changed:
            for live in self._live.values():
                live.version += 1
            self._changed.notify_all()

    def _halt(self, id: str, live: Live) -> None:
        distributed.Event(stop_name(id, live.attempt), client=self._client).set()
        if live.worker is not None:
            self._stopping[id, live.attempt] = Stopping(live.worker, time.monotonic() + GRACE)
        if live.future is not None:
            live.future.cancel()

    def _told(self, stamped: tuple[float, dict[str, Any]]) -> None:
        """A word of a worker; runs in the client's own thread, so it only notes."""
        event = stamped[1]
        id, attempt = event["id"], event["attempt"]
        with self._changed:
            live = self._live.get(id)
            if event.get("over"):
                self._stopping.pop((id, attempt), None)
                if live is not None and live.attempt == attempt:
                    live.worker = None  # it works for others now
                return
            if live is None or live.attempt != attempt:
                if event.get("begun"):  # stopped just before it began: it will ask soon
                    self._stopping[id, attempt] = Stopping(event["worker"], time.monotonic() + GRACE)
                return
            if event.get("begun"):
                live.worker, live.begun = event["worker"], time.monotonic()
                live.progress = {"fraction": 0.0, "stage": "look", "stage_name": "looking for damage"}
            if "input" in event:
                live.pictures["thumbnail"] = event["input"]
            if "progress" in event:
                live.progress = event["progress"]
            if event.get("point") is not None:
                live.curve.append(event["point"])
                if len(live.curve) > MOST_POINTS:
                    del live.curve[1:-1:2]
            if "preview" in event:
                live.preview += 1
                live.pictures["preview"], live.pictures["preview-before"] = event["preview"], event["before"]
            live.version += 1
            self._changed.notify_all()
        if event.get("begun"):
            threading.Thread(target=self._begun, args=(id,)).start()  # the disk may take its time

    def _begun(self, id: str) -> None:
        if self._table.begin(id, time.time()):
            log.info("job=%s begun", id)
            self._touch()

    def _done(self, id: str, attempt: int, future: Any) -> None:
        live = self.live(id)
        if live is None or live.attempt != attempt or self._ended.is_set():
            return  # removed, or the server is being stopped
        job = self._table.get(id)
        if job is None:
            with self._changed:
                self._live.pop(id, None)
            return
        try:
            done: Done = future.result()
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
            if done.cancelled:
                return
            try:
                for name, data in done.files.items():
                    self._table.write(id, name, data)
            except OSError as error:
                log.error("job=%s cannot be kept: %s", id, error)
                self._fail(job, "the server has no room for the result; try again later")
                return
            job.held["outcome"] = done.held
            self._end(job, "done")

    def _fail(self, job: Job, reason: str) -> None:
        job.held["error"] = reason
        self._end(job, "failed")

    def _end(self, job: Job, state: str) -> None:
        now = time.time()
        ended = dataclasses.replace(job, state=state, ended=now)
        self._table.change(ended)
        with self._changed:
            self._live.pop(job.id, None)
        self._touch()
        seconds = now - (job.started or now)
        log.info("job=%s %s seconds=%.1f total=%.1f", job.id, state, seconds, now - job.created)
        self._on_end(ended)

    # ------------------------------------------------------------------------------- housekeeping

    def _tick(self) -> None:
        swept = 0.0
        while not self._ended.wait(TICK):
            now = time.monotonic()
            duties: list[Callable[[float], object]] = [self._restart_the_deaf, self._end_the_late]
            if now - swept > SWEEP_EVERY:
                swept = now
                # Asked for, workers of ours that are missing are started again.
                duties += [self._remove_the_old, lambda now: workers_now(self._looking)]
                duties += [lambda now: workers_now(self._client)] if self._config.scheduler is None else []
            for duty in duties:
                try:
                    duty(now)
                except Exception:  # whatever it is, the house has to be kept
                    if not self._ended.is_set():
                        log.exception("housekeeping")

    def _restart_the_deaf(self, now: float) -> None:
        for key, stopping in list(self._stopping.items()):
            if now < stopping.by:
                continue
            self._stopping.pop(key, None)
            if self._config.scheduler is None and stopping.worker is not None:
                log.info("job=%s does not heed the stop; its worker is started anew", key[0])
                self._client.restart_workers([stopping.worker], raise_for_error=False)

    def _remove_the_old(self, now: float) -> None:
        for job in self._table.ended_before(time.time() - self._config.lifetime_hours * 3600):
            log.info("job=%s expired", job.id)
            self._table.remove(job.id)

    def _end_the_late(self, now: float) -> None:
        """Those whose worker did not notice itself that the time is over."""
        with self._changed:
            late = [
                (id, live) for id, live in self._live.items()
                if live.begun is not None and now - live.begun > self._config.max_seconds + 10
            ]  # fmt: skip
        for id, live in late:
            job = self._table.get(id)
            if job is not None:
                self._fail(job, f"stopped after {self._config.max_seconds:.0f} s, the longest that a job may take here")
            self._halt(id, live)


class Busy(ZssrError):  # noqa: N818 - not an error of anyone
    """Too much to do at the moment."""

"""The engine of batch runs: which job goes to the cluster when, and what becomes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

import distributed
import psutil
import torch

from zssr.batch.estimates import estimate
from zssr.batch.kept import kept_result, key_of, read_source, write_result
from zssr.batch.records import TOPIC, BatchReport, Done, Task, Watch, failed
from zssr.batch.work import restore_task
from zssr.cluster import connected, cores, workers_now
from zssr.errors import BatchError, ZssrError
from zssr.jobs import Job, Run, make_run
from zssr.targets import is_remote
from zssr.weights import Weights

ASK_EVERY = 1.0  # seconds between two looks at how many workers there are
AHEAD = 16  # jobs that wait at the cluster beside those that run, so that no worker waits for the next
LOOKED_AT = 1000  # waiting jobs, at most, for the next that can start
MOST_THUMBNAILS = 500  # that are kept; more would fill memory, and no page shows them


def run(
    config: Run | dict[str, Any],
    client: distributed.Client | None = None,
    *,
    force: bool = False,
    watch: Watch | None = None,
    work: Callable[[Task], Done] | None = None,
) -> BatchReport:
    """Restore all pictures of a config (see jobs.make_run), on a client's cluster or one that is started for it.

    force: make finished results again. work: what a worker does with a task; for tests.
    Raises SettingsError for mistakes in the config before anything starts, BatchError when the cluster is gone.
    """
    planned = config if isinstance(config, Run) else make_run(config)
    watch = watch or Watch()
    begin = time.monotonic()
    if client is not None:
        report = Engine(planned, client, force, watch, work or restore_task).run()
    else:
        with connected(planned.scheduler, workers_of(planned), planned.threads, planned.retries, "zssr.batch") as own:
            report = Engine(planned, own, force, watch, work or restore_task).run()
    report.seconds = time.monotonic() - begin
    return report


def workers_of(planned: Run) -> int:
    """Processes to start on this machine: no more than cores, which would only be shared, nor than jobs."""
    return min(planned.workers or torch.cuda.device_count() or cores(), cores(), len(planned.jobs))


class Engine:
    """One run on a client's cluster.

    Of jobs that share weights the first is trained in full, before all others, as these wait for its weights. The
    largest start first, so that the run does not end with one long straggler.
    """

    def __init__(
        self, planned: Run, client: Any, force: bool, watch: Watch, work: Callable[[Task], Done]
    ) -> None:  # fmt: skip
        self.planned, self.client, self.force, self.watch, self.work = planned, client, force, watch, work
        self.report = BatchReport()
        self.token = os.urandom(4).hex()
        self.first_of: dict[str, int] = {}  # of those that share weights: the number of the job that trains first
        for number, job in enumerate(planned.jobs):
            if job.share is not None:
                self.first_of.setdefault(job.share, number)
        self.estimates = [estimate(job) for job in planned.jobs]
        first = set(self.first_of.values())
        # Taken from the end.
        self.waiting = sorted(
            enumerate(planned.jobs), key=lambda pair: (pair[0] in first, self.estimates[pair[0]][0], -pair[0])
        )
        self.weights: dict[str, Weights | None] = {}
        self.submitted: dict[Any, tuple[int, Job]] = {}  # by future
        self.running = distributed.as_completed()
        self.sent = 0  # tasks so far
        self.slots, self.asked = 1, 0.0  # jobs that the cluster runs at once, and when it was asked
        # Where workers name no limit: of this machine.
        self.memory_here = self.memory_free = psutil.virtual_memory().available

    def run(self) -> BatchReport:
        """To the end, or until the watch asks to stop. Raises BatchError when the cluster is gone."""
        dashboard = (
            (self.client.dashboard_link or "") if importlib.util.find_spec("bokeh") else ""
        )  # it draws the pages
        self.watch.on_start(len(self.planned.jobs), dashboard)
        self.client.subscribe_topic(TOPIC, lambda event: self.watch.on_progress(event[1]))
        stopping, last_stop = False, 0.0
        self._submit()
        while self.submitted:
            if self.client.status not in ("running", "connecting"):
                raise self._gone()
            stopping = stopping or self.watch.should_stop()
            if stopping and time.monotonic() - last_stop > ASK_EVERY:  # again and again, for workers that come late
                with contextlib.suppress(OSError):  # the scheduler is gone, which is seen above
                    self.client.run(_stop, self.token, on_error="ignore")
                if not self._workers():
                    break  # nobody would take them up
                last_stop = time.monotonic()
            self._collect()
            if not stopping:
                self._submit()
        for future in self.submitted:
            future.cancel()
        self.report.left = len(self.waiting) + len(self.submitted)
        return self.report

    def _submit(self) -> None:
        """Send as many jobs as the cluster has slots and memory for, and some ahead."""
        self._look_at_workers()
        if len(self.submitted) > self.slots + AHEAD // 2:
            return  # several together cost the scheduler little more than one
        tasks: list[Task] = []
        memories = [self.estimates[number][1] for number, _ in self.submitted.values()]
        while len(memories) < self.slots + AHEAD and (next_job := self._next_job()) is not None:
            number, job = next_job
            needed = self.estimates[number][1]
            if memories and sum(sorted([needed, *memories])[-self.slots :]) > self.memory_free:
                self.waiting.append(next_job)
                break
            task = self._task(number, job)
            if task is not None:
                tasks.append(task)
                memories.append(needed)
        if tasks:
            self._send(tasks)

    def _look_at_workers(self) -> None:
        """They come and go."""
        if time.monotonic() - self.asked <= ASK_EVERY:
            return
        workers = self._workers()
        self.slots = sum(worker["nthreads"] for worker in workers) or 1
        limits = [worker["memory_limit"] for worker in workers]
        self.memory_free = sum(limits) if limits and all(limits) else self.memory_here
        self.asked = time.monotonic()

    def _workers(self) -> list[dict[str, Any]]:
        try:
            return workers_now(self.client)
        except BatchError:
            raise self._gone() from None

    def _next_job(self) -> tuple[int, Job] | None:
        """The next that does not wait for another's weights."""
        for position in range(len(self.waiting) - 1, max(-1, len(self.waiting) - 1 - LOOKED_AT), -1):
            number, job = self.waiting[position]
            if job.share is None or self.first_of[job.share] == number or job.share in self.weights:
                return self.waiting.pop(position)
        return None

    def _task(self, number: int, job: Job) -> Task | None:
        """For a worker; None where the job is finished already, or failed: pictures that travel are read here."""
        own = self.weights.get(job.share) if job.share is not None else None
        trains_first = job.share is not None and self.first_of[job.share] == number
        data = None
        if self.planned.transfer or is_remote(job.source) or is_remote(job.target):
            try:
                data = read_source(job)
                kept = kept_result(job, key_of(data, job.settings, own), trains_first)
            except ZssrError as error:
                self._finish(job, Done(failed(job, str(error))))
                return None
            if kept is not None and not self.force:
                self._finish(job, kept)
                return None
        return Task(number, job, data, self.planned.transfer, self.force, own, trains_first)

    def _send(self, tasks: list[Task]) -> None:
        # Dask takes those that are sent together in the order of their keys.
        keys = [f"zssr-{self.token}-{self.sent + place:09}" for place in range(len(tasks))]
        self.sent += len(tasks)
        futures = self.client.map(
            _unless_stopped, tasks, key=keys, pure=False, retries=0, work=self.work, token=self.token
        )
        for future, task in zip(futures, tasks, strict=True):
            self.submitted[future] = task.number, task.job
        self.running.update(futures)

    def _collect(self) -> None:
        """What is finished, if anything finishes within a moment."""
        finished = _soon(self.running)
        results = _gathered(finished, self.client)
        for future in finished:
            number, job = self.submitted.pop(future)
            done = results[future] if future in results else self._outcome_of(future, job)
            future.release()
            if done is None:
                self.waiting.append((number, job))
            else:
                self._finish(job, done)

    def _finish(self, job: Job, done: Done) -> None:
        outcome = done.outcome
        if done.data is not None and outcome.state == "made":
            try:
                write_result(job, done.data, done.sidecar or b"", done.weights)
            except ZssrError as error:
                outcome = failed(job, str(error))
        if job.share is not None and self.planned.jobs[self.first_of[job.share]] is job:
            self.weights[job.share] = done.weights
        if len(self.report.outcomes) >= MOST_THUMBNAILS:
            outcome = dataclasses.replace(outcome, before="", after="")
        self.report.outcomes.append(outcome)
        self.watch.on_outcome(outcome)

    def _outcome_of(self, future: Any, job: Job) -> Done | None:
        """Of a future that did not simply succeed."""
        try:
            done: Done | None = future.result()
        except distributed.KilledWorker:
            return Done(dataclasses.replace(failed(job, "every worker that tried it died; set aside"), state="lost"))
        except (distributed.CancelledError, distributed.comm.CommClosedError):
            raise self._gone() from None
        except Exception as error:  # a fault of ours must not stop the others
            return Done(failed(job, f"{type(error).__name__}: {error}"))
        return done

    def _gone(self) -> BatchError:
        return BatchError(
            f"the scheduler is gone; {len(self.report.outcomes)} of {len(self.planned.jobs)} jobs are done. Run the"
            " same command again: it goes on where this stopped"
        )


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

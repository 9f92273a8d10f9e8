"""What travels in a batch run, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zssr.jobs import Job
from zssr.weights import Weights

TOPIC = "zssr"  # of the words that workers send


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

    data: the source's bytes, where they travel. weights: to start from. trains_first: whether others start from its
    own.
    """

    number: int
    job: Job
    data: bytes | None = None
    transfer: bool = False
    force: bool = False
    weights: Weights | None = None
    trains_first: bool = False


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
class BatchReport:
    """The end of a run. left: jobs that were not begun because the caller asked to stop."""

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    left: int = 0

    def count(self, state: str) -> int:
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def complete(self) -> bool:
        return not self.left and not self.count("failed") and not self.count("lost")


def failed(job: Job, reason: str) -> Outcome:
    """Of a job that failed by its own fault."""
    return Outcome(job.source, job.target, job.where, "failed", reason)

"""zssr batch: many pictures with many settings, to the end."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zssr.cli.exits import BAD_USAGE, DONE, INTERRUPTED, SOME_FAILED, Interrupted
from zssr.cli.flags import Parser
from zssr.cli.progress import BatchBars
from zssr.errors import SettingsError

if TYPE_CHECKING:
    from zssr.jobs import Run


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "zssr batch",
        "zssr batch config.json [options]",
        "Restore many pictures with many settings, on the cores or GPUs of this machine or on a Dask cluster. What is\n"
        "finished is left alone, so the same command goes on where it was stopped. Control-C once finishes what is\n"
        "running, twice stops.",
    )
    parser.add_argument("config", metavar="FILE", help="defaults and jobs, as JSON")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="overrules the file: quality=fast, or jobs[0].scale=3; may be repeated",
    )  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask scheduler, as tcp://host:8786")
    parser.add_argument("--force", action="store_true", help="make finished results again")
    parser.add_argument("--dry-run", action="store_true", help="print the jobs and about how long they take")
    parser.add_argument("-q", "--quiet", action="store_true", help="lines without progress bars, for logs")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Make or plan all jobs of a config file."""
    options = _parser().parse_args(arguments)
    from zssr.jobs import read_config

    changes = [*options.changes, *([f"scheduler={json.dumps(options.scheduler)}"] if options.scheduler else [])]
    try:
        planned = read_config(Path(options.config), tuple(changes))
    except SettingsError as error:
        mistakes = str(error).splitlines()
        if len(mistakes) == 1:
            raise
        print(f"zssr: error: {options.config}: {len(mistakes)} mistakes, nothing was started", file=sys.stderr)
        for mistake in mistakes:
            print(f"  {mistake}", file=sys.stderr)
        return BAD_USAGE
    for line in planned.skipped:
        print(line, file=sys.stderr)
    if options.dry_run:
        return _print_plan(planned, options.force)
    return _run(planned, options.force, options.quiet)


def _run(planned: Run, force: bool, quiet: bool) -> int:
    from zssr.batch import Watch, run, workers_of
    from zssr.batch.report import check_report, write_report

    check_report(planned.report)
    if planned.scheduler is None:
        count = workers_of(planned)
        fewer = f" ({planned.workers} asked; more than jobs or cores help nobody)" * (count < (planned.workers or 0))
        print(f"{len(planned.jobs)} jobs; starting {count} workers{fewer} ...", file=sys.stderr, flush=True)
    stop = _Stop()
    with BatchBars(quiet) as bars, _handled(signal.SIGINT, stop):
        watch = Watch(bars.start, bars.progress, bars.outcome, lambda: stop.asked > 0)
        report = run(planned, force=force, watch=watch)
    paths = write_report(report, planned.report)
    failed = report.count("failed") + report.count("lost")
    print(
        f"{report.count('made')} made, {report.count('kept')} finished before, {failed} failed"
        f"{f', {report.left} not begun' if report.left else ''}, {report.seconds:.0f} s; see {paths[1].absolute()}"
    )
    return INTERRUPTED if report.left else DONE if report.complete else SOME_FAILED


class _Stop:
    """Handles Control-C: the first asks to finish what is running, the second stops."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, number: int, frame: object) -> None:
        self.asked += 1
        if self.asked > 1:
            raise Interrupted
        print("\nfinishing what is running; again to stop now", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _handled(number: int, handler: Any) -> Iterator[None]:
    """A signal's handler for a while; in another thread than the main one, the caller's stays."""
    try:
        before = signal.signal(number, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)


def _print_plan(planned: Run, force: bool) -> int:
    from zssr.batch import estimate, finished, seconds_a_unit

    rate = seconds_a_unit()
    total, done = 0.0, 0
    for job in planned.jobs:
        if not force and finished(job):
            done += 1
            print(f"{job.where}: {job.source} -> {job.target}  finished before")
            continue
        seconds = estimate(job)[0] * rate
        total += seconds
        print(f"{job.where}: {job.source} -> {job.target}  about {_duration(seconds)}")
    print(
        f"{len(planned.jobs)} jobs, {done} finished before, the others about {_duration(total)} on one worker of this"
        " machine"
    )
    return DONE


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

"""What a person sees while work goes on: lines, notes and bars."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from zssr.batch import Outcome
    from zssr.progress import Progress


T = TypeVar("T")


def _width() -> int:
    """Of a bar, in characters."""
    return min(100, shutil.get_terminal_size().columns - 1)


class Shell:
    """What a person sees while pictures are made: lines on `out`, notes and bars on standard error."""

    def __init__(self, quiet: bool, verbose: bool, out: Any) -> None:
        self.quiet, self.verbose, self._out = quiet, verbose, out
        self.shows_bars = not quiet and sys.stderr.isatty()
        self._all: Any = None  # the bar over all pictures

    def say(self, line: str) -> None:
        if not self.quiet:
            with self.beside_bars():
                print(line, file=self._out, flush=True)

    def note(self, line: str) -> None:
        if not self.quiet:
            with self.beside_bars():
                print(line, file=sys.stderr, flush=True)

    def beside_bars(self) -> contextlib.AbstractContextManager[Any]:
        """Within it, lines can be printed; the bars move down."""
        return contextlib.nullcontext() if self._all is None else self._all.external_write_mode()

    def one_by_one(self, things: Sequence[T]) -> Iterator[T]:
        """Each in turn, under a bar that counts them where they are several."""
        if len(things) < 2 or not self.shows_bars:
            yield from things
            return
        from tqdm import tqdm

        with tqdm(total=len(things), unit="picture", leave=False, ncols=_width()) as self._all:
            try:
                for thing in things:
                    yield thing
                    self._all.update()
            finally:
                self._all = None

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Say that something is happening that takes a second or more."""
        if not self.shows_bars or self._all is not None:
            yield
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        print(text, end="\r", file=sys.stderr, flush=True)
        try:
            yield
        finally:
            print(" " * len(text), end="\r", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def bars(self, name: str) -> Iterator[Any]:
        """A callback for restore that draws a bar for each stage, gone when all is done."""
        if not self.shows_bars:
            yield None
            return
        from tqdm import tqdm

        bar: Any = None
        current = -1

        def show(progress: Progress) -> None:
            nonlocal bar, current
            if progress.stage_number != current:
                if bar is not None:
                    bar.close()
                current = progress.stage_number
                stage = "learning" if progress.stage == "train" else "applying"
                bar = tqdm(
                    total=1.0, desc=f"{Path(name).name[:30]} {current + 1}/{progress.stages} {stage}", leave=False,
                    ncols=_width(),
                    bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed}, {remaining} left{postfix}",
                )  # fmt: skip
            if progress.stage == "train":
                bar.set_postfix_str(f"error {progress.error:.2f}, rate {progress.lr:.1e}", refresh=False)
            bar.update(progress.fraction - bar.n)

        try:
            yield show
        finally:
            if bar is not None:
                bar.close()

    @contextlib.contextmanager
    def steps(self, name: str, total: int) -> Iterator[Any]:
        """A callback (steps done, loss) that draws one bar."""
        if not self.shows_bars:
            yield None
            return
        from tqdm import tqdm

        with tqdm(total=total, desc=name, leave=False, ncols=_width()) as bar:

            def show(done: int, loss: float) -> None:
                bar.set_postfix_str(f"loss {loss:.5f}", refresh=False)
                bar.update(done - bar.n)

            yield show


class BatchBars:
    """One bar over all jobs, and a line for each that is running."""

    LINES = 16

    def __init__(self, quiet: bool) -> None:
        self.shows_bars = not quiet and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._all: Any = None
        self._running: dict[int, Any] = {}

    def __enter__(self) -> BatchBars:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            for bar in [*self._running.values(), self._all]:
                if bar is not None:
                    bar.close()
            self.shows_bars = False

    def start(self, jobs: int, dashboard: str) -> None:
        if dashboard:
            print(f"dashboard of the cluster: {dashboard}", file=sys.stderr, flush=True)
        if self.shows_bars:
            from tqdm import tqdm

            self._all = tqdm(total=jobs, unit="picture", position=0, ncols=_width())

    def progress(self, event: dict[str, Any]) -> None:
        """A worker's word; comes on another thread."""
        with self._lock:
            if not self.shows_bars or self._all is None:
                return
            if event.get("over"):
                bar = self._running.pop(event["number"], None)
                if bar is not None:
                    bar.close()
                return
            bar = self._running.get(event["number"])
            if bar is None:
                bar = self._begun(event["number"])
            if bar is None:  # more are running than there are lines
                return
            stage = f"{event['stage_number'] + 1}/{event['stages']} {event['stage']}"
            bar.set_description_str(f"{Path(event['source']).name[:28]} {stage}", refresh=False)
            if event["stage"] == "train":
                bar.set_postfix_str(f"error {event['error']:.2f}, rate {event['lr']:.1e}", refresh=False)
            bar.n = event["fraction"]
            bar.refresh()

    def _begun(self, number: int) -> Any:
        """A bar for a picture that is new; None where all lines are taken."""
        free = set(range(1, self.LINES + 1)) - {-bar.pos for bar in self._running.values()}
        if not free:
            return None
        from tqdm import tqdm

        self._running[number] = tqdm(
            total=1.0, position=min(free), leave=False, ncols=_width(),
            bar_format="  {desc} {percentage:3.0f}%|{bar:16}|{postfix}",
        )  # fmt: skip
        return self._running[number]

    def outcome(self, outcome: Outcome) -> None:
        line = f"{outcome.source} -> {outcome.target}  "
        line += f"{outcome.seconds:.1f} s" if outcome.state == "made" else outcome.state
        line += f": {outcome.reason}" if outcome.reason else ""
        line = line.encode(errors="backslashreplace").decode()  # names of files may hold anything
        with self._lock:
            if self._all is None:
                print(line, file=sys.stderr if outcome.reason else sys.stdout, flush=True)
                return
            if outcome.reason:
                self._all.write(line, file=sys.stderr)
            self._all.update(1)

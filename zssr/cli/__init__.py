"""The command line: flags, help, progress, exit codes. All printing of the package is here.

torch is imported only once there is work to do, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import json
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zssr import settings as all_settings
from zssr.errors import OutputError, PriorError, SettingsError, ZssrError, did_you_mean
from zssr.formats import FORMAT_OF_SUFFIX, LARGEST_SIDE, WRITABLE
from zssr.settings import Settings
from zssr.targets import Found, find, label
from zssr.version import __version__

if TYPE_CHECKING:
    from zssr.batch import Outcome
    from zssr.evaluate import Table
    from zssr.jobs import Run
    from zssr.progress import Progress
    from zssr.result import Result

DONE, SOME_FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = "Repair and enlarge pictures by learning from each picture alone."
EPILOG = """\
examples:
  zssr photo.jpg                               repairs what is found, makes photo_repaired.png beside it
  zssr photo.jpg --scale 4                     repairs and enlarges, makes photo_x4.png
  zssr photo.png --mosaic 120,80,64,64:8       a pixelated part, its corner, size and cells
  zssr photo.png --mask holes.png              fills what is white in the mask
  zssr scans/ -o large/ --quality best         a folder, its tree kept
  zssr photo.png --size 1920x --budget 30      to a width, in about 30 seconds
  zssr photo.png --kernel blur.mat             made smaller with a known kernel
other commands (zssr COMMAND -h explains):
  zssr batch config.json                       many pictures, many settings, to the end
  zssr diagnose photo.jpg                      what happened to a picture, and how sure that is
  zssr evaluate DIR --damage jpeg:10+scale:2   damage, restore and score pictures
  zssr pretrain FAMILY --data DIR --out FILE   train a network on a folder of pictures
  zssr pack DIR --out DIR                      pictures for pretrain that do not fit in memory
  zssr priors                                  networks trained on other pictures, for --prior
  zssr schema                                  JSON Schema of config files
exit code: 0 all done, 1 some failed, 2 bad usage or settings, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    started = time.monotonic()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(ValueError):  # not in the main thread: the caller handles its own signals
        signal.signal(signal.SIGTERM, _terminated)
        signal.signal(signal.SIGINT, _interrupted)
    try:
        if arguments[:1] == ["batch"]:
            return _batch(arguments[1:])
        if arguments[:1] == ["evaluate"]:
            return _evaluate(arguments[1:])
        if arguments[:1] == ["diagnose"]:
            return _diagnose(arguments[1:])
        if arguments[:1] == ["pretrain"]:
            return _pretrain(arguments[1:])
        if arguments[:1] == ["pack"]:
            return _pack(arguments[1:])
        if arguments[:1] == ["priors"]:
            return _priors(arguments[1:])
        if arguments[:1] == ["schema"]:
            return _schema(arguments[1:])
        return _restore(arguments, started)
    except SettingsError as error:
        return _complain(error, BAD_USAGE)
    except BrokenPipeError:
        # The reader of our output is gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except (ZssrError, OSError) as error:
        return _complain(error, SOME_FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted; nothing half-written is left", INTERRUPTED)


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)  # unlike the default, this runs the clean-up on the way out


class _Interrupted(KeyboardInterrupt):
    """Python kills itself at exit once a KeyboardInterrupt proper went through an exec, caught later or not; importing
    torch holds many."""


def _interrupted(number: int, frame: object) -> NoReturn:
    raise _Interrupted


def _complain(message: object, code: int) -> int:
    print(f"zssr: error: {message}", file=sys.stderr)
    return code


# ---------------------------------------------------------------------------------------- flags


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, with the nearest flag, instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        wrong = message.removeprefix("unrecognized arguments: ").split()[0]
        if message.startswith("unrecognized arguments") and wrong.startswith("-"):
            flags = [flag for action in self._actions for flag in action.option_strings]
            message = f"unknown flag {wrong}{did_you_mean(wrong.split('=')[0], flags, '')}"
        self.exit(BAD_USAGE, f"{self.prog}: error: {message} ({self.prog} -h lists all)\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = min(110, shutil.get_terminal_size().columns - 1)
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=width)


_NUMBERS = {"int": int, "float": float}


def _number(kind: str) -> Any:
    def parse(text: str) -> int | float:
        try:
            return _NUMBERS[kind](text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not {'a whole number' if kind == 'int' else 'a number'}"
            ) from None

    return parse


def _amount(text: str) -> str | float:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither auto nor a number") from None


def _add_settings(parser: argparse.ArgumentParser, leave_out: set[str]) -> None:
    groups: dict[str, Any] = {}
    for name, spec in all_settings.specs().items():
        if not spec.flags or name in leave_out:
            continue
        if spec.group not in groups:
            groups[spec.group] = parser.add_argument_group(spec.group)
        options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": spec.help.replace("%", "%%")}
        if spec.kind == "bool":
            options["action"] = "store_false" if all_settings.switches_off(spec) else "store_true"
        else:
            if spec.kind in _NUMBERS:
                options["type"] = _number(spec.kind)
            if spec.kind == "amount":
                options["type"] = _amount
            options["metavar"] = spec.metavar
            if spec.choices:
                options["metavar"] = "|".join(spec.choices) if len(spec.choices) < 4 else "NAME"
                if len(spec.choices) >= 4:
                    options["help"] += f" ({', '.join(spec.choices)})"
        groups[spec.group].add_argument(*spec.flags, **options)
        if spec.kind == "bool":  # the opposite, to overrule a config file
            off = all_settings.switches_off(spec)
            opposite = spec.flags[0].replace("--no-", "--") if off else spec.flags[0].replace("--", "--no-")
            action = "store_true" if off else "store_false"
            parser.add_argument(opposite, dest=name, action=action, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _restore_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "zssr", "zssr INPUT [INPUT ...] [options]", DESCRIPTION, EPILOG, formatter_class=_formatter, allow_abbrev=False
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="file, folder, pattern, or - for standard input")
    _add_settings(parser, set())
    parser.add_argument("--config", metavar="FILE", help="settings from JSON; flags win")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the plan of every picture too")
    parser.add_argument("--version", action="version", version=f"zssr {__version__}")
    return parser


def _settings_of(options: argparse.Namespace, extra: dict[str, Any] | None = None) -> Settings:
    """From the config file, then the flags."""
    keywords = dict(extra or {})
    if getattr(options, "config", None):
        keywords.update(all_settings.from_file(options.config))
    given = {name: value for name, value in vars(options).items() if name in all_settings.specs()}
    # A flag replaces all that the file says on the same question.
    for same in ({"scale", "size", "scale_factor", "scale_times"}, {"overwrite", "skip_existing"}):
        if same & set(given):
            keywords = {name: value for name, value in keywords.items() if name not in same}
    return all_settings.make(**{**keywords, **given})


# ------------------------------------------------------------------------------------- restoring


def _restore(arguments: Sequence[str], started: float) -> int:
    options = _restore_parser().parse_args(arguments)
    settings = _settings_of(options)
    inputs = options.inputs or ([settings.image] if isinstance(settings.image, str) else list(settings.image or []))
    if not inputs:
        raise SettingsError("no input: give a picture, a folder, or - for standard input (zssr -h explains)")
    jobs, failures = find(inputs)
    for problem in failures:
        _complain(problem, SOME_FAILED)
    to_stdout = settings.output == "-" or (settings.output is None and inputs == ["-"])
    if to_stdout and len(jobs) > 1:
        raise SettingsError("-o -: standard output takes one picture only")
    if to_stdout and not options.dry_run and sys.stdout.isatty():
        raise SettingsError("the picture would be printed to the terminal: give -o FILE or redirect the output")
    if to_stdout and (settings.sidecar or settings.base64):
        raise SettingsError("sidecar and base64 need an output file: give -o FILE")
    several = len(inputs) > 1 or len(jobs) > 1 or any(Path(name).is_dir() for name in inputs)
    _check_output(settings, several, to_stdout)
    jobs = _without_own_outputs(jobs, settings, several)
    shell = _Shell(options.quiet, options.verbose, sys.stderr if to_stdout else sys.stdout)
    targets: dict[Path, str] = {}
    done = 0
    if jobs:
        with shell.waiting("loading ..."):
            from zssr.damages.downscale import read_kernel
            from zssr.priors import load_priors
            from zssr.restoration import restore  # noqa: F401
        read_kernel(settings.kernel)
        try:
            load_priors(settings.prior)  # once for all pictures
        except PriorError as error:
            raise SettingsError(str(error)) from None
    for job in jobs:
        name = str(job.path or "standard input")
        try:
            done += _one(job, settings, several, to_stdout, options.dry_run, shell, targets, started)
        except (ZssrError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            message = str(error) if name in str(error) else f"{name}: {error}"
            if len(jobs) == 1 and not failures:
                return _complain(message, BAD_USAGE if isinstance(error, SettingsError) else SOME_FAILED)
            _complain(message, SOME_FAILED)
            failures.append(message)
        started = time.monotonic()
    if failures:
        if len(jobs) + len(failures) > 1:
            print(f"zssr: {done} done, {len(failures)} failed:", file=sys.stderr)
            for failure in failures:
                print(f"  {failure}", file=sys.stderr)
        return SOME_FAILED
    return DONE


def _check_output(settings: Settings, several: bool, to_stdout: bool) -> None:
    if (
        settings.output is None
        or to_stdout
        or settings.output.endswith(("/", os.sep))
        or Path(settings.output).is_dir()
    ):
        return
    if several:
        if Path(settings.output).suffix.lower() in FORMAT_OF_SUFFIX or Path(settings.output).exists():
            raise SettingsError(f"-o {settings.output}: several pictures need a folder, and this names a file")
        return
    suffix = Path(settings.output).suffix.lower()
    if not suffix and settings.format is None:
        return
    if suffix and suffix not in FORMAT_OF_SUFFIX:
        raise SettingsError(
            f"-o {settings.output}: zssr does not write {suffix} files; end the name in"
            f" {', '.join(sorted(FORMAT_OF_SUFFIX))}, or in / for a folder"
        )
    if suffix and settings.format not in (None, "same", FORMAT_OF_SUFFIX[suffix]):
        raise SettingsError(f"-o {settings.output}: its name says {suffix[1:]} and --format says {settings.format}")


def _target(
    job: Found, settings: Settings, several: bool, picture_format: str, out_size: tuple[int, int]
) -> tuple[Path, str]:
    """Where a job's result goes, and in which format."""
    output = settings.output
    folder = output is not None and (several or output.endswith(("/", os.sep)) or Path(output).is_dir())
    if output is not None and not folder:
        by_name = FORMAT_OF_SUFFIX.get(Path(output).suffix.lower())
        format = by_name or (picture_format if settings.format == "same" else settings.format) or "png"
        return Path(output) if by_name else Path(output + WRITABLE[format]), format
    format = picture_format if settings.format == "same" else settings.format or "png"
    name = f"{job.below.stem}_{label(settings, out_size)}{WRITABLE[format]}"
    if output is not None:
        return Path(output) / job.below.parent / name, format
    return (job.path.parent if job.path else Path()) / name, format


def _without_own_outputs(jobs: list[Found], settings: Settings, several: bool) -> list[Found]:
    """Without files, found in folders, that an earlier run made of the other inputs."""
    if not several or settings.size is not None:
        return jobs

    def bare(path: Path) -> Path:
        return path.with_name(path.stem).absolute()

    outputs = {bare(_target(job, settings, several, "png", (0, 0))[0]) for job in jobs}
    return [job for job in jobs if job.named or job.path is None or bare(job.path) not in outputs]


def _one(
    job: Found,
    settings: Settings,
    several: bool,
    to_stdout: bool,
    dry_run: bool,
    shell: _Shell,
    targets: dict[Path, str],
    started: float,
) -> int:
    """Restore one picture; 1 if it was made or planned, 0 if it was left alone."""
    from zssr.files import load, write
    from zssr.plan import make_plan
    from zssr.restoration import restore

    source: Path | bytes = job.path or sys.stdin.buffer.read(int(settings.max_MB * 1e6) + 1)
    picture = load(source, settings.max_MB, settings.max_pixels)
    name = str(job.path or "standard input")
    out_size = settings.out_size(picture.size)
    target, format = _target(job, settings, several, picture.format, out_size)
    if not to_stdout:
        extras = [target.with_suffix(".json")] * settings.sidecar + [target.with_suffix(".base64")] * settings.base64
        for path in [target, *extras]:
            before = targets.setdefault(path.absolute(), name)
            if before != name:
                raise OutputError(
                    f"{name}: {path} is the output of {before} too; use --format same or different folders"
                )
        if target.exists() and settings.skip_existing:
            shell.say(f"{name}: {target} exists, left alone")
            return 0
        for path in [target, *extras]:
            if path.exists() and not settings.overwrite and not dry_run:
                raise OutputError(f"{path}: exists already; use --overwrite or --skip-existing")
        if not dry_run:
            _check_writable(target, format, picture, out_size)
    with shell.waiting(f"{name}: looking for damage ..."):
        plan = make_plan(picture, settings)
    if dry_run:
        print(f"{name} -> {'standard output' if to_stdout else target} ({format})\n{plan.describe()}")
        return 1
    if shell.verbose:
        shell.note(plan.describe())
    with shell.bars(name) as on_step:
        result = restore(picture, settings, on_step=on_step, budget_from=started, plan=plan)
    data, notes = result.encode(format)
    if to_stdout:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write(data, target, settings.overwrite)
        if settings.sidecar:
            write(result.sidecar_json(), target.with_suffix(".json"), settings.overwrite)
        if settings.base64:
            write(base64.b64encode(data), target.with_suffix(".base64"), settings.overwrite)
    for note in [*result.notes, *notes]:
        shell.note(f"{name}: {note}")
    shell.say(f"{name} -> {'standard output' if to_stdout else target}  {_summary(result)}")
    return 1


def _check_writable(target: Path, format: str, picture: Any, out_size: tuple[int, int]) -> None:
    """Refuse now what could not be written after minutes of work."""
    if max(out_size) > LARGEST_SIDE[format]:
        raise OutputError(
            f"{target}: {format} holds at most {LARGEST_SIDE[format]} pixels a side and the result has"
            f" {out_size[1]}x{out_size[0]}; use another --format"
        )
    folder = target.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{target}: {folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{target}: the folder {folder} cannot be written to")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder")
    planes = len(picture.pixels) + (picture.alpha is not None)
    needed = out_size[0] * out_size[1] * planes * (1 if picture.peak == 255 else 2)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{target}: needs up to {needed / 1e6:.0f} MB of disk, {free / 1e6:.0f} MB are free in {folder}"
        )


def _summary(result: Result) -> str:
    height, width = result.image.size
    kept = not result.plan.undoes
    how = "" if result.learned else ", unchanged" if kept else ", first estimate only"
    return f"{width}x{height}{how}, {result.seconds:.1f} s, {result.words}"


# -------------------------------------------------------------------------------------- printing


class _Shell:
    """What a person sees while pictures are made: lines on `out`, notes and bars on standard error."""

    def __init__(self, quiet: bool, verbose: bool, out: Any) -> None:
        self.quiet, self.verbose, self._out = quiet, verbose, out
        self.shows_bars = not quiet and sys.stderr.isatty()

    def say(self, line: str) -> None:
        if not self.quiet:
            print(line, file=self._out, flush=True)

    def note(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Say that something is happening that takes a second or more."""
        if not self.shows_bars:
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
                    ncols=min(100, shutil.get_terminal_size().columns - 1),
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

        with tqdm(total=total, desc=name, leave=False, ncols=min(100, shutil.get_terminal_size().columns - 1)) as bar:

            def show(done: int, loss: float) -> None:
                bar.set_postfix_str(f"loss {loss:.5f}", refresh=False)
                bar.update(done - bar.n)

            yield show


# ---------------------------------------------------------------------------------- other commands


def _diagnose(arguments: Sequence[str]) -> int:
    parser = _Parser(
        "zssr diagnose", "zssr diagnose INPUT [INPUT ...] [--json]",
        "Say what happened to a picture: compression, noise, mosaics, blurred parts, scratches; and how sure that is.\n"
        "Scratches are only guessed at; zssr repairs them when --scratches asks for it.",
        formatter_class=_formatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder or pattern")
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help="one JSON object for each picture, a line each"
    )
    options = parser.parse_args(arguments)
    jobs, failures = find(options.inputs)
    for problem in failures:
        _complain(problem, SOME_FAILED)
    from zssr.damages.rules import without_echoes
    from zssr.diagnose import describe, diagnose
    from zssr.files import load

    for job in jobs:
        name = str(job.path or "standard input")
        try:
            picture = load(job.path or sys.stdin.buffer.read())
        except ZssrError as error:
            failures.append(str(error))
            _complain(error, SOME_FAILED)
            continue
        findings = without_echoes(diagnose(picture))
        height, width = picture.size
        if options.as_json:
            found = [finding.to_json() for finding in findings]
            print(json.dumps({"picture": name, "size": [width, height], "findings": found}), flush=True)
            continue
        print(f"{name}: {width}x{height}, {'grey' if len(picture.pixels) == 1 else 'colour'}")
        print("\n".join(f"  {line}" for line in describe(findings).split("\n")), flush=True)
    return SOME_FAILED if failures else DONE


def _batch(arguments: Sequence[str]) -> int:
    parser = _Parser(
        "zssr batch", "zssr batch config.json [options]",
        "Restore many pictures with many settings, on the cores or GPUs of this machine or on a Dask cluster. What is\n"
        "finished is left alone, so the same command goes on where it was stopped. Control-C once finishes what is\n"
        "running, twice stops.",
        formatter_class=_formatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("config", metavar="FILE", help="defaults and jobs, as JSON")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="overrules the file: quality=fast, or jobs[0].scale=3; may be repeated",
    )  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask scheduler, as tcp://host:8786")
    parser.add_argument("--force", action="store_true", help="make finished results again")
    parser.add_argument("--dry-run", action="store_true", help="print the jobs and about how long they take")
    parser.add_argument("-q", "--quiet", action="store_true", help="lines without progress bars, for logs")
    options = parser.parse_args(arguments)
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
    if options.dry_run:
        return _batch_plan(planned, options.force)
    from zssr.batch import Watch, run, workers_of
    from zssr.report import check_report, write_report

    check_report(planned.report)
    if planned.scheduler is None:
        count = workers_of(planned)
        fewer = f" ({planned.workers} asked; more than jobs or cores help nobody)" * (count < (planned.workers or 0))
        print(f"{len(planned.jobs)} jobs; starting {count} workers{fewer} ...", file=sys.stderr, flush=True)
    stops = 0

    def stop(number: int, frame: object) -> None:
        nonlocal stops
        stops += 1
        if stops > 1:
            raise _Interrupted
        print("\nfinishing what is running; again to stop now", file=sys.stderr, flush=True)

    with _BatchBars(options.quiet) as bars, _handled(signal.SIGINT, stop):
        watch = Watch(bars.start, bars.progress, bars.outcome, lambda: stops > 0)
        report = run(planned, force=options.force, watch=watch)
    paths = write_report(report, planned.report)
    failed = report.count("failed") + report.count("lost")
    print(
        f"{report.count('made')} made, {report.count('kept')} finished before, {failed} failed"
        f"{f', {report.left} not begun' if report.left else ''}, {report.seconds:.0f} s; see {paths[1].absolute()}"
    )
    return INTERRUPTED if report.left else DONE if report.complete else SOME_FAILED


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


def _batch_plan(planned: Run, force: bool) -> int:
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


class _BatchBars:
    """One bar over all jobs, and a line for each that is running."""

    LINES = 16

    def __init__(self, quiet: bool) -> None:
        self.shows_bars = not quiet and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._all: Any = None
        self._running: dict[int, Any] = {}

    def __enter__(self) -> _BatchBars:
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

            self._all = tqdm(
                total=jobs, unit="picture", position=0, ncols=min(100, shutil.get_terminal_size().columns - 1)
            )

    def progress(self, event: dict[str, Any]) -> None:
        """A worker's word; comes on another thread."""
        with self._lock:
            if not self.shows_bars or self._all is None:
                return
            number = event["number"]
            if event.get("over"):
                bar = self._running.pop(number, None)
                if bar is not None:
                    bar.close()
                return
            bar = self._running.get(number)
            if bar is None:
                free = set(range(1, self.LINES + 1)) - {-b.pos for b in self._running.values()}
                if not free:
                    return
                from tqdm import tqdm

                bar = self._running[number] = tqdm(
                    total=1.0, position=min(free), leave=False,
                    ncols=min(100, shutil.get_terminal_size().columns - 1),
                    bar_format="  {desc} {percentage:3.0f}%|{bar:16}|{postfix}",
                )  # fmt: skip
            stage = f"{event['stage_number'] + 1}/{event['stages']} {event['stage']}"
            bar.set_description_str(f"{Path(event['source']).name[:28]} {stage}", refresh=False)
            if event["stage"] == "train":
                bar.set_postfix_str(f"error {event['error']:.2f}, rate {event['lr']:.1e}", refresh=False)
            bar.n = event["fraction"]
            bar.refresh()

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


def _pretrain(arguments: Sequence[str]) -> int:
    parser = _Parser(
        "zssr pretrain", "zssr pretrain FAMILY --data DIR --out FILE.safetensors [options]",
        "Train a network for --prior on a folder of undamaged pictures, or of shards. What it was trained with, and\n"
        "how well it does on pictures kept apart, is written into the file. Stopped, it goes on from its checkpoint.",
        formatter_class=_formatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("family", metavar="FAMILY", help="srcnn, carcnn, resnet-car, blockcnn, jpegnet, unet or meta")
    parser.add_argument("--data", metavar="DIR", required=True, help="folder of undamaged pictures")
    parser.add_argument("--out", metavar="FILE", required=True, help="weights; FILE.csv beside it: validation curve")
    whole, real = _number("int"), _number("float")
    parser.add_argument("--steps", type=whole, metavar="N", help="training steps; this and the next five: the family's")
    parser.add_argument("--batch", type=whole, metavar="N", help="crops in a step")
    parser.add_argument("--crop", type=whole, metavar="N", help="side of a crop, a multiple of 8 (unet 64, meta 24)")
    parser.add_argument("--lr", type=real, metavar="R", help="largest learning rate")
    parser.add_argument("--loss", metavar="KIND", help="l1, l2, relative-l1 or relative-l2 (to the first estimate's)")
    parser.add_argument("--qualities", metavar="LOW,HIGH", help="JPEG qualities to train for")
    parser.add_argument(
        "--factors", metavar="LIST", help="of meta: factors to train for, 1 for JPEG; default 1,2,3,4; others stay"
    )
    parser.add_argument("--seed", type=whole, metavar="N", help="of weights and crops")
    parser.add_argument("--start", metavar="NAME|FILE", help="weights of the family to begin with")
    parser.add_argument("--workers", type=whole, default=1, metavar="N", help="processes that make crops; default 1")
    parser.add_argument("--save-every", type=whole, default=500, metavar="N", help="steps between checkpoints")
    parser.add_argument("--licence", default="unknown", metavar="TEXT", help="of the pictures, for the card")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"], help="number format")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    from zssr.priors import located
    from zssr.priors.pretrain import check_out, pretrain
    from zssr.priors.recipes import recipe_for

    recipe = recipe_for(
        options.family, steps=options.steps, batch=options.batch, crop=options.crop, lr=options.lr, loss=options.loss,
        qualities=options.qualities, factors=options.factors, seed=options.seed,
    )  # fmt: skip
    start = None if options.start is None else located(options.start)
    check_out(Path(options.out))
    checkpoint = Path(options.out).with_suffix(".checkpoint")
    shell = _Shell(options.quiet, False, sys.stdout)
    if checkpoint.exists():
        shell.say(f"going on from {checkpoint}")
    try:
        with shell.steps(options.family, recipe.steps) as on_step:
            card = pretrain(
                options.family, Path(options.data), Path(options.out), recipe, workers=options.workers,
                device=options.device, precision=options.precision, save_every=options.save_every,
                licence=options.licence, start=start, overwrite=options.overwrite, on_step=on_step,
            )  # fmt: skip
    except KeyboardInterrupt:
        kept = f"; the same command goes on from {checkpoint}" if checkpoint.exists() else ", before a checkpoint"
        return _complain(f"interrupted{kept}", INTERRUPTED)
    if not options.quiet:
        before, after = card.validation["before"], card.validation["after"]
        print(f"{options.out}: {before:.2f} -> {after:.2f} dB on pictures kept apart, {card.seconds} s")
    return DONE


def _pack(arguments: Sequence[str]) -> int:
    parser = _Parser(
        "zssr pack", "zssr pack DIR --out DIR [--shard-MB N]",
        "Decode a folder of pictures into shards, which zssr pretrain reads piece by piece where they lie: for\n"
        "folders that do not fit in memory.",
        formatter_class=_formatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("folder", metavar="DIR", help="folder of pictures")
    parser.add_argument("--out", metavar="DIR", required=True, help="new folder for the shards")
    parser.add_argument("--shard-MB", type=_number("float"), default=512, metavar="N", help="size; default 512")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    from tqdm import tqdm

    from zssr.priors.pictures import pack

    with tqdm(unit="picture", disable=options.quiet or not sys.stderr.isatty()) as bar:

        def on_picture(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        shards = pack(Path(options.folder), Path(options.out), options.shard_MB, on_picture)
    if not options.quiet:
        print(f"{options.out}: {shards} shard{'s' * (shards > 1)}")
    return DONE


def _priors(arguments: Sequence[str]) -> int:
    parser = _Parser(
        "zssr priors", "zssr priors [FILE ...]",
        "List the networks that come with zssr, or those in files: what they are for, their parameters and licence,\n"
        "and of zssr's own PSNR before and after on pictures that they were not trained on.",
        formatter_class=_formatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("files", nargs="*", metavar="FILE", help="weights: .safetensors, .pth, .ckpt")
    options = parser.parse_args(arguments)
    from zssr.priors import load_prior, shipped
    from zssr.priors.estimators import Own

    names = options.files or list(shipped())
    if not names:
        print("none come with this version; zssr pretrain makes them")
    for name in names:
        prior = load_prior(name)
        print(f"{prior.name}: {prior.task}")
        kind = prior.card.family if isinstance(prior, Own) else "not of zssr"
        whose = "licence of its pictures" if isinstance(prior, Own) else "licence"
        print(f"  {kind}, {prior.parameters} parameters, SHA-256 {prior.sha256[:16]}, {whose}: {prior.licence}")
        if isinstance(prior, Own):
            card = prior.card
            count = len(card.pictures["training"])
            steps = " + ".join(map(str, reversed(card.stages)))
            print(
                f"  {card.validation['before']:.2f} -> {card.validation['after']:.2f} dB on pictures kept apart,"
                f" after {steps} steps on {count} pictures"
            )
    return DONE


def _schema(arguments: Sequence[str]) -> int:
    parser = _Parser("zssr schema", description="Print the JSON Schema of config files.")
    parser.add_argument("--table", action="store_true", help="print the settings as a Markdown table instead")
    options = parser.parse_args(arguments)
    from zssr.jobs import json_schema

    print(all_settings.markdown_table() if options.table else json.dumps(json_schema(), indent=1), end="")
    if not options.table:
        print()
    return DONE


def _evaluate(arguments: Sequence[str]) -> int:
    parser = _Parser(
        "zssr evaluate",
        "zssr evaluate DIR --scale S [options]\n       zssr evaluate --results DIR --truth DIR --scale S",
        "Downscale each picture of a folder, restore it, and score the result against the picture; or score the\n"
        "results of any tool. PSNR and SSIM on luma: 8-bit rounding, BT.601 16 to 235, border of S pixels cut.",
        formatter_class=_formatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder of undamaged pictures")
    parser.add_argument(
        "--damage", metavar="KIND:AMOUNT",
        help="instead of --scale: jpeg:10, jpeg:10+scale:2, mosaic:8 or blurred:15 (a square of 128), noise:25,"
        " blur:2.0, missing:FILE or missing:5 (per cent of random scratches), joined by +",
    )  # fmt: skip
    parser.add_argument(
        "--separately", action="store_true", help="undo the smaller size after the rest, not all together"
    )
    parser.add_argument(
        "--part", choices=("training", "held-out"),
        help="only the pictures that the --prior was trained on, or those kept apart",
    )  # fmt: skip
    parser.add_argument(
        "--longest", type=_number("int"), metavar="N", help="make pictures smaller first, to a longest side of N"
    )
    parser.add_argument("--results", metavar="DIR", help="score these results instead of making them")
    parser.add_argument("--truth", metavar="DIR", help="folder with the truth for --results, matched by name and size")
    parser.add_argument("--json", metavar="FILE", dest="json_file", help="write the figures as JSON too")
    parser.add_argument("--save", metavar="DIR", help="keep the results, named as the pictures")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    _add_settings(
        parser,
        {"output", "format", "jpeg_quality", "skip_existing", "sidecar", "base64", "strip", "size"},
    )
    options = parser.parse_args(arguments)
    if bool(options.results) != bool(options.truth) or bool(options.folder) == bool(options.results):
        raise SettingsError("evaluate: give either a folder of pictures, or --results and --truth")
    settings = _settings_of(options)
    if options.json_file and Path(options.json_file).exists() and not settings.overwrite:
        raise OutputError(f"{options.json_file}: exists already; use --overwrite")
    if options.damage and (settings.scale is not None or options.results):
        raise SettingsError("evaluate: --damage makes the damage itself; give the factor as --damage ...+scale:2")
    from zssr.evaluate import Score, TestDamage, evaluate, score_results

    damage = None if options.damage is None else TestDamage.parse(options.damage)
    shell = _Shell(options.quiet, False, sys.stdout)
    heading = [Score.heading("bicubic" if damage is None else damage.compared_with)]

    def show(score: Score) -> None:
        while heading:  # once, when all that can be refused has been
            print(heading.pop())
        print(score.row(), flush=True)

    tables = {}
    together = bool(options.results) or os.path.isfile(settings.prior)
    priors = [settings.prior] if together else settings.prior.split(",")
    if options.longest is not None and options.longest < 16:
        raise SettingsError(f"evaluate: --longest {options.longest} must be at least 16")
    if not options.results:
        from zssr.priors import load_priors

        # All of them before hours of work.
        parameters = {prior: sum(one.parameters for one in load_priors(prior).used()) for prior in priors}
    only = None if options.part is None else _part_of(options.part, priors)
    if len(priors) > 1 and options.save is not None:
        raise SettingsError("evaluate: --save needs one --prior, as the results would have the same names")
    for prior in priors:
        if options.results:
            table = score_results(Path(options.results), Path(options.truth), settings, show)
        else:
            save = None if options.save is None else Path(options.save)
            chosen = dataclasses.replace(settings, prior=prior)
            if len(priors) > 1:
                shell.say(f"prior {prior}")
            table = evaluate(
                Path(options.folder), chosen, show, shell.bars, save, damage, options.separately, only, options.longest
            )
        print(table.mean().row())
        print(f"peak memory {table.peak_megabytes:.0f} MB, {table.protocol}")
        if prior != "none" and not options.results:
            of = f"of {len(table.scores)} pictures"
            print("priors used: " + (", ".join(f"{name} on {n} {of}" for name, n in table.used.items()) or "none"))
        tables[prior] = table
    if len(tables) > 1:
        _compare_priors(tables, parameters)
    if options.json_file:
        from zssr.files import write

        data = {prior: table.to_json() for prior, table in tables.items()} if len(tables) > 1 else table.to_json()
        write((json.dumps(data, indent=1) + "\n").encode(), options.json_file, settings.overwrite)
    return DONE


def _part_of(part: str, priors: Sequence[str]) -> frozenset[str]:
    """The names of the pictures that all of these were trained on, or that were kept apart from all."""
    from zssr.priors import load_priors
    from zssr.priors.estimators import Own

    parts = ("training",) if part == "training" else ("validation", "test")
    found = []
    for prior in (one for names in priors for one in load_priors(names).used()):
        if isinstance(prior, Own):
            found.append(frozenset(Path(name).name for part in parts for name in prior.card.pictures[part]))
    if not found:
        raise SettingsError(f"evaluate: --part {part} needs a --prior whose card names its pictures")
    return frozenset.intersection(*found)


def _compare_priors(tables: dict[str, Table], parameters: dict[str, int]) -> None:
    print(f"\n{'prior':24}{'parameters':>12}{'PSNR':>9}{'gain':>7}{'SSIM':>9}{'PSNR-B':>9}{'CPU s':>9}")
    for name, table in tables.items():
        mean = table.mean()
        blocks = f"{mean.psnr_b:.2f}" if math.isfinite(mean.psnr_b) else "-"
        print(
            f"{Path(name).name[:23]:24}{parameters[name]:12}{mean.psnr:9.2f}{mean.psnr - mean.before_psnr:+7.2f}"
            f"{mean.ssim:9.4f}{blocks:>9}{mean.cpu_seconds:9.1f}"
        )

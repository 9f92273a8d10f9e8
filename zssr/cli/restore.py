"""zssr without a command's name: repair and enlarge pictures."""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.exits import BAD_USAGE, DONE, SOME_FAILED, complain
from zssr.cli.flags import Parser, add_settings, settings_of
from zssr.cli.progress import Shell
from zssr.errors import OutputError, PriorError, SettingsError, ZssrError
from zssr.formats import FORMAT_OF_SUFFIX, LARGEST_SIDE, WRITABLE
from zssr.settings import AUTO, Settings
from zssr.targets import Found, find, label, stems
from zssr.version import __version__

if TYPE_CHECKING:
    from zssr.image import Image
    from zssr.result import Result

DESCRIPTION = "Repair and enlarge pictures by learning from each picture alone."
EPILOG = """\
examples:
  zssr photo.jpg                               repairs what is found, makes photo_repaired.png beside it
  zssr photo.jpg --scale 4                     repairs and enlarges, makes photo_x4.png
  zssr photo.png --mosaic 120,80,64,64:8       a pixelated part, its corner, size and cells
  zssr photo.png --mask holes.png              fills what is white in the mask
  zssr scans/ -o large/ --quality best         a folder, its tree kept
  zssr photo.png --size 1920x --budget 30      to a width, in about 30 seconds
  zssr photo.png --scale 2 --kernel blur.mat   made smaller with a known kernel
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


def parser() -> argparse.ArgumentParser:
    """Of the command line that names no command."""
    parser = Parser("zssr", "zssr INPUT [INPUT ...] [options]", DESCRIPTION, EPILOG)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="file, folder, pattern, or - for standard input")
    add_settings(parser)
    parser.add_argument("--config", metavar="FILE", help="settings from JSON; flags win")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the plan of every picture too")
    parser.add_argument("--version", action="version", version=f"zssr {__version__}")
    return parser


@dataclass(frozen=True)
class _Order:
    """What all pictures of one command share.

    several: results have names of their own, in folders. stems: what those are called by. outputs: taken so far, and
    the picture whose each is.
    """

    settings: Settings
    several: bool
    to_stdout: bool
    dry_run: bool
    shell: Shell
    stems: dict[Found, str]
    outputs: dict[Path, str] = field(default_factory=dict)


def run(arguments: Sequence[str], started: float) -> int:
    """Restore all inputs, or print the plans. started: when, in seconds of time.monotonic, for the first's budget."""
    options = parser().parse_args(arguments)
    settings = settings_of(options)
    inputs = options.inputs or ([settings.image] if isinstance(settings.image, str) else list(settings.image or []))
    if not inputs:
        raise SettingsError("no input: give a picture, a folder, or - for standard input (zssr -h explains)")
    jobs, failures, skipped = find(inputs)
    for problem in failures:
        complain(problem, SOME_FAILED)
    order = _order(options, settings, inputs, jobs)
    if skipped:
        order.shell.note(skipped)
    jobs = _without_own_outputs(jobs, order)
    if len(jobs) > 1:
        order.shell.note(f"{len(jobs)} pictures")
    if jobs:
        _prepare(order)
    done = 0
    for job in order.shell.one_by_one(jobs):
        try:
            done += _restore(job, order, started)
        except (ZssrError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            message = str(error) if _name(job) in str(error) else f"{_name(job)}: {error}"
            if len(jobs) == 1 and not failures:
                return complain(message, BAD_USAGE if isinstance(error, SettingsError) else SOME_FAILED)
            with order.shell.beside_bars():
                complain(message, SOME_FAILED)
            failures.append(message)
        started = time.monotonic()
    if failures and len(jobs) + len(failures) > 1:
        print(f"zssr: {done} {'planned' if options.dry_run else 'done'}, {len(failures)} failed:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure}", file=sys.stderr)
    return SOME_FAILED if failures else DONE


def _order(options: argparse.Namespace, settings: Settings, inputs: Sequence[str], jobs: Sequence[Found]) -> _Order:
    """Raises SettingsError for results that cannot go where they are to."""
    to_stdout = settings.output == "-" or (settings.output is None and inputs == ["-"])
    if to_stdout and len(jobs) > 1:
        raise SettingsError("-o -: standard output takes one picture only")
    if to_stdout and not options.dry_run and sys.stdout.isatty():
        raise SettingsError("the picture would be printed to the terminal: give -o FILE or redirect the output")
    if to_stdout and (settings.sidecar or settings.base64):
        raise SettingsError("sidecar and base64 need an output file: give -o FILE")
    several = len(inputs) > 1 or len(jobs) > 1 or any(Path(name).is_dir() for name in inputs)
    if not to_stdout:
        _check_output(settings, several)
    shell = Shell(options.quiet, options.verbose, sys.stderr if to_stdout else sys.stdout)
    beside = settings.output is None
    names = stems([job.path if beside and job.path else job.below for job in jobs])
    return _Order(settings, several, to_stdout, options.dry_run, shell, dict(zip(jobs, names, strict=True)))


def _prepare(order: _Order) -> None:
    """Load what takes seconds, and what all pictures need. Raises SettingsError where kernel or prior are none."""
    from zssr.files import apart

    apart.start()
    with order.shell.waiting("loading ..."):
        from zssr.damages.downscale import read_kernel
        from zssr.priors import load_priors, named_priors
        from zssr.restoration import restore  # noqa: F401
    read_kernel(order.settings.kernel)
    try:
        # Once for all pictures; what joins is seen where each is planned.
        (named_priors if order.settings.prior == AUTO else load_priors)(order.settings.prior)
    except PriorError as error:
        raise SettingsError(str(error)) from None


def _restore(job: Found, order: _Order, started: float) -> int:
    """Restore one picture; 1 if it was made or planned, 0 if it was left alone."""
    from zssr.files import load
    from zssr.plan import make_plan
    from zssr.restoration import restore

    settings, shell, name = order.settings, order.shell, _name(job)
    source = job.path or sys.stdin.buffer.read(int(settings.max_MB * 1e6) + 1)
    picture = load(source, settings.max_MB, settings.max_pixels, settings.partial)
    out_size = settings.out_size(picture.size)
    target, format = _target(job, order.stems[job], order, picture.format, out_size)
    if not order.to_stdout:
        if not _claim(target, name, order):
            shell.say(f"{name}: {target} exists, left alone")
            return 0
        if not order.dry_run:
            _check_writable(target, format, picture, out_size)
    with shell.waiting(f"{name}: looking for damage ..."):
        plan = make_plan(picture, settings)
    where = "standard output" if order.to_stdout else str(target)
    if order.dry_run:
        with shell.beside_bars():
            print(f"{name} -> {where} ({format})\n{plan.describe()}")
        return 1
    if shell.verbose:
        shell.note(plan.describe())
    with shell.bars(name) as on_step:
        result = restore(picture, settings, on_step=on_step, budget_from=started, plan=plan)
    data, notes = result.encode(format)
    if order.to_stdout:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _write(result, data, target, settings)
    for note in [*result.notes, *notes]:
        shell.note(f"{name}: {note}")
    shell.say(f"{name} -> {where}  {_summary(result)}")
    return 1


def _name(job: Found) -> str:
    return str(job.path or "standard input")


def _summary(result: Result) -> str:
    height, width = result.image.size
    kept = not result.plan.undoes
    how = "" if result.learned else ", unchanged" if kept else ", first estimate only"
    return f"{width}x{height}{how}, {result.seconds:.1f} s, {result.words}"


# ----------------------------------------------------------------------------------- where results go


def _check_output(settings: Settings, several: bool) -> None:
    """Raises SettingsError for an --output that cannot be meant."""
    output = settings.output
    if output is None or output.endswith(("/", os.sep)) or Path(output).is_dir():
        return
    suffix = Path(output).suffix.lower()
    if several:
        if suffix in FORMAT_OF_SUFFIX or Path(output).exists():
            raise SettingsError(f"-o {output}: several pictures need a folder, and this names a file")
        return
    if suffix and suffix not in FORMAT_OF_SUFFIX:
        raise SettingsError(
            f"-o {output}: zssr does not write {suffix} files; end the name in"
            f" {', '.join(sorted(FORMAT_OF_SUFFIX))}, or in / for a folder"
        )
    if suffix and settings.format not in (None, "same", FORMAT_OF_SUFFIX[suffix]):
        raise SettingsError(f"-o {output}: its name says {suffix[1:]} and --format says {settings.format}")


def _target(job: Found, stem: str, order: _Order, picture_format: str, out_size: tuple[int, int]) -> tuple[Path, str]:
    """Where a job's result goes, and in which format."""
    settings, output = order.settings, order.settings.output
    folder = output is not None and (order.several or output.endswith(("/", os.sep)) or Path(output).is_dir())
    if output is not None and not folder:
        by_name = FORMAT_OF_SUFFIX.get(Path(output).suffix.lower())
        format = by_name or (picture_format if settings.format == "same" else settings.format) or "png"
        return Path(output) if by_name else Path(output + WRITABLE[format]), format
    format = picture_format if settings.format == "same" else settings.format or "png"
    name = f"{stem}_{label(settings, out_size)}{WRITABLE[format]}"
    if output is not None:
        return Path(output) / job.below.parent / name, format
    return (job.path.parent if job.path else Path()) / name, format


def _without_own_outputs(jobs: list[Found], order: _Order) -> list[Found]:
    """Without files, found in folders, that an earlier run made of the other inputs."""
    if not order.several or order.settings.size is not None:
        return jobs

    def bare(path: Path) -> Path:
        return path.with_name(path.stem).absolute()

    outputs = {
        bare(_target(job, stem, order, "png", (0, 0))[0])
        for job in jobs
        for stem in (job.below.stem, f"{job.below.stem}_{job.below.suffix[1:]}")  # whichever it was called by then
    }
    return [job for job in jobs if job.named or job.path is None or bare(job.path) not in outputs]


def _beside(target: Path, settings: Settings) -> list[Path]:
    """Files that are written with a result."""
    return [target.with_suffix(".json")] * settings.sidecar + [target.with_suffix(".base64")] * settings.base64


def _claim(target: Path, name: str, order: _Order) -> bool:
    """Take a picture's outputs; whether the result is to be made, and not left as it is there.

    Raises OutputError for outputs that are another picture's, or exist and must stay.
    """
    settings, paths = order.settings, [target, *_beside(target, order.settings)]
    for path in paths:
        before = order.outputs.setdefault(path.absolute(), name)
        if before != name:
            raise OutputError(f"{name}: {path} is the output of {before} too; give them different folders")
    if target.exists() and settings.skip_existing:
        return False
    for path in paths:
        if path.exists() and not settings.overwrite and not order.dry_run:
            raise OutputError(f"{path}: exists already; use --overwrite or --skip-existing")
    return True


def _check_writable(target: Path, format: str, picture: Image, out_size: tuple[int, int]) -> None:
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


def _write(result: Result, data: bytes, target: Path, settings: Settings) -> None:
    from zssr.files import write

    write(data, target, settings.overwrite)
    if settings.sidecar:
        write(result.sidecar_json(), target.with_suffix(".json"), settings.overwrite)
    if settings.base64:
        write(base64.b64encode(data), target.with_suffix(".base64"), settings.overwrite)

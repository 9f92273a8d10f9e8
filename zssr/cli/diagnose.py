"""zssr diagnose: what happened to pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zssr.cli.exits import BAD_USAGE, DONE, SOME_FAILED, complain
from zssr.cli.flags import Parser
from zssr.errors import SettingsError, ZssrError
from zssr.settings import Settings, make
from zssr.targets import find


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "zssr diagnose",
        "zssr diagnose INPUT [INPUT ...] [--scale S] [--save-kernel FILE [--overwrite]] [--json]",
        "Say what happened to a picture: softness, compression, noise, mosaics, blurred parts, scratches; and how sure"
        " that is.\nScratches are only guessed at; zssr repairs them when --scratches asks for it.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder or pattern")
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help="one JSON object for each picture, a line each"
    )
    parser.add_argument(
        "--scale", metavar="S", default="1", help="a factor above 1, or SY,SX: say how the picture was made that much"
        " smaller, instead of whether it is soft",
    )  # fmt: skip
    parser.add_argument(
        "--save-kernel", metavar="FILE", help="write the kernel that was found to a .npy, .mat, .txt or .png file"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace that file")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the findings on each picture."""
    options = _parser().parse_args(arguments)
    jobs, failures, skipped = find(options.inputs)
    for problem in failures:
        complain(problem, SOME_FAILED)
    if skipped:
        print(skipped, file=sys.stderr)
    from zssr.files import apart

    apart.start()  # torch takes seconds meanwhile
    from zssr.damages.downscale import write_kernel
    from zssr.diagnose import describe, diagnose_for
    from zssr.files import load

    try:
        settings = _checked(options, [job.path for job in jobs])
    except ZssrError as error:
        return complain(error, BAD_USAGE)
    for job in jobs:
        try:
            picture = load(job.path or sys.stdin.buffer.read())
            findings = diagnose_for(picture, settings.out_size(picture.size))
            if options.save_kernel:
                if settings.out_size(picture.size) == picture.size:
                    raise SettingsError(
                        f"{job.path}: is not enlarged by --scale {options.scale}, so there is no kernel"
                    )
                damage = findings[0].damage  # of the downscaling
                assert damage is not None
                assert damage.point_spread is not None
                write_kernel(Path(options.save_kernel), damage.point_spread)
        except ZssrError as error:
            failures.append(str(error))
            complain(error, SOME_FAILED)
            continue
        name = str(job.path or "standard input")
        height, width = picture.size
        if options.as_json:
            found = [finding.to_json() for finding in findings]
            print(json.dumps({"picture": name, "size": [width, height], "findings": found}), flush=True)
            continue
        print(f"{name}: {width}x{height}, {'grey' if len(picture.pixels) == 1 else 'colour'}")
        print("\n".join(f"  {line}" for line in describe(findings).split("\n")), flush=True)
    return SOME_FAILED if failures else DONE


def _checked(options: argparse.Namespace, pictures: Sequence[Path | None]) -> Settings:
    """Raises SettingsError for a scale that is none, and for a file that no kernel can be written to."""
    settings = make(scale=options.scale)
    if options.save_kernel:
        from zssr.damages.downscale import check_kernel_file

        if len(pictures) != 1 or settings.factor() == (1, 1):
            raise SettingsError("save_kernel: give one picture, and --scale with the factor of the kernel")
        check_kernel_file(options.save_kernel, pictures[0], options.overwrite)
    return settings

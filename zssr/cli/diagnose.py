"""zssr diagnose: what happened to pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from zssr.cli.exits import DONE, SOME_FAILED, complain
from zssr.cli.flags import Parser
from zssr.errors import ZssrError
from zssr.targets import find


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "zssr diagnose",
        "zssr diagnose INPUT [INPUT ...] [--json]",
        "Say what happened to a picture: compression, noise, mosaics, blurred parts, scratches; and how sure that is.\n"
        "Scratches are only guessed at; zssr repairs them when --scratches asks for it.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder or pattern")
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help="one JSON object for each picture, a line each"
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the findings on each picture."""
    options = _parser().parse_args(arguments)
    jobs, failures = find(options.inputs)
    for problem in failures:
        complain(problem, SOME_FAILED)
    from zssr.damages.rules import without_echoes
    from zssr.diagnose import describe, diagnose
    from zssr.files import load

    for job in jobs:
        try:
            picture = load(job.path or sys.stdin.buffer.read())
        except ZssrError as error:
            failures.append(str(error))
            complain(error, SOME_FAILED)
            continue
        name = str(job.path or "standard input")
        findings = without_echoes(diagnose(picture))
        height, width = picture.size
        if options.as_json:
            found = [finding.to_json() for finding in findings]
            print(json.dumps({"picture": name, "size": [width, height], "findings": found}), flush=True)
            continue
        print(f"{name}: {width}x{height}, {'grey' if len(picture.pixels) == 1 else 'colour'}")
        print("\n".join(f"  {line}" for line in describe(findings).split("\n")), flush=True)
    return SOME_FAILED if failures else DONE

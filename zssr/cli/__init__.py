"""The command line: flags, help, progress, exit codes. All printing of the package is here.

torch is imported only once there is work to do, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from zssr.cli import batch, diagnose, evaluate, pretrain, priors, restore, schema
from zssr.cli.exits import BAD_USAGE, INTERRUPTED, SOME_FAILED, Interrupted, complain
from zssr.errors import SettingsError, ZssrError

# By the first word; without one of these, pictures are restored.
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "batch": batch.run,
    "diagnose": diagnose.run,
    "evaluate": evaluate.run,
    "pretrain": pretrain.run,
    "pack": pretrain.run_pack,
    "priors": priors.run,
    "schema": schema.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    started = time.monotonic()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(ValueError):  # not in the main thread: the caller handles its own signals
        signal.signal(signal.SIGTERM, _terminated)
        signal.signal(signal.SIGINT, _interrupted)
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        return restore.run(arguments, started)
    except SettingsError as error:
        return complain(error, BAD_USAGE)
    except BrokenPipeError:
        # The reader of our output is gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except (ZssrError, OSError) as error:
        return complain(error, SOME_FAILED)
    except KeyboardInterrupt:
        return complain("interrupted; nothing half-written is left", INTERRUPTED)


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)  # unlike the default, this runs the clean-up on the way out


def _interrupted(number: int, frame: object) -> NoReturn:
    raise Interrupted

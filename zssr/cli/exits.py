"""How a command ends: exit codes, the line that says why, and what Control-C raises."""

from __future__ import annotations

import sys

DONE, SOME_FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


class Interrupted(KeyboardInterrupt):
    """Python kills itself at exit once a KeyboardInterrupt proper went through an exec, caught later or not; importing
    torch holds many."""


def complain(message: object, code: int) -> int:
    """Say what is wrong, and return the exit code."""
    print(f"zssr: error: {message}", file=sys.stderr)
    return code

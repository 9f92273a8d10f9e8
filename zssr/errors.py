"""Every exception that zssr raises on purpose.

    ZssrError
    ├── PictureError      the input is missing, unreadable, too large or too small
    ├── SettingsError     a setting is unknown, out of range, or contradicts another
    │   └── KernelError   a kernel file or name that is no kernel
    ├── PriorError        weights that are unknown, unreadable, or of something else
    ├── OutputError       the result cannot be written where it was asked for
    ├── DeviceError       the device is not there, or its memory does not suffice
    ├── BatchError        a batch run's cluster cannot be reached, or is gone
    └── Cancelled         the caller asked to stop

Messages are one line: what is wrong, where, and what to do about it.
"""

import difflib
from collections.abc import Iterable


class ZssrError(Exception):
    """Base of all errors of this package; its text is fit to be shown to a person."""


class PictureError(ZssrError):
    """The input picture is missing, unreadable, not allowed, too large or too small."""


class SettingsError(ZssrError):
    """A setting is unknown, out of range, or contradicts another."""


class KernelError(SettingsError):
    """A degradation kernel cannot be read or is not a kernel."""


class PriorError(ZssrError):
    """Weights of a prior are unknown, unreadable, or of something else."""


class OutputError(ZssrError):
    """The result cannot be written where it was asked for."""


class DeviceError(ZssrError):
    """The device asked for is not there, or its memory does not suffice."""


class Cancelled(ZssrError):  # noqa: N818 - not an error of anyone
    """The caller's callback asked to stop; nothing was written."""


class BatchError(ZssrError):
    """The cluster of a batch run cannot be reached, or is gone."""


def one_line(error: BaseException) -> str:
    """What another library's error says, cut to fit into a message."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def did_you_mean(word: str, choices: Iterable[str], quotes: str = "''") -> str:
    """The end of a message about an unknown word: the choice most like it, between quotes, or nothing where none is."""
    near = difflib.get_close_matches(word, choices, 1, 0.5)
    return f"; did you mean {quotes[:1]}{near[0]}{quotes[1:]}?" if near else ""

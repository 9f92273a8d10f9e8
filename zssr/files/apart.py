"""The reading of files in a process of its own, which a broken file may bring down.

Libraries that decode files write beyond their memory where some are damaged, or follow addresses that a damaged one
names. What Python cannot catch ends another process here, which is started when it is first needed, and again after
that. Its answers are data and never code. Lines that libraries print go nowhere.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import PIL.Image

from zssr.errors import PictureError, ZssrError, one_line
from zssr.files.readers import READERS

SECONDS = 60.0  # for one file, where the system has alarms
MEMORY = 8 << 30  # bytes of address space, where the system can limit it
LONGEST = 1 << 34  # bytes of one part of a message; more is none
_LENGTH = struct.Struct("<Q")
# From a process that died, or does not know what it says.
_NO_ANSWER = (OSError, EOFError, ValueError, TypeError, LookupError, MemoryError, RecursionError)
_PIPE = 1 << 20  # bytes, where the system can set it: fewer changes between the processes


class BrokenFileError(Exception):
    """The file could not be read; its text says why."""


def read_apart(reader: str, *arguments: bytes | str | int) -> Mapping[str, Any]:
    """What a reader of READERS makes of its arguments.

    Raises PictureError where the reader does, BrokenFileError where it fails otherwise, dies or takes too long.
    """
    return _process.read([reader, *arguments])


def start() -> None:
    """Have the process ready when the first file is; it starts while the caller goes on."""
    _process.start()


# ------------------------------------------------------------------------------------ in the other process


def serve(scratch: str) -> None:
    """Answer requests from the standard input until it ends. scratch: a folder for files."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    tempfile.tempdir = scratch
    PIL.Image.MAX_IMAGE_PIXELS = None  # the caller says how many may be
    with contextlib.suppress(ImportError):
        import resource

        for limit, amount in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, (amount, amount))
    try:
        while (request := _received(sys.stdin.buffer)) is not None:
            seconds, reader, *arguments = request
            os.makedirs(scratch, exist_ok=True)  # something may have tidied up
            _end_after(seconds)
            answer = _answer(reader, arguments)
            _end_after(0)
            _send(answers, answer)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # whoever asked may have been killed


def _end_after(seconds: float) -> None:
    """Whatever a library is doing then; 0 for never."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(reader: str, arguments: Sequence[Any]) -> list[Any]:
    """The names and the values of what was read; or whether the refusal is one of zssr's own, and its words."""
    try:
        read = READERS[reader](*arguments)
    except Exception as error:  # whatever a library raises: it is said in one line
        return [None, isinstance(error, ZssrError), str(error) if isinstance(error, ZssrError) else one_line(error)]
    return [list(read), *read.values()]


# ------------------------------------------------------------------------------------------- in this one


class _Process:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._scratch = ""

    def start(self) -> None:
        with self._lock, contextlib.suppress(PictureError):  # the first file will say so
            self._started()

    def read(self, request: Sequence[bytes | str | int]) -> Mapping[str, Any]:
        with self._lock:
            is_new = self._running is None
            answer = self._answered(request)
            if answer is None and not is_new:  # it may be an earlier file that brought the process down
                answer = self._answered(request)
        if answer is None:
            raise BrokenFileError("the decoder crashed on it")
        names, *values = answer
        if names is None:
            is_refused, words = values
            raise PictureError(words) if is_refused else BrokenFileError(words)
        return dict(zip(names, values, strict=True))

    def _answered(self, request: Sequence[bytes | str | int]) -> tuple[Any, ...] | None:
        """None where the process dies. Raises BrokenFileError where it takes too long."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        answer = None
        try:
            with contextlib.suppress(*_NO_ANSWER):
                _send(process.stdin, [SECONDS, *request])
                answer = _checked(_received(process.stdout))
        finally:
            if answer is None:  # after an interruption too, or it would be taken for the next file's
                self._end()
        if hasattr(signal, "SIGALRM") and process.returncode == -signal.SIGALRM:
            raise BrokenFileError(f"not read within {SECONDS:g} s")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        """Raises PictureError where the system gives no further process."""
        if self._owner != os.getpid():  # a fork's is its parent's
            self._running, self._owner = None, os.getpid()
        if self._running is not None and self._running.poll() is not None:
            self._end()
        if self._running is None:
            # From where zssr was found, whatever the working directory is.
            home = str(Path(__file__).parents[2])
            code = "import sys; sys.path.insert(0, {!r}); from zssr.files.apart import serve; serve({!r})"
            try:
                self._scratch = tempfile.mkdtemp(prefix="zssr-")
                self._running = subprocess.Popen(  # -P: nothing is imported from where the user is
                    [sys.executable, "-P", "-c", code.format(home, self._scratch)], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
                _widen(self._running)
            except OSError as error:
                raise PictureError(f"no process could be started to read it ({one_line(error)})") from None
        return self._running

    def _end(self) -> None:
        if self._running is not None and self._owner == os.getpid():
            self._running.kill()
            self._running.wait()
            shutil.rmtree(self._scratch, ignore_errors=True)  # a picture that was being read
        self._running = None

    def renew(self) -> None:
        """After a fork, in which another thread may have held the lock."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """End it with this process; it would end itself, but be a zombie until then."""
        with self._lock:
            self._end()


def _checked(answer: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """An answer as `_answer` gives it. Raises ValueError or TypeError for another, from a process that is damaged."""
    if answer is not None:
        names, *values = answer
        if len(values) != (2 if names is None else len(names)):
            raise ValueError("not an answer")
    return answer


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Its pipes, where the system allows it: a user may have so many wide ones."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        for stream in (process.stdin, process.stdout):
            assert stream is not None
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE)


# ------------------------------------------------------------------------------------------- between them


def _send(stream: IO[bytes], values: Sequence[Any]) -> None:
    """Arrays and bytes as they lie in memory, after a head in JSON that describes them and holds all other values."""
    parts: list[Any] = []
    text = json.dumps(_described(values, parts)).encode()
    for part in (_LENGTH.pack(len(text)), text, *parts):
        stream.write(part)
    stream.flush()


def _described(value: Any, parts: list[Any]) -> dict[str, Any]:
    """What the head says of a value; what it does not hold itself is appended to the parts."""
    if isinstance(value, np.ndarray):
        array = np.asarray(value, order="C")
        parts.append(array.reshape(-1).view(np.uint8))
        return {"dtype": array.dtype.str, "shape": array.shape}
    if isinstance(value, bytes):
        parts.append(value)
        return {"length": len(value)}
    if isinstance(value, list | tuple):
        return {"values": [_described(one, parts) for one in value]}
    return {"value": value}


def _received(stream: IO[bytes]) -> tuple[Any, ...] | None:
    """The values of a message; None at the end. Raises EOFError within one."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    return cast(tuple[Any, ...], _read_value(stream, json.loads(_exactly(stream, *_LENGTH.unpack(header)))))


def _read_value(stream: IO[bytes], said: dict[str, Any]) -> Any:
    """The value that a head describes; sequences are tuples."""
    if "values" in said:
        return tuple(_read_value(stream, one) for one in said["values"])
    if "dtype" in said:
        dtype = np.dtype(said["dtype"])
        data = _exactly(stream, dtype.itemsize * math.prod(said["shape"]))
        return np.frombuffer(data, dtype).reshape(said["shape"])
    return bytes(_exactly(stream, said["length"])) if "length" in said else said["value"]


def _exactly(stream: IO[bytes], length: int) -> bytearray:
    if length > LONGEST:
        raise EOFError
    data = bytearray(length)
    if cast(io.BufferedReader, stream).readinto(data) < length:
        raise EOFError
    return data


_process = _Process()
atexit.register(_process.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.renew)

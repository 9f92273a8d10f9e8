"""Readers that a broken file can bring down, in a process of their own.

The library that reads the coefficients of JPEG files writes beyond its memory where some are damaged, and scipy's
reader of .mat files follows addresses that a damaged one names. What Python cannot catch ends another process here,
which is started when it is first needed, and again after that.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

SECONDS = 60  # for one file
MEMORY = 8 << 30  # bytes of address space, where the system can limit it
LONGEST = 1 << 34  # bytes of an answer; more is none
_LENGTH = struct.Struct("<Q")
_FINE, _WRONG = b"\0", b"\1"

Arrays = Mapping[str, np.ndarray]


class BrokenFileError(Exception):
    """The file could not be read; its text says why."""


def read_apart(reader: str, data: bytes) -> Arrays:
    """What a reader of READERS makes of a file's bytes.

    Raises BrokenFileError, also where the reader dies or takes too long.
    """
    return _process.read(reader, data)


# ------------------------------------------------------------------------------------ in the other process


def _coefficients(data: bytes, scratch: str) -> Arrays:
    """Of a JPEG file: coefficients0, ... (rows, columns, 8, 8), tables (N, 64) and samplings (N, 2), a row for each."""
    import jpeglib

    path = Path(scratch) / "picture.jpg"  # the library reads files only
    path.write_bytes(data)
    try:
        jpeg = jpeglib.read_dct(str(path))
        components = [jpeg.Y] if jpeg.Cb is None else [jpeg.Y, jpeg.Cb, jpeg.Cr]
    finally:
        path.unlink()
    return {
        "tables": np.array([np.asarray(jpeg.qt[number]).ravel() for number in jpeg.quant_tbl_no], np.int64),
        "samplings": np.array(jpeg.samp_factor, np.int64),
        **{f"coefficients{number}": np.ascontiguousarray(one) for number, one in enumerate(components)},
    }


def _mat(data: bytes, scratch: str) -> Arrays:
    """The arrays of numbers in a .mat file, by name."""
    from scipy.io import loadmat

    content = loadmat(io.BytesIO(data))  # type: ignore[arg-type]
    return {
        name: np.asarray(value, np.float64)
        for name, value in content.items()
        if not name.startswith("__") and np.asarray(value).dtype.kind in "fiub"
    }


def _npy(data: bytes, scratch: str) -> Arrays:
    """The array of a .npy file, as "array"."""
    return {"array": np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float64)}


READERS: dict[str, Callable[[bytes, str], Arrays]] = {"coefficients": _coefficients, "mat": _mat, "npy": _npy}


def serve(scratch: str) -> None:
    """Answer requests from the standard input until it ends. scratch: a folder for files.

    Lines that libraries print go nowhere.
    """
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (name := _received(sys.stdin.buffer)) is not None:
        data = _received(sys.stdin.buffer) or b""
        try:
            out = io.BytesIO()
            np.savez(out, **READERS[name.decode()](data, scratch))  # type: ignore[arg-type]
            answer = _FINE + out.getvalue()
        except Exception as error:  # whatever a library raises: it is said in one line
            answer = _WRONG + (" ".join(str(error).split())[:200] or type(error).__name__).encode()
        _send(answers, answer)


# ------------------------------------------------------------------------------------------- in this one


class _Process:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._scratch = ""

    def read(self, reader: str, data: bytes) -> Arrays:
        with self._lock:
            process = self._started()
            answer = b""
            try:
                answer = self._asked(process, reader, data)
            except (OSError, EOFError):
                raise BrokenFileError("damaged, so that its reader gave up") from None
            finally:
                if not answer:  # or after an interruption, it would be taken for the next file's
                    self._end()
        if answer[:1] == _WRONG:
            raise BrokenFileError(answer[1:].decode(errors="replace"))
        with np.load(io.BytesIO(answer[1:]), allow_pickle=False) as arrays:
            return dict(arrays)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a fork's is its parent's
            self._running, self._owner = None, os.getpid()
        if self._running is not None and self._running.poll() is not None:
            self._end()
        if self._running is None:
            # From where zssr was found, whatever the working directory is.
            home = str(Path(__file__).parents[1])
            self._scratch = tempfile.mkdtemp(prefix="zssr-")
            start = f"import sys; sys.path.insert(0, {home!r}); from zssr.apart import serve; serve({self._scratch!r})"
            self._running = subprocess.Popen(  # -P: nothing is imported from where the user is
                [sys.executable, "-P", "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        return self._running

    @staticmethod
    def _asked(process: subprocess.Popen[bytes], reader: str, data: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            _send(process.stdin, reader.encode())
            _send(process.stdin, data)
            answer = _received(process.stdout)
        finally:
            timer.cancel()
        if answer is None:
            raise EOFError
        return answer

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


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _received(stream: IO[bytes]) -> bytes | None:
    """None at the end."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(header)[0]
    if length > LONGEST:
        raise EOFError
    data = stream.read(length)
    return data if len(data) == length else None


_process = _Process()
atexit.register(_process.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.renew)

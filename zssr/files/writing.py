"""Files that are either complete or not there: written aside, then renamed. Without torch, for the web process too."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from zssr.errors import OutputError, one_line


@contextlib.contextmanager
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """A name beside `path` for the caller to write to; at the end, what is there becomes `path`, on an error it goes.

    So a kill leaves the old file or the new one, whole. Raises OSError, of which FileExistsError where `path` exists
    and overwrite is not set.
    """
    aside = path.parent / f".zssr-{secrets.token_hex(8)}.partial"
    try:
        yield aside
        if overwrite:
            os.replace(aside, path)
        else:
            _rename_to_new(aside, path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def write(data: bytes, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write bytes to a file, see `replacing`; folders that are missing are made.

    Raises OutputError when the file exists (and overwrite is not set) or cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, overwrite) as aside, aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise OutputError(f"{path}: exists already; use --overwrite or --skip-existing") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or one_line(error)})") from None


def _rename_to_new(aside: Path, path: Path) -> None:
    """Rename, but never over a file that appeared in the meantime."""
    try:
        os.link(aside, path)  # the name aside is removed later
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: check, then rename
        if path.exists():
            raise FileExistsError from None
        os.replace(aside, path)

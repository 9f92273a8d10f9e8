"""Which pictures are meant, and what their results are called. A path may be a URL of a remote storage."""

from __future__ import annotations

import contextlib
import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from zssr.errors import OutputError, PictureError, ZssrError
from zssr.formats import SUFFIXES
from zssr.settings import Settings


@dataclass(frozen=True)
class Found:
    """One input: a path or None for standard input; its path below the folder it was found in; whether it was
    named itself rather than found."""

    path: Path | None
    below: Path
    named: bool


def find(inputs: Sequence[str]) -> tuple[list[Found], list[str]]:
    """All pictures that files, folders and patterns name, each once, and what was not found, in words."""
    pictures: dict[Path | None, Found] = {}
    missing = []
    for name in inputs:
        if name == "-":
            pictures[None] = Found(None, Path("stdin"), True)
            continue
        path = Path(name)
        found: list[Found]
        if path.is_dir():
            found = [
                Found(file, file.relative_to(path), False)
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
            ]
            problem = f"{name}: no pictures in this folder"
        elif path.exists() or not glob.has_magic(name):
            found = [Found(path, Path(path.name), True)]
            problem = ""
        else:
            found = [
                Found(Path(file), Path(Path(file).name), False)
                for file in sorted(glob.glob(name, recursive=True))
                if Path(file).is_file()
            ]
            problem = f"{name}: no file matches"
        if not found:
            missing.append(problem)
        for one in found:
            pictures.setdefault(one.path, one)
    return list(pictures.values()), missing


def stems(names: Sequence[PurePath]) -> list[str]:
    """What the results of files are called by: their stems, with the ending where two of a folder share one."""
    uses = Counter(name.with_suffix("") for name in set(names))
    return [
        f"{name.stem}_{name.suffix[1:]}" if name.suffix and uses[name.with_suffix("")] > 1 else name.stem
        for name in names
    ]


def label(settings: Settings, out_size: tuple[int, int]) -> str:
    """repaired, x4, x2x3 (vertical, horizontal) or 640x480 (width, height)."""
    factor = settings.factor()
    if factor is None:
        return f"{out_size[1]}x{out_size[0]}"
    if max(factor) == 1:
        return "repaired"
    return "x" + "x".join(dict.fromkeys(f"{float(part):g}" for part in factor))


def is_remote(path: str) -> bool:
    """Whether it is a URL such as s3://bucket/a.png."""
    return "://" in path


def find_remote(url: str) -> list[tuple[str, str]]:
    """(URL, path below the folder) of the pictures that a file's, folder's or pattern's URL names."""
    storage, path = _storage(url)
    with _told(PictureError, f"{url}: cannot be listed"):
        if storage.isdir(path):
            names = [name for name in sorted(storage.find(path)) if PurePosixPath(name).suffix.lower() in SUFFIXES]
            return [(storage.unstrip_protocol(name), name.removeprefix(path.rstrip("/") + "/")) for name in names]
        return [(storage.unstrip_protocol(name), PurePosixPath(name).name) for name in sorted(storage.glob(path))]


def read_remote(url: str, max_megabytes: float | None) -> bytes:
    """The bytes of a file, one more than `max_megabytes` at most. Raises PictureError."""
    storage, path = _storage(url)
    with _told(PictureError, f"{url}: cannot be read"), storage.open(path, "rb") as file:
        return file.read() if max_megabytes is None else file.read(int(max_megabytes * 1e6) + 1)


def write_remote(data: bytes, url: str) -> None:
    """Aside and renamed, as far as the storage knows renaming. Raises OutputError."""
    storage, path = _storage(url)
    folder, _, name = path.rpartition("/")
    aside = f"{folder}/.{name}.partial"
    with _told(OutputError, f"{url}: cannot be written"):
        storage.makedirs(folder, exist_ok=True)
        with storage.open(aside, "wb") as file:
            file.write(data)
        storage.mv(aside, path)


def exists_remote(url: str) -> bool:
    """Whether there is a file. Raises PictureError where that cannot be found out."""
    storage, path = _storage(url)
    with _told(PictureError, f"{url}: cannot be looked at"):
        return bool(storage.exists(path))


@contextlib.contextmanager
def _told(kind: type[ZssrError], words: str) -> Iterator[None]:
    """Storages have errors of several kinds; here they become ours."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, NotImplementedError, ImportError, TimeoutError) as error:
        raise kind(f"{words} ({type(error).__name__}: {error})") from None


def _storage(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise PictureError(f"{url}: this storage is not known here ({error})") from None

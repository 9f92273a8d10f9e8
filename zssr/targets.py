"""Which pictures are meant, and what their results are called. A path may be a URL of a remote storage."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zssr.errors import OutputError, PictureError
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
    try:
        if storage.isdir(path):
            names = [name for name in sorted(storage.find(path)) if PurePosixPath(name).suffix.lower() in SUFFIXES]
            return [(storage.unstrip_protocol(name), name.removeprefix(path.rstrip("/") + "/")) for name in names]
        return [(storage.unstrip_protocol(name), PurePosixPath(name).name) for name in sorted(storage.glob(path))]
    except OSError as error:
        raise PictureError(f"{url}: cannot be listed ({error})") from None


def read_remote(url: str, max_megabytes: float) -> bytes:
    """The bytes of a file. Raises PictureError."""
    storage, path = _storage(url)
    try:
        with storage.open(path, "rb") as file:
            data = file.read(int(max_megabytes * 1e6) + 1)
    except OSError as error:
        raise PictureError(f"{url}: cannot be read ({error})") from None
    return data


def write_remote(data: bytes, url: str) -> None:
    """Aside and renamed, as far as the storage knows renaming. Raises OutputError."""
    storage, path = _storage(url)
    folder, _, name = path.rpartition("/")
    aside = f"{folder}/.{name}.partial"
    try:
        storage.makedirs(folder, exist_ok=True)
        with storage.open(aside, "wb") as file:
            file.write(data)
        storage.mv(aside, path)
    except OSError as error:
        raise OutputError(f"{url}: cannot be written ({error})") from None


def exists_remote(url: str) -> bool:
    """Whether there is a file."""
    storage, path = _storage(url)
    return bool(storage.exists(path))


def _storage(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise PictureError(f"{url}: this storage is not known here ({error})") from None

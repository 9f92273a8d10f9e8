"""Which pictures are meant, and what their results are called. A path may be a URL of a remote storage."""

from __future__ import annotations

import contextlib
import glob
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from zssr.errors import OutputError, PictureError, SettingsError, ZssrError, did_you_mean
from zssr.formats import BESIDE_RESULTS, FORMAT_OF_INPUT, FORMAT_OF_SUFFIX, SUFFIXES, WRITABLE
from zssr.settings import Settings

FIELDS = ("stem", "ext", "scale", "prior", "quality", "label", "folder")
DEFAULT_NAME = "{stem}_{label}.{ext}"


@dataclass(frozen=True)
class Found:
    """One input: a path or None for standard input; its path below the folder it was found in; whether it was
    named itself rather than found."""

    path: Path | None
    below: Path
    named: bool


def find(inputs: Sequence[str]) -> tuple[list[Found], list[str], str]:
    """All pictures that files, folders and patterns name, each once; what was not found, a line each; and a line on the
    files in folders that are no pictures, empty where there are none."""
    pictures: dict[Path | None, Found] = {}
    missing = []
    others: Counter[str] = Counter()
    for name in inputs:
        if name == "-":
            pictures[None] = Found(None, Path("stdin"), True)
            continue
        path = Path(name)
        found: list[Found]
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if not file.name.startswith(".") and file.is_file()]
            found = [Found(file, file.relative_to(path), False) for file in inside if file.suffix.lower() in SUFFIXES]
            others.update(file.suffix.lower() for file in inside if file.suffix.lower() not in SUFFIXES)
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
    return list(pictures.values()), missing, _skipped(others)


def _skipped(others: Counter[str]) -> str:
    """A line on files that are no pictures, by their endings, but for those that zssr itself writes."""
    counted = [(ending or "no ending", count) for ending, count in others.items() if ending not in BESIDE_RESULTS]
    if not counted:
        return ""
    files = sum(count for _, count in counted)
    endings = ", ".join(
        f"{ending} ({count})" for ending, count in sorted(counted, key=lambda pair: (-pair[1], pair[0]))
    )
    return f"skipped {files} file{'s' * (files > 1)}: {endings}: no pictures that zssr reads"


def stems(names: Sequence[PurePath]) -> list[str]:
    """What the results of files are called by: their stems, with the ending where two of a folder share one."""
    uses = Counter(name.with_suffix("") for name in set(names))
    return [
        f"{name.stem}_{name.suffix[1:]}" if name.suffix and uses[name.with_suffix("")] > 1 else name.stem
        for name in names
    ]


def template(output: str | None, several: bool) -> Callable[[str, str, str, Settings], tuple[str, str]]:
    """What gives (target, format) of (source, path below, stem, settings). Raises SettingsError."""
    if output is None:
        output = ""
    try:
        parsed = [(field, spec, how) for _, field, spec, how in string.Formatter().parse(output) if field is not None]
    except ValueError as error:
        raise SettingsError(f"'{output}': {error}") from None
    fields = [field for field, _, _ in parsed]
    for field, spec, how in parsed:
        if field in FIELDS and (spec or how):
            raise SettingsError(f"'{output}': {{{field}}} takes nothing after its name")
        if field not in FIELDS:
            hint = did_you_mean(field, FIELDS, "{}") or f"; there are {', '.join(FIELDS)}"
            raise SettingsError(f"'{output}': unknown field {{{field}}}{hint}")
    last = output.rpartition("/")[2]
    suffix = PurePosixPath(last).suffix.lower()
    is_folder = not suffix and "{ext}" not in last
    if not is_folder and suffix not in (*FORMAT_OF_SUFFIX, ".{ext}"):
        raise SettingsError(f"'{output}': must end in {', '.join(sorted(FORMAT_OF_SUFFIX))}, or .{{ext}}")
    if several and not is_folder and not fields:
        raise SettingsError(f"'{output}': several results need a folder, or a name with fields such as {{stem}}")

    def name(source: str, below: str, stem: str, settings: Settings) -> tuple[str, str]:
        path = PurePosixPath(source.replace("\\", "/")) if not is_remote(source) else PurePosixPath(source)
        same = FORMAT_OF_INPUT.get(path.suffix.lower(), "png")
        by_name = FORMAT_OF_SUFFIX.get(suffix)
        format = by_name or (same if settings.format == "same" else settings.format) or "png"
        factor = settings.factor()
        values = {
            "stem": stem,
            "ext": WRITABLE[format][1:],
            "scale": settings.size if factor is None else "x".join(dict.fromkeys(f"{float(p):g}" for p in factor)),
            "prior": Path(settings.prior).stem,
            "quality": settings.quality,
            "label": settings.size if factor is None else label(settings, (0, 0)),
            "folder": str(PurePosixPath(below.replace("\\", "/")).parent),
        }
        if not is_folder:
            return output.format_map(values), format
        own = DEFAULT_NAME.format_map(values)
        if output:
            folder = output.format_map(values).rstrip("/")
            middle = "" if values["folder"] == "." or "{folder}" in output else f"{values['folder']}/"
            return f"{folder}/{middle}{own}", format
        return source[: len(source) - len(path.name)] + own, format

    return name


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

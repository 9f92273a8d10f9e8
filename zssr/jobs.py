"""Batch runs: config.json as a list of jobs, with every mistake in the file found before anything starts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zssr import settings as all_settings
from zssr.errors import PictureError, PriorError, SettingsError, did_you_mean, one_line
from zssr.settings import Settings
from zssr.targets import find, find_remote, is_remote, stems, template

# Keys of the whole file, beside the settings and `jobs`: what they must be, and their defaults.
RUN_KEYS: dict[str, tuple[Any, Any, str]] = {
    "workers": (int, None, "processes, at most one a core; default: one a GPU, else one a core"),
    "threads": (int, None, "of each worker; default: the cores shared out among them"),
    "scheduler": (str, None, "address of a running Dask scheduler, as tcp://host:8786; default: on this machine"),
    "transfer": (bool, False, "pictures travel through the cluster, for workers that do not see the paths"),
    "retries": (int, 3, "how often a job is tried again whose worker died"),
    "report": (
        str,
        "report",
        "name, without ending, of the report's files; default: beside the config, as config-report",
    ),
}
# Keys of an entry, beside the settings.
ENTRY_KEYS: dict[str, tuple[Any, str]] = {
    "scales": (list, "several values of scale, each a result of its own"),
    "priors": (list, "several values of prior, each a result of its own"),
    "share_weights": (bool, "the first picture's network is where the others begin"),
}
# Settings that single runs obey and batch runs decide themselves.
NOT_HERE = {
    "skip_existing": "finished results are left alone anyway",
    "sidecar": "there is always a sidecar",
}


@dataclass(frozen=True)
class Job:
    """One picture and how it is to be restored.

    where: in the file, as jobs[2]. source, target: paths, or URLs of remote storages. share: of those with the same
    one, the first is trained in full and the others begin with its weights; None for none. named: whether the source
    was given itself rather than found in a folder.
    """

    where: str
    source: str
    target: str
    format: str
    settings: Settings
    share: str | None = None
    named: bool = False


@dataclass(frozen=True)
class Run:
    """All jobs, and how they are to be run; fields as in RUN_KEYS. skipped: on files in folders that are none."""

    jobs: tuple[Job, ...]
    workers: int | None
    threads: int | None
    scheduler: str | None
    transfer: bool
    retries: int
    report: str
    skipped: tuple[str, ...] = ()


def read_config(path: Path, changes: tuple[str, ...] = ()) -> Run:
    """The jobs of a config.json. changes: "key=value" or "jobs[0].key=value", which win.

    Raises SettingsError with a line for every mistake.
    """
    data = all_settings.read_json(path)
    if isinstance(data, dict):
        data.setdefault("report", str(path.with_name(f"{path.stem}-report")))
    return make_run(data, changes)


def make_run(data: Any, changes: tuple[str, ...] = ()) -> Run:
    """The same for what was in the file. Raises SettingsError with a line for every mistake."""
    if not isinstance(data, dict):
        raise SettingsError("config: must be one JSON object, {...}")
    mistakes: list[str] = []
    data = json.loads(json.dumps(data))
    for change in changes:
        _change(data, change, mistakes)
    given = {key: value for key, value in data.items() if key not in ("$schema", "jobs", *RUN_KEYS)}
    entries = data.get("jobs", [{}])
    if not isinstance(entries, list) or not entries:
        mistakes.append("jobs: must be a list of at least one {...}")
        entries = []
    run = {key: _run_key(key, data.get(key, default), mistakes) for key, (_, default, _) in RUN_KEYS.items()}
    _checked(given, "", mistakes, is_defaults=True)
    jobs: list[Job] = []
    skipped: list[str] = []
    for number, entry in enumerate(entries):
        where = f"jobs[{number}]"
        if not isinstance(entry, dict):
            mistakes.append(f"{where}: must be an object, {{...}}")
            continue
        own = len(mistakes)
        _checked(entry, f"{where}.", mistakes)
        # A key of an entry replaces all that the top says on the same question.
        top = dict(given)
        for same in ({"scale", "size", "scale_factor", "scale_times", "scales"}, {"prior", "priors"}):
            if same & set(entry):
                top = {key: value for key, value in top.items() if key not in same}
        if len(mistakes) == own:
            try:
                jobs += _jobs_of(where, {**_without_mistakes(top), **entry}, mistakes, skipped)
            except OSError as error:  # such as a name that is too long
                mistakes.append(f"{where}: {one_line(error)}")
    jobs = _without_results(jobs)
    reports = {_resolved(f"{run['report']}{ending}") for ending in (".json", ".html")}
    _collisions(jobs, reports, mistakes)
    if not jobs and not mistakes:
        mistakes.append("jobs: no pictures in any of them")
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return Run(tuple(jobs), **run, skipped=tuple(skipped))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a config.json: of a batch run, or of the settings of a single one."""
    schema = all_settings.json_schema()
    types: dict[Any, dict[str, Any]] = {
        int: {"type": ["integer", "null"]}, str: {"type": ["string", "null"]}, bool: {"type": "boolean"},
        list: {"type": "array", "minItems": 1},
    }  # fmt: skip
    settings = {key: value for key, value in schema["properties"].items() if key not in NOT_HERE}
    own = {key: {**types[kind], "description": text} for key, (kind, text) in ENTRY_KEYS.items()}
    run = {
        key: {**types[kind], "default": default, "description": text} for key, (kind, default, text) in RUN_KEYS.items()
    }
    entry = {"type": "object", "additionalProperties": False, "properties": {**settings, **own}}
    text = "each with settings that replace those above"
    jobs = {"type": "array", "minItems": 1, "items": entry, "description": text}
    return {**schema, "title": "zssr", "properties": {**schema["properties"], **own, **run, "jobs": jobs}}


def _change(data: dict[str, Any], change: str, mistakes: list[str]) -> None:
    key, equals, text = change.partition("=")
    match = re.fullmatch(r"(?:jobs\[(\d+)\]\.)?(\w+)", key.strip())
    if not equals or match is None:
        mistakes.append(f"--set {change}: must be KEY=VALUE or jobs[N].KEY=VALUE")
        return
    try:
        value = all_settings.parse_json(text)
    except ValueError:
        value = text
    other = {"scale": "scales", "scales": "scale", "prior": "priors", "priors": "prior"}.get(match[2], "")
    if match[1] is None:
        data[match[2]] = value
        data.pop(other, None)
        return
    entries = data.get("jobs")
    if not isinstance(entries, list) or int(match[1]) >= len(entries) or not isinstance(entries[int(match[1])], dict):
        mistakes.append(f"--set {change}: there is no jobs[{match[1]}]")
        return
    entries[int(match[1])][match[2]] = value
    entries[int(match[1])].pop(other, None)


def _run_key(key: str, value: Any, mistakes: list[str]) -> Any:
    """The value where it is right, else the default, and the mistake."""
    kind, default, _ = RUN_KEYS[key]
    low = 0 if key == "retries" else 1
    if value is None and default is None:
        return None
    try:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise SettingsError(f"{key}: {value!r} must be {_KINDS[kind]}")
        if kind is int and not low <= value <= 10_000:
            raise SettingsError(f"{key}: {value} must lie between {low} and 10000")
        all_settings.check_texts(key, value)
    except SettingsError as error:
        mistakes.append(str(error))
        return default
    return value


_KINDS: dict[Any, str] = {int: "a whole number", str: "text", bool: "true or false", list: "a list"}


def _checked(entry: dict[str, Any], where: str, mistakes: list[str], is_defaults: bool = False) -> None:
    """Every key by itself."""
    for key, value in entry.items():
        try:
            if key in ENTRY_KEYS:
                kind = ENTRY_KEYS[key][0]
                if not isinstance(value, kind) or value == []:
                    raise SettingsError(f"{value!r} must be {_KINDS[kind]}{' that is not empty' * (value == [])}")
                if key.removesuffix("s") in entry and key.endswith("s") and kind is list:
                    raise SettingsError(f"give {key} or {key.removesuffix('s')}")
                for one in value if kind is list else ():
                    all_settings.from_json({key.removesuffix("s"): one})
            elif key in NOT_HERE:
                raise SettingsError(f"not in batch runs; {NOT_HERE[key]}")
            elif key in all_settings.specs():
                all_settings.from_json({key: value})
            else:
                known = [*all_settings.specs(), *ENTRY_KEYS, *(RUN_KEYS if is_defaults else ()), "jobs"]
                raise SettingsError(f"unknown{did_you_mean(key, known)}")
        except SettingsError as error:
            mistakes.append(f"{where}{key}: {str(error).removeprefix('settings: ')}")


def _without_mistakes(top: dict[str, Any]) -> dict[str, Any]:
    """The defaults that are right, so that what is wrong at the top is said once and not for every job."""
    right = {}
    for key, value in top.items():
        found: list[str] = []
        _checked({key: value}, "", found, is_defaults=True)
        if not found:
            right[key] = value
    return right


def _jobs_of(where: str, entry: dict[str, Any], mistakes: list[str], skipped: list[str]) -> Iterator[Job]:
    """The jobs of one entry, its keys right by themselves."""
    inputs = entry.pop("image", None)
    if inputs is None:
        mistakes.append(f"{where}.image: missing; a file, a folder, a pattern, or a list of them")
        return
    scales, priors = (entry.pop(key, [entry.get(key.removesuffix("s"))]) for key in ("scales", "priors"))
    share, output = entry.pop("share_weights", False), entry.pop("output", None)
    sources = list(_sources([inputs] if isinstance(inputs, str) else inputs, f"{where}.image", mistakes, skipped))
    variants: list[Settings] = []
    try:
        for scale in scales:
            for prior in priors:
                own = {"scale": scale, "prior": prior}
                settings = all_settings.make(**{**entry, **{k: v for k, v in own.items() if v is not None}})
                variants.append(settings)
                _check_files(settings, where, mistakes)
    except SettingsError as error:
        key = re.match(r"\w+(?= \S+:)", str(error))
        place = f"{where}.{key[0]}" if key is not None and key[0] in all_settings.specs() else where
        mistakes.append(f"{place}: {error}")
        return
    try:
        name = template(output, len(sources) * len(variants) > 1)
    except SettingsError as error:
        mistakes.append(f"{where}.output: {error}")
        return
    paths = [source if output is None else below for source, below, _ in sources]
    called = stems([PurePosixPath(path.replace("\\", "/")) for path in paths])
    for number, settings in enumerate(variants):
        for (source, below, named), stem in zip(sources, called, strict=True):
            target, format = name(source, below, stem, settings)
            yield Job(where, source, target, format, settings, f"{where}/{number}" if share else None, named)


def _check_files(settings: Settings, where: str, mistakes: list[str]) -> None:
    """The files and names that settings rest on."""
    if settings.mask is not None and not Path(settings.mask).is_file():
        mistakes.append(f"{where}.mask: {settings.mask}: no such file")
    # torch takes seconds, and mistakes found before need none
    from zssr.damages.downscale import read_kernel
    from zssr.priors import located, names_in

    for name in names_in(settings.prior):
        try:
            located(name)
        except PriorError as error:
            mistakes.append(f"{where}.prior: {error}")
    try:
        read_kernel(settings.kernel)
    except SettingsError as error:
        mistakes.append(f"{where}.kernel: {error}")


def _sources(inputs: list[str], where: str, mistakes: list[str], skipped: list[str]) -> Iterator[tuple[str, str, bool]]:
    """(path or URL, path below the folder it was found in, whether it was given itself)."""
    for name in inputs:
        if is_remote(name):
            try:
                found = find_remote(name)
            except PictureError as error:
                mistakes.append(f"{where}: {error}")
                continue
            if not found:
                mistakes.append(f"{where}: {name}: no pictures there")
            yield from ((url, below, url.endswith(name.partition("://")[2])) for url, below in found)
            continue
        if name == "-":
            mistakes.append(f"{where}: '-': a batch run has no standard input")
            continue
        pictures, missing, line = find([name])
        skipped += [f"{where}: {line}"] * bool(line)
        mistakes += [f"{where}: {problem}" for problem in missing]
        for picture in pictures:
            if picture.path is not None and not picture.path.is_file():
                mistakes.append(f"{where}: {picture.path}: no such file")
            else:
                yield str(picture.path), str(picture.below), picture.named


def _without_results(jobs: list[Job]) -> list[Job]:
    """Without pictures, found in folders or by patterns, that are results of this run made earlier."""
    targets = {_resolved(job.target) for job in jobs}
    return [job for job in jobs if job.named or _resolved(job.source) not in targets]


def _collisions(jobs: list[Job], reports: set[str], mistakes: list[str]) -> None:
    """Two results of one name, or a result that is another job's input."""
    sources = {_resolved(job.source) for job in jobs}
    taken: dict[str, Job] = {}
    for job in jobs:
        if _resolved(job.target) in sources:
            mistakes.append(f"{job.where}.output: {job.target} is an input; give another name")
        for path in files_of(job):
            if _resolved(path) in reports:
                mistakes.append(f'{job.where}.output: {path} is the report\'s name too; give another "report"')
            before = taken.setdefault(_resolved(path), job)
            if before is not job:
                mistakes.append(
                    f"{job.where}.output: {path}, of {job.source}, is the result of {before.where}"
                    f" ({before.source}) too; use fields such as {{folder}}, {{scale}}, {{prior}}"
                )
                break


def sidecar_of(target: str) -> str:
    """The name of the JSON beside a result."""
    return target[: len(target) - len(PurePosixPath(target).suffix)] + ".json"


def weights_of(target: str) -> str:
    """Where the weights lie that the others of a job begin with."""
    return sidecar_of(target).removesuffix(".json") + ".weights.safetensors"


def files_of(job: Job) -> list[str]:
    """All that a job may write."""
    files = [job.target, sidecar_of(job.target)]
    if job.share is not None:
        files.append(weights_of(job.target))
    if job.settings.base64:
        files.append(f"{job.target}.base64")
    return files


def _resolved(path: str) -> str:
    """One name for one file, whatever links and dots lead to it."""
    return (
        path if is_remote(path) and not path.startswith("file://") else os.path.realpath(path.removeprefix("file://"))
    )

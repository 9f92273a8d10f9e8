"""Results on disk: whether one is finished and of this very job, and how it is written."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

from zssr.batch.records import Done, failed
from zssr.errors import OutputError, PictureError, ZssrError
from zssr.files import write
from zssr.jobs import Job, files_of, sidecar_of, weights_of
from zssr.priors import located, names_in
from zssr.settings import Settings, parse_areas, parse_json, specs
from zssr.targets import exists_remote, is_remote, read_remote, write_remote
from zssr.version import __version__
from zssr.weights import Weights


def key_of(data: bytes, settings: Settings, weights: Weights | None = None) -> str:
    """What a result depends on: the input's bytes, the settings, the version, the weights to begin with."""
    said = json.dumps([{**settings.to_json(), "kernel": settings.kernel}, __version__], sort_keys=True)
    begun = hashlib.sha256(packed(weights)).digest() if weights else b""
    return hashlib.sha256(hashlib.sha256(data).digest() + said.encode() + begun + _named_files(settings)).hexdigest()


def _named_files(settings: Settings) -> bytes:
    """The hashes of the files that settings name: masks, kernels, priors."""
    names = [settings.mask or "", settings.kernel]
    for name, spec in specs().items():
        if spec.areas:
            names += [area.file or "" for area in parse_areas(name, getattr(settings, name))]
    paths = [*(Path(name) for name in names if name), *map(located, names_in(settings.prior))]
    return b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths if path.is_file())


def read_source(job: Job) -> bytes:
    """The bytes of its picture. Raises PictureError."""
    if is_remote(job.source):
        return read_remote(job.source, job.settings.max_MB)
    try:
        with Path(job.source).open("rb") as file:
            return file.read(int(job.settings.max_MB * 1e6) + 1)
    except OSError as error:
        raise PictureError(f"{job.source}: cannot be read ({error.strerror})") from None


def write_result(job: Job, data: bytes, sidecar: bytes, weights: Weights | None) -> None:
    """The picture last: the sidecar holds its hash, so that a picture that is not of it counts as missing."""
    files = [(sidecar_of(job.target), sidecar), (job.target, data)]
    if weights:
        files.insert(0, (weights_of(job.target), packed(weights)))
    if job.settings.base64:
        files.insert(0, (f"{job.target}.base64", base64.b64encode(data)))
    for path, content in files:
        if is_remote(path):
            write_remote(content, path)
        else:
            write(content, path, overwrite=True)


def packed(weights: Weights) -> bytes:
    """As the bytes of a safetensors file."""
    return safetensors.numpy.save(dict(weights))


def kept_result(job: Job, key: str, trains_first: bool) -> Done | None:
    """The result, where it is there, made of the same input with the same settings; None where it is not.

    Raises OutputError for a file in its place that is of no batch run.
    """
    record: Any = None
    with contextlib.suppress(ZssrError, OSError, ValueError):
        record = parse_json(_bytes_of(sidecar_of(job.target)))
    if not isinstance(record, dict) or "key" not in record:
        for path in files_of(job):
            if (exists_remote(path) if is_remote(path) else Path(path).exists()) and not job.settings.overwrite:
                raise OutputError(f"{path}: exists and is not of a batch run; give another output, or overwrite")
        return None
    if record["key"] != key:
        return None
    weights: Weights | None
    try:
        if hashlib.sha256(_bytes_of(job.target)).hexdigest() != record.get("sha256"):
            return None
        weights = None
        if trains_first and record.get("weights"):
            packed = _bytes_of(weights_of(job.target))
            if hashlib.sha256(packed).hexdigest() != record["weights"]:
                return None
            weights = safetensors.numpy.load(packed)
    except (ZssrError, OSError, ValueError, safetensors.SafetensorError):
        return None
    outcome = dataclasses.replace(
        failed(job, ""), state="kept", share=job.share, unknown=str(record.get("unknown", "")),
        agreement=record.get("agreement", {}).get("rms"), notes=tuple(record.get("notes", ())),
        size=tuple(record["output_size"]) if "output_size" in record else None,
    )  # fmt: skip
    return Done(outcome, weights=weights)


def finished(job: Job) -> bool:
    """Whether its result is there and would be kept. Of jobs that share weights this is known of the first only."""
    try:
        return kept_result(job, key_of(read_source(job), job.settings), trains_first=job.share is not None) is not None
    except ZssrError:
        return False  # the run will say why


def _bytes_of(path: str) -> bytes:
    return read_remote(path, None) if is_remote(path) else Path(path).read_bytes()

"""What travels between the web process and the workers; without torch, which the web process does not need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TOPIC = "zssr-web"  # under which workers send their progress


@dataclass(frozen=True)
class Catalogue:
    """What only a worker knows, as it needs torch. priors: name to what it is for. warnings: by Kind.name of a damage,
    where there is one."""

    priors: dict[str, str]
    warnings: dict[str, str]


@dataclass(frozen=True)
class UploadCheck:
    """What is asked about an upload. part: side of a random part to cut out; 0 for the whole picture."""

    data: bytes
    max_MB: float
    max_pixels: int
    max_output_pixels: int
    settings: dict[str, Any]
    part: int = 0


@dataclass(frozen=True)
class WebTask:
    """A job on its way to a worker. seconds: the longest it may take."""

    id: str
    attempt: int
    data: bytes
    settings: dict[str, Any]
    seconds: float
    max_MB: float
    max_pixels: int
    keep_exif: bool


@dataclass(frozen=True)
class WebResult:
    """A job on its way back. files: by name. outcome: as in the API. cancelled: nothing was made."""

    files: dict[str, bytes]
    outcome: dict[str, Any]
    cancelled: bool = False


def stop_event_name(id: str, attempt: int) -> str:
    """Of the Dask event that stops a job."""
    return f"zssr-web-stop-{id}-{attempt}"

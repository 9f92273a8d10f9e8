"""What travels between the web process and the workers; without torch, which the web process does not need."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

TOPIC = "zssr-web"


@dataclass(frozen=True)
class Look:
    """What is asked about an upload. part: side of a random part to cut out; 0 for the whole picture."""

    data: bytes
    max_MB: float
    max_pixels: int
    max_output_pixels: int
    settings: dict[str, Any]
    part: int = 0


@dataclass(frozen=True)
class Task:
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
class Done:
    """A job on its way back. files: by name. held: what is told of it, see the API. cancelled: nothing was made."""

    files: dict[str, bytes]
    held: dict[str, Any]
    cancelled: bool = False


def run(function: str, *arguments: Any) -> Any:
    """In a worker: call a function of web.work."""
    return getattr(importlib.import_module("web.work"), function)(*arguments)


def stop_name(id: str, attempt: int) -> str:
    """Of the event that stops a job."""
    return f"zssr-web-stop-{id}-{attempt}"

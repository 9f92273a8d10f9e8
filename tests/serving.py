"""The online demo in a process of its own, and a visitor of it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import requests

from web import worker
from web.store import Job, JobStore

ROOT = Path(__file__).parent.parent
START_SECONDS = 120
# A training that is over in seconds, and one that goes on until it is stopped.
SHORT: dict[str, Any] = {"num_epochs": 100, "scale": 2, "repair": "none"}
LONG: dict[str, Any] = {"num_epochs": 100_000, "scale": 2, "repair": "none"}


class Server:
    """`python -m web` on a free port of this machine."""

    def __init__(self, folder: Path, port: int = 0, **settings: Any) -> None:
        changes = [f"--set={key}={json.dumps(value)}" for key, value in {"data": str(folder), **settings}.items()]
        self.log = folder.with_name(f"{folder.name}.log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "web", "--port", str(port), *changes], cwd=ROOT, stderr=log, stdout=log
            )
        end = time.monotonic() + START_SECONDS
        while (found := re.search(r"http://127.0.0.1:(\d+)", self.log.read_text())) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self, kill: bool = False) -> None:
        """As a service manager does, or all at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self.process.wait(30)


class Visitor:
    """One browser's worth of cookies."""

    def __init__(self, server: Server) -> None:
        self.url = f"{server.url}/api/v1"
        self.session = requests.Session()

    def post(self, data: bytes, settings: dict[str, Any] | None = None, **more: str) -> requests.Response:
        fields = more if settings is None else {"settings": json.dumps(settings), **more}
        return self.session.post(f"{self.url}/jobs", data=fields, files={"picture": ("a.png", data)}, timeout=60)

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.url}/{path}", timeout=60)

    def delete(self, id: str) -> int:
        return self.session.delete(f"{self.url}/jobs/{id}", timeout=60).status_code

    def start(self, data: bytes, settings: dict[str, Any], **more: str) -> str:
        """A job that has to be taken; its id."""
        answer = self.post(data, settings, **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def until(self, id: str, *states: str, seconds: float = 120) -> dict[str, Any]:
        """The job, when it is in one of these states."""
        end = time.monotonic() + seconds
        while True:
            job: dict[str, Any] = self.get(f"jobs/{id}").json()
            if job["state"] in states:
                return job
            assert time.monotonic() < end, job
            time.sleep(0.1)

    def until_learning(self, id: str, seconds: float = 120) -> dict[str, Any]:
        """The job, when its curve has begun."""
        end = time.monotonic() + seconds
        while True:
            job: dict[str, Any] = self.get(f"jobs/{id}").json()
            if job["state"] == "running" and job["progress"] and job["progress"]["curve"]:
                return job
            assert job["state"] in ("queued", "running"), job
            assert time.monotonic() < end, job
            time.sleep(0.1)


def picture(side: int = 40, seed: int = 0, format: str = "PNG", **more: Any) -> bytes:
    """A file of smooth random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 8 + 2, side // 8 + 2, 3), np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(coarse).resize((side, side), PIL.Image.Resampling.BICUBIC).save(stream, format, **more)
    return stream.getvalue()


class Inline:
    """In place of the processes of JobManager and QuickWorker: answers at once, and gives every job up."""

    workers = 1
    store: JobStore

    def __init__(self) -> None:
        self.catalogue = worker.catalogue()

    def call(self, who: str, function: str, *arguments: Any) -> Any:
        return getattr(worker, function)(*arguments)

    def submit(self, job: Job) -> None:
        job.details["error"] = "not in this test"
        self.store.update(dataclasses.replace(job, state="failed", ended=time.time()))

    def remove(self, id: str) -> None:
        self.store.remove(id)

    def running_job(self, id: str) -> None:
        return None

    def wait_for_change(self, id: str, version: int, timeout: float) -> int:
        return -1

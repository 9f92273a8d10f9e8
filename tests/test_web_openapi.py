"""The API against its own description, with requests that schemathesis makes up."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import waitress.server
from flask import Flask
from jsonschema import Draft202012Validator

from tests.serving import Inline, picture
from web import create_app, work
from web.config import Config
from web.openapi import document
from web.tasks import Task

HOOKS = """
import hypothesis.strategies, schemathesis
from tests.test_web_openapi import PICTURES
schemathesis.openapi.format("binary", hypothesis.strategies.sampled_from(PICTURES))
"""
# What fits the description need not fit the picture (422) or the queue (429), or be there yet (404, 409).
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "409", "422", "429"]
"""
COOKIE = f"zssr_client={'a' * 43}"
PICTURES = [picture(24, seed, format) for seed, format in enumerate(("PNG", "JPEG", "WEBP", "GIF"))]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    engine = Inline()
    app = create_app({"data": str(tmp_path_factory.mktemp("web"))}, engine)
    engine.table = app.extensions["zssr"]["table"]
    return app


@pytest.fixture(scope="module")
def url(app: Flask) -> Iterator[str]:
    server: Any = waitress.server.create_server(app, host="127.0.0.1", port=0, threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{server.effective_port}/api/v1/openapi.json"
    server.close()


def check(url: str, folder: Path, examples: int) -> None:
    (folder / "hooks.py").write_text(HOOKS)
    (folder / "schemathesis.toml").write_text(SETTINGS)
    root = Path(__file__).parent.parent
    found = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", url, "--phases", "coverage,fuzzing,stateful",
            "--max-examples", str(examples), "--header", f"Cookie: {COOKIE}", "--no-color", "--seed", "1",
        ],
        cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{folder}:{root}", "SCHEMATHESIS_HOOKS": "hooks"},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert re.search(r"Tested: +11", found.stdout), found.stdout


def test_it_is_as_described(url: str, tmp_path: Path) -> None:
    check(url, tmp_path, 8)


@pytest.mark.slow
def test_it_is_as_described_whatever_is_asked(url: str, tmp_path: Path) -> None:
    check(url, tmp_path, 500)


def test_a_finished_job_is_as_described(app: Flask) -> None:
    client = app.test_client()
    sent = {"picture": (io.BytesIO(PICTURES[0]), "a.png"), "settings": '{"scale": 2, "num_epochs": 0}'}
    told = client.post("/api/v1/jobs", data=sent)
    assert told.status_code == 202
    table = app.extensions["zssr"]["table"]
    job = table.get(told.json["id"])
    done = work.restore_job(Task(job.id, 1, PICTURES[0], job.held["settings"], 60, 1, 10_000, False))
    for name, data in done.files.items():
        table.write(job.id, name, data)
    job.held["outcome"] = done.held
    table.change(dataclasses.replace(job, state="done", ended=time.time()))
    described = document(Config())
    schema = {**described["components"]["schemas"]["Job"], "components": described["components"]}
    Draft202012Validator(schema).validate(client.get(f"/api/v1/jobs/{job.id}").json)
    for format in ("png", "jpg", "webp"):
        assert client.get(f"/api/v1/jobs/{job.id}/result?format={format}").status_code == 200

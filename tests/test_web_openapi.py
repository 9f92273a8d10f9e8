"""The API against its own description, with requests that schemathesis makes up."""

from __future__ import annotations

import dataclasses
import io
import json
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
from web import create_app, worker
from web.config import Config
from web.openapi import document
from web.protocol import WebTask
from web.store import JobStore
from zssr.damages import mosaic

HOOKS = """
import hypothesis.strategies, schemathesis
from tests.test_web_openapi import PICTURES
from schemathesis.core.parameters import ParameterLocation
from schemathesis.transport.serialization import Binary

schemathesis.openapi.format("binary", hypothesis.strategies.sampled_from(PICTURES))

@schemathesis.hook
def filter_case(context, case):
    '''Schemathesis takes every form with a file for wrong where it meant to make a wrong one, without a look at what
    came of it: a picture and nothing else is right.'''
    part = case.meta and case.meta.components.get(ParameterLocation.BODY)
    is_right = isinstance(case.body, dict) and list(case.body) == ["picture"] and isinstance(
        case.body["picture"], (bytes, Binary))
    return not (part and part.mode.is_negative and is_right)
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
    workers = Inline()
    app = create_app({"data": str(tmp_path_factory.mktemp("web"))}, workers)
    workers.store = app.extensions["zssr"].store
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


@pytest.mark.parametrize("area", [None, "8,8,12,12:4"])
def test_a_finished_job_is_as_described(app: Flask, area: str | None) -> None:
    client = app.test_client()
    settings = {"scale": 2, "num_epochs": 0, **({"mosaic": area} if area else {})}
    sent = {"picture": (io.BytesIO(PICTURES[0]), "a.png"), "settings": json.dumps(settings)}
    created = client.post("/api/v1/jobs", data=sent)
    assert created.status_code == 202
    store: JobStore = app.extensions["zssr"].store
    job = store.get(created.json["id"])
    assert job is not None
    result = worker.restore_job(WebTask(job.id, 1, PICTURES[0], job.details["settings"], 60, 1, 10_000, False))
    for name, data in result.files.items():
        store.write(job.id, name, data)
    job.details["outcome"] = result.outcome
    store.update(dataclasses.replace(job, state="done", ended=time.time()))
    described = document(Config())
    schema = {**described["components"]["schemas"]["Job"], "components": described["components"]}
    payload = client.get(f"/api/v1/jobs/{job.id}").json
    Draft202012Validator(schema).validate(payload)
    assert payload["outcome"]["warnings"] == ([mosaic.KIND.operator.warning] if area else [])
    for format in ("png", "jpg", "webp"):
        assert client.get(f"/api/v1/jobs/{job.id}/result?format={format}").status_code == 200

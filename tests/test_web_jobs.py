"""The online demo's jobs: made, cancelled, kept over restarts, apart from each other."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import requests

import zssr
from tests.serving import LONG, ROOT, SHORT, Server, Visitor, picture
from zssr.files import encode


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("web") / "data"
    server = Server(folder, max_waiting=4, max_jobs_per_client=2, max_pixels=90_000)
    yield server
    server.stop()


@pytest.fixture
def visitor(server: Server) -> Iterator[Visitor]:
    visitor = Visitor(server)
    yield visitor
    for job in visitor.get("jobs").json()["jobs"]:
        visitor.delete(job["id"])


def test_a_result_is_the_one_of_the_command_line(visitor: Visitor) -> None:
    data = picture()
    id = visitor.start(data, {**SHORT, "seed": 3})
    job = visitor.until(id, "done", "failed")
    assert job["state"] == "done", job
    expected = zssr.restore(data, seed=3, **SHORT)
    assert visitor.get(f"jobs/{id}/result").content == encode(expected.image, "png")[0]
    assert expected.learned
    assert job["outcome"]["words"] == expected.words
    assert job["outcome"]["unknown"] == expected.unknown
    assert job["out_size"] == job["outcome"]["out_size"] == [80, 80]
    sidecar = visitor.get(f"jobs/{id}/sidecar").json()
    assert sidecar["settings"] == {**SHORT, "seed": 3}
    for format, kind in (("jpg", "JPEG"), ("webp", "WEBP")):
        answer = visitor.get(f"jobs/{id}/result?format={format}")
        assert PIL.Image.open(io.BytesIO(answer.content)).format == kind
        assert f"a_enlarged.{format}" in answer.headers["Content-Disposition"]
    for view, size in (("input", 40), ("before", 80), ("after", 80), ("spread", 80), ("thumbnail", 80)):
        assert PIL.Image.open(io.BytesIO(visitor.get(f"jobs/{id}/views/{view}").content)).size == (size, size), view
    assert visitor.delete(id) == 204
    assert visitor.get(f"jobs/{id}").status_code == 404


def test_place_and_camera_are_dropped_unless_asked(visitor: Visitor) -> None:
    exif = PIL.Image.Exif()
    exif[0x010F] = "a camera"
    data = picture(format="JPEG", exif=exif)
    for choice, expected in (("drop", None), ("keep", "a camera")):
        id = visitor.start(data, {"num_epochs": 0, "scale": 2}, exif=choice)
        visitor.until(id, "done")
        result = PIL.Image.open(io.BytesIO(visitor.get(f"jobs/{id}/result").content))
        assert result.getexif().get(0x010F) == expected
        visitor.delete(id)


def test_a_random_part_is_enlarged_eight_times(visitor: Visitor) -> None:
    data = picture(200)
    id = visitor.start(data, {"num_epochs": 0}, part="random")
    job = visitor.until(id, "done")
    assert job["size"] == [64, 64]
    assert job["out_size"] == [512, 512]
    part = job["part"]
    shown = PIL.Image.open(io.BytesIO(visitor.get(f"jobs/{id}/views/input").content))
    box = (part["x"], part["y"], part["x"] + part["width"], part["y"] + part["height"])
    assert shown.tobytes() == PIL.Image.open(io.BytesIO(data)).crop(box).tobytes()


def test_progress_and_previews_are_streamed(visitor: Visitor) -> None:
    id = visitor.start(picture(), LONG)
    visitor.until_learning(id)
    fractions, previews = [], set()
    with visitor.session.get(f"{visitor.url}/jobs/{id}/events", stream=True, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("data: "):
                progress = json.loads(line.removeprefix("data: "))["progress"]
                fractions.append(progress["fraction"])
                if progress["preview"]:
                    shown = visitor.get(f"jobs/{id}/views/preview?v={progress['preview']}")
                    assert PIL.Image.open(io.BytesIO(shown.content)).size == (80, 80)
                    previews.add(shown.content)
                if len(previews) == 3:
                    break
    assert fractions == sorted(fractions)
    assert fractions[0] < fractions[-1]


def test_cancel_frees_the_worker_within_a_second(visitor: Visitor) -> None:
    running, waiting = visitor.start(picture(), LONG), visitor.start(picture(seed=1), SHORT)
    visitor.until_learning(running)
    assert visitor.get(f"jobs/{waiting}").json()["state"] == "queued"
    begin = time.monotonic()
    assert visitor.delete(running) == 204
    visitor.until(waiting, "running", "done", seconds=10)
    assert time.monotonic() - begin < 1.5  # a second, and what it takes to ask
    assert visitor.get(f"jobs/{running}").status_code == 404
    visitor.until(waiting, "done")


def test_a_stream_tells_of_removal(visitor: Visitor) -> None:
    id = visitor.start(picture(), LONG)
    seen: list[str] = []

    def watch() -> None:
        with visitor.session.get(f"{visitor.url}/jobs/{id}/events", stream=True, timeout=60) as answer:
            seen.extend(line for line in answer.iter_lines(decode_unicode=True) if line.startswith("event"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    visitor.until_learning(id)
    visitor.delete(id)
    watcher.join(20)
    assert seen[-1] == "event: removed"
    assert set(seen[:-1]) == {"event: job"}


def test_two_people_do_not_see_each_other(server: Server, visitor: Visitor) -> None:
    other = Visitor(server)
    mine, theirs = visitor.start(picture(), SHORT), other.start(picture(seed=1), SHORT)
    assert [job["id"] for job in visitor.get("jobs").json()["jobs"]] == [mine]
    assert [job["id"] for job in other.get("jobs").json()["jobs"]] == [theirs]
    for stranger, id in ((visitor, theirs), (other, mine), (Visitor(server), mine)):
        for path in ("", "/events", "/result", "/sidecar", "/views/before"):
            assert stranger.get(f"jobs/{id}{path}").status_code == 404
        assert stranger.delete(id) == 404
    for who, id in ((visitor, mine), (other, theirs)):
        assert who.until(id, "done", "failed")["state"] == "done"
        assert who.get(f"jobs/{id}/result").status_code == 200
    other.delete(theirs)


def test_a_full_queue_says_when_to_come_again(server: Server, visitor: Visitor) -> None:
    other, third = Visitor(server), Visitor(server)
    held = [(who, who.start(picture(), LONG)) for who in (visitor, visitor)]
    answer = visitor.post(picture(), LONG)
    assert answer.status_code == 429, "two of one browser are the most"
    assert int(answer.headers["Retry-After"]) > 0
    held += [(who, who.start(picture(), LONG)) for who in (other, other)]
    positions = [who.get(f"jobs/{id}").json()["position"] for who, id in held[1:]]
    assert positions in ([0, 1, 2], [1, 2, 3]), "the first may not have begun yet"
    answer = third.post(picture(), LONG)
    assert answer.status_code == 429
    assert "4 pictures wait or run" in answer.json()["error"]
    for who, id in held:
        assert who.delete(id) == 204
    assert third.until(third.start(picture(), SHORT), "done", "failed")["state"] == "done"


def test_pages_of_other_sites_cannot_make_a_browser_ask(server: Server, visitor: Visitor) -> None:
    id = visitor.start(picture(), SHORT)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://elsewhere.example"}):
        answer = visitor.session.delete(f"{visitor.url}/jobs/{id}", headers=headers, timeout=10)
        assert answer.status_code == 403
        files = {"picture": picture()}
        assert requests.post(f"{visitor.url}/jobs", files=files, headers=headers, timeout=10).status_code == 403
    assert visitor.until(id, "done", "failed")["state"] == "done"


def test_training_that_diverges_is_told_of(visitor: Visitor) -> None:
    settings = {"scale": 2, "lr": 1, "model_depth": 64, "model_width": 16, "crop_size": 16, "num_epochs": 60}
    id = visitor.start(picture(), settings)
    job = visitor.until(id, "done", "failed")
    assert job["state"] == "done", job["error"]
    assert not job["outcome"]["learned"]
    assert visitor.get(f"jobs/{id}/sidecar").json()["training"]


def test_settings_that_are_not_the_visitors_are_refused(visitor: Visitor) -> None:
    for settings, words in (
        ({"device": "cuda"}, "device cannot be set here"),
        ({"mask": "/etc/passwd"}, "mask cannot be set here"),
        ({"kernel": "/etc/passwd"}, "must be auto, bicubic"),
        ({"mosaic": "/etc/passwd:8"}, "files cannot be named"),
        ({"prior": "../x.pth"}, "must be a name"),
        ({"prior": "nothing"}, "must be one of"),
        ({"scale": 0.5}, "smaller than 1"),
        ({"scael": 2}, "did you mean"),
        ({"scale": 32, "num_epochs": 0, "size": "9000x9000"}, "give one"),
        ({"batch_size": 200, "crop_size": 1000}, "choose smaller"),
        ({"mosaic": "500,500,64,64:8"}, "reaches outside"),
        ({"mosaic": "+".join(["1,1,9,9:3"] * 17)}, "at most 16 areas"),
        ({"mosaic": "+".join(["1,1,9,9:3"] * 900)}, "longer than 4000"),
        ([], "one JSON object"),
    ):
        answer = visitor.post(picture(), settings)  # type: ignore[arg-type]
        assert answer.status_code == 422, settings
        assert words in answer.json()["error"]
    assert "choose a smaller scale" in visitor.post(picture(280), {"scale": 32}).json()["error"]
    assert visitor.post(picture(320), SHORT).status_code == 422, "more pixels than this server takes"


def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    first = Server(tmp_path / "data")
    try:
        visitor = Visitor(first)
        done = visitor.start(picture(), SHORT)
        visitor.until(done, "done")
        result = visitor.get(f"jobs/{done}/result").content
        longer = {**SHORT, "num_epochs": 150}
        running, waiting = visitor.start(picture(seed=1), longer), visitor.start(picture(seed=2), SHORT)
        visitor.until_learning(running)
        first.stop(kill=True)
        again = Server(tmp_path / "data", port=first.port)
        try:
            assert visitor.get(f"jobs/{done}/result").content == result
            for id, seed, settings in ((running, 1, longer), (waiting, 2, SHORT)):
                assert visitor.until(id, "done", "failed")["state"] == "done"
                expected = encode(zssr.restore(picture(seed=seed), **settings).image, "png")[0]
                assert visitor.get(f"jobs/{id}/result").content == expected
        finally:
            again.stop()
    finally:
        first.stop()


def test_a_job_that_takes_too_long_and_results_that_are_old_end(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", max_seconds=3, lifetime_hours=4 / 3600)
    try:
        visitor = Visitor(server)
        id = visitor.start(picture(), LONG)
        job = visitor.until(id, "failed", "done", seconds=60)
        assert "longest that a job may take" in job["error"]
        assert (tmp_path / "data" / "jobs" / id).is_dir()
        end = time.monotonic() + 90
        while visitor.get(f"jobs/{id}").status_code != 404:
            assert time.monotonic() < end
            time.sleep(0.5)
        assert not (tmp_path / "data" / "jobs" / id).exists()
    finally:
        server.stop()


@pytest.mark.slow
def test_an_existing_scheduler(tmp_path: Path) -> None:
    """Of another process; its worker joins only when the job waits already."""
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    quiet["env"] = {**os.environ, "PYTHONPATH": str(ROOT)}
    python = [sys.executable, "-m"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    started = [
        subprocess.Popen([*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
                          "--no-dashboard"], **quiet)
    ]  # fmt: skip
    server = None
    try:
        server = Server(tmp_path / "data", scheduler=address)
        visitor = Visitor(server)
        assert visitor.get("health").status_code == 503
        id = visitor.start(picture(), {**SHORT, "num_epochs": 20})
        started.append(
            subprocess.Popen([*python, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard",
                              "--local-directory", str(tmp_path)], **quiet)
        )  # fmt: skip
        assert visitor.until(id, "done", "failed")["state"] == "done"
        assert (
            visitor.get(f"jobs/{id}/result").content
            == encode(zssr.restore(picture(), **{**SHORT, "num_epochs": 20}).image, "png")[0]
        )
    finally:
        if server is not None:
            server.stop()
        for process in reversed(started):
            process.terminate()
            process.wait(20)

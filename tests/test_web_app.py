"""The demo as a Flask application: headers, hosts, cookies, settings, figures."""

from __future__ import annotations

import dataclasses
import html
import io
import re
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.serving import ROOT, Inline, picture
from web import create_app, worker
from web.config import IN_VIEW, Config, controls, make_config, read_config, visitor_specs
from web.protocol import UploadCheck, WebTask
from web.store import Job, JobStore
from web.visitors import COOKIE
from zssr.damages import KINDS, Blur
from zssr.errors import SettingsError
from zssr.files import encode, load
from zssr.image import Image, as_stored


def made(folder: Path, **config: Any) -> Flask:
    workers = Inline()
    app = create_app({"data": str(folder), **config}, workers)
    workers.store = app.extensions["zssr"].store
    return app


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return made(tmp_path).test_client()


def send(client: FlaskClient, **headers: str) -> Any:
    return client.post("/api/v1/jobs", data={"picture": (io.BytesIO(picture()), "a.png")}, headers=headers)


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/v1/limits", "/nothing", "/examples/cat.png", "/metrics"])
def test_every_answer_has_the_headers_that_keep_a_page_safe(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in headers


def test_the_cookie_comes_with_the_first_picture_and_stays(client: FlaskClient) -> None:
    diagnosed = client.post("/api/v1/diagnose", data={"picture": (io.BytesIO(picture()), "a.png")})
    assert diagnosed.status_code == 200
    assert "Set-Cookie" not in diagnosed.headers
    first, second = send(client), send(client)
    words = first.headers["Set-Cookie"]
    assert words.startswith(COOKIE)
    assert "HttpOnly" in words
    assert "SameSite=Lax" in words
    assert "Set-Cookie" not in second.headers
    assert len(client.get("/api/v1/jobs").json["jobs"]) == 2


def test_behind_https_cookies_are_for_https_only(tmp_path: Path) -> None:
    answer = send(made(tmp_path, secure=True).test_client())
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_hosts_that_are_not_ours(tmp_path: Path) -> None:
    client = made(tmp_path, trusted_hosts=["demo.example"]).test_client()
    for host, status in (("demo.example", 200), ("127.0.0.1:5000", 200), ("evil.example", 400)):
        assert client.get("/api/v1/limits", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize(("proxies", "count"), [(0, 3), (1, 1)])
def test_addresses_behind_a_proxy(tmp_path: Path, proxies: int, count: int) -> None:
    app = made(tmp_path, trusted_proxies=proxies)
    for number in range(3):
        assert send(app.test_client(), **{"X-Forwarded-For": f"2001:db8:{number}::1"}).status_code == 202
    send(app.test_client(), **{"X-Forwarded-For": "2001:db8:0::2"})  # of the same house as the first
    store: JobStore = app.extensions["zssr"].store
    addresses = [job.address for job in store._select("true")]
    assert len(set(addresses)) == (3 if proxies else 1)


def test_figures_for_prometheus(client: FlaskClient) -> None:
    client.get("/api/v1/limits")
    text = client.get("/metrics").text
    assert 'zssr_request_seconds_count{endpoint="api.limits",status="200"} 1.0' in text
    assert "zssr_jobs_open 0.0" in text


def test_the_page_has_a_control_for_every_setting_of_visitors(client: FlaskClient) -> None:
    page = client.get("/").text
    assert {control["name"] for group in controls({}) for control in group["controls"]} == set(visitor_specs())
    for name in visitor_specs():
        assert f'data-setting="{name}"' in page
    assert client.get("/jobs/whatever").text == page


def test_controls_are_shown_in_one_order(client: FlaskClient) -> None:
    page = client.get("/").text
    names = [control["name"] for group in controls({}) for control in group["controls"]]
    assert tuple(names[: len(IN_VIEW)]) == IN_VIEW
    assert re.findall(r'data-setting="(\w+)"', page) == names


def test_a_warning_of_a_damage_stands_at_its_setting_and_with_what_was_found(client: FlaskClient) -> None:
    warnings = {kind.name: kind.operator.warning for kind in KINDS if kind.operator.warning}
    assert warnings
    page = html.unescape(client.get("/").text)
    for name, spec in visitor_specs().items():
        assert (f'data-testid="{name}-warning">{warnings.get(spec.repairs, "")}<' in page) == (spec.repairs in warnings)
    pixelated = (ROOT / "examples" / "astronaut_pixelated.png").read_bytes()
    for data, expected in ((pixelated, ["mosaic"]), (picture(), [])):
        found = client.post("/api/v1/diagnose", data={"picture": (io.BytesIO(data), "a.png")}).json
        assert found["warnings"] == [warnings[name] for name in expected]


@pytest.mark.parametrize("path", ["diagnose", "jobs"])
@pytest.mark.parametrize(("names", "shown"), [
    (["more"], "more"), (["Picture"], "Picture"), (["x" * 100], "x" * 40), (["a\u202e\x85b"], "ab"),
    ([f"many{number:03}" for number in range(300)], "many000"),
])  # fmt: skip
def test_a_field_that_is_not_known_is_named(client: FlaskClient, path: str, names: list[str], shown: str) -> None:
    fields = {"picture": (io.BytesIO(picture()), "a.png"), **dict.fromkeys(names, "1")}
    answer = client.post(f"/api/v1/{path}", data=fields)
    assert answer.status_code == 400
    assert answer.json["error"].startswith(f"unknown field '{shown}'; there are ")


def test_a_part_without_a_name(client: FlaskClient) -> None:
    parts = (
        b'--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; name="more"\r\n\r\n'
    )
    answer = client.post("/api/v1/jobs", data=parts + b"1\r\n--x--\r\n", content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 400
    assert answer.json["error"].startswith("unknown field ''; there are ")


def test_the_picture_is_a_file_and_settings_are_none(client: FlaskClient) -> None:
    for fields in (
        {"picture": "words", "settings": (io.BytesIO(), "b")},
        {"picture": (io.BytesIO(picture()), "a.png"), "settings": (io.BytesIO(), "b")},
    ):
        answer = client.post("/api/v1/jobs", data=fields)
        assert answer.status_code == 400
        assert "as a file" in answer.json["error"]


def test_examples_are_those_that_are_listed(client: FlaskClient) -> None:
    assert client.get("/examples/cat.png").status_code == 200
    for name in ("compare.py", "..%2fREADME.md", "README.md"):
        assert client.get(f"/examples/{name}").status_code == 404


def test_results_that_are_kept_have_a_limit(tmp_path: Path) -> None:
    client = made(tmp_path, max_kept_per_client=2).test_client()
    ids = [send(client).json["id"] for _ in range(2)]
    answer = send(client)
    assert answer.status_code == 429
    assert "delete one" in answer.json["error"]
    assert client.delete(f"/api/v1/jobs/{ids[0]}").status_code == 204
    assert send(client).status_code == 202


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    answer = send(made(tmp_path, min_free_MB=1e9).test_client())
    assert answer.status_code == 503
    assert "disk is full" in answer.json["error"]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"max_mb": 1}, "did you mean 'max_MB'"),
        ({"max_MB": "1"}, "must be a number"),
        ({"max_MB": 0}, "at least"),
        ({"workers": True}, "a whole number"),
        ({"secure": 1}, "true or false"),
        ({"trusted_hosts": [1]}, "list of names"),
    ],
)
def test_mistakes_in_the_servers_settings(data: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_config(data)


def test_settings_from_a_file_and_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    path.write_text('{"max_MB": 4, "workers": 2}')
    assert read_config(str(path), ["workers=3", "data=/tmp/x"]) == Config(max_MB=4, workers=3, data="/tmp/x")
    with pytest.raises(SettingsError, match="KEY=VALUE"):
        read_config(None, ["workers"])


def test_the_store_keeps_jobs_and_forgets_them_wholly(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    for number in range(3):
        store.add(Job(f"id{number}", "me", "here", "queued", float(number), details={"name": "a"}), b"data")
    last = store.get("id2")
    assert last is not None
    assert store.ahead_of(last) == 2
    assert store.begin("id0", 5.0)
    assert not store.begin("id0", 6.0), "it waits no more"
    job = store.get("id0")
    assert job is not None
    assert (job.state, job.started, job.attempts, job.details) == ("running", 5.0, 1, {"name": "a"})
    store.update(dataclasses.replace(job, state="done", ended=time.time() - 100))
    assert [old.id for old in store.ended_before(time.time())] == ["id0"]
    assert store.count_open() == 2
    assert store.count_kept(client="me") == 3
    store.remove("id0")
    assert not store.write("id0", "late", b"x")
    assert not store.update(job)
    store.close()
    again = JobStore(tmp_path)
    (tmp_path / "jobs" / "nobody's").mkdir()
    again.sweep()
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == ["id1", "id2"]
    assert again.read("id1", "input") == b"data"


def test_the_kernel_that_was_undone_is_a_picture_of_the_result() -> None:
    soft = Blur("gaussian:1.6").degrade(load(ROOT / "examples" / "cat.png").pixels[None])
    data = encode(Image(as_stored(soft, 255)[0]), "png")[0]
    for kernel, is_shown in (("auto", True), ("bicubic", False)):
        settings = {"kernel": kernel, "num_epochs": 0}
        result = worker.restore_job(WebTask("a", 1, data, settings, 60, 1, 1_000_000, False))
        assert result.outcome["kernel"] is is_shown
        assert ("kernel.png" in result.files) is is_shown
    assert "softness" in worker.diagnose(UploadCheck(data, 1, 1_000_000, 1_000_000, {}))["words"]

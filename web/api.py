"""The JSON API under /api/v1; described by web.openapi."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, current_app, g, jsonify, request, url_for
from werkzeug.exceptions import TooManyRequests

from web.config import RANDOM_PART_SCALE, RESULT_FORMATS, Config, visitor_settings
from web.engine import Busy, Engine
from web.openapi import document
from web.table import OPEN, Job, Table
from web.tasks import Look
from zssr.errors import SettingsError
from zssr.formats import FORMATS, READABLE
from zssr.version import __version__

api = Blueprint("api", __name__, url_prefix="/api/v1")

COOKIE = "zssr_client"
COOKIE_SECONDS = 365 * 24 * 3600
STREAM_SECONDS = 60  # after which a browser has to ask again; so a lost one does not hold a thread for long
STREAM_PAUSE = 0.25  # between two events
RETRY_SECONDS = 10  # when the queue is full
_PNG, _JPEG = FORMATS["png"].mime, FORMATS["jpg"].mime
# name of a view -> file, and its type
VIEWS = {
    "input": ("source.png", _PNG),
    "before": ("before.png", _PNG),
    "after": ("result.png", _PNG),
    "spread": ("spread.png", _PNG),
    "thumbnail": ("thumbnail.jpg", _JPEG),
}
LIVE_VIEWS = ("preview", "preview-before", "thumbnail")
NAME_LENGTH = 80
LONGEST_SETTINGS = 4000

_adding = threading.Lock()
log = logging.getLogger("zssr.web")


# ------------------------------------------------------------------------------------------- jobs


@api.post("/diagnose")
def diagnose() -> Response:
    """What happened to a picture; nothing is kept."""
    data, _ = _upload(set())
    told = _engine().look(g.address, "diagnose", _look(data))
    told["thumbnail"] = f"data:{_PNG};base64,{base64.b64encode(told['thumbnail']).decode()}"
    return jsonify(told)


@api.post("/jobs")
def create() -> tuple[Response, int, dict[str, str]]:
    """A picture to be restored."""
    data, form = _upload({"settings", "part", "exif"})
    config, table, engine = _config(), _table(), _engine()
    _check_room()
    settings = _settings(form.get("settings"))
    part, exif = form.get("part", "whole"), form.get("exif", "drop")
    if part not in ("whole", "random") or exif not in ("drop", "keep"):
        raise SettingsError("part must be whole or random, exif drop or keep")
    if part == "random":
        if {"scale", "size"} & set(settings):
            raise SettingsError(f"settings: a random part is enlarged {RANDOM_PART_SCALE} times; leave scale and size")
        settings = {"quality": "fast", **settings, "scale": RANDOM_PART_SCALE}
    side = config.random_part_side if part == "random" else 0
    seen = engine.look(g.address, "check", _look(data, settings, side))
    held = {
        "name": _name(request.files["picture"].filename), "settings": settings, "part": seen["part"], "exif": exif,
        "size": seen["size"], "out_size": seen["out_size"], "error": None, "outcome": None,
    }  # fmt: skip
    job = Job(secrets.token_urlsafe(24), g.client, g.address, "queued", time.time(), held=held)
    with _adding:
        _check_room()  # others may have come during the look
        table.add(job, seen["data"] or data)
    engine.submit(job)
    log.info("job=%s queued size=%dx%d bytes=%d", job.id, *seen["size"], len(data))
    return jsonify(_told(job)), 202, {"Location": url_for("api.state", id=job.id)}


@api.get("/jobs")
def own_jobs() -> Response:
    """The client's own, the newest first."""
    jobs = _table().of_client(g.client) if g.client else []
    return jsonify(jobs=[_told(job) for job in jobs])


@api.get("/jobs/<id>")
def state(id: str) -> Response:
    """Of a job."""
    return jsonify(_told(_own(id)))


@api.delete("/jobs/<id>")
def remove(id: str) -> tuple[str, int]:
    """Stop and forget it."""
    _engine().remove(_own(id).id)
    return "", 204


@api.get("/jobs/<id>/events")
def events(id: str) -> Response:
    """The state at every change, as server-sent events."""
    _own(id)
    own, client = _own_things(), g.client
    engine, table, streams = own["engine"], own["table"], own["streams"]
    if not streams.acquire(blocking=False):
        _too_many("too many browsers are watching just now; ask for the state instead")

    def stream() -> Iterator[str]:
        version, end = -2, time.monotonic() + STREAM_SECONDS
        yield "retry: 1000\n\n"
        while time.monotonic() < end:
            version = engine.wait(id, version, 10)
            job = table.get(id)
            if job is None or job.client != client:
                yield "event: removed\ndata: {}\n\n"
                return
            yield f"event: job\ndata: {json.dumps(_told(job, own))}\n\n"
            if job.state not in OPEN:
                return
            time.sleep(STREAM_PAUSE)

    response = Response(stream(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(streams.release)
    return response


# ---------------------------------------------------------------------------------------- results


@api.get("/jobs/<id>/result")
def result(id: str) -> Response:
    """The restored picture as a file."""
    format, encoding = _choice("format", RESULT_FORMATS), _choice("encoding", ("binary", "base64"))
    job = _finished(id)
    data = _table().read(id, f"result.{format}")
    if data is None:
        data = _engine().look(g.address, "convert", _table().read(id, "result.png") or b"", format)
        _table().write(id, f"result.{format}", data)
    if encoding == "base64":
        return Response(base64.b64encode(data), mimetype="text/plain")
    return _download(data, FORMATS[format].mime, f"{_result_stem(job)}.{format}")


@api.get("/jobs/<id>/sidecar")
def sidecar(id: str) -> Response:
    """Settings, times, training curve, agreement."""
    job = _finished(id)
    return _download(_table().read(id, "sidecar.json") or b"{}", "application/json", f"{_result_stem(job)}.json")


@api.get("/jobs/<id>/views/<view>")
def view(id: str, view: str) -> Response:
    """A picture to be looked at on the page."""
    _own(id)
    live = _engine().live(id)
    data, mime = None, _JPEG
    if live is not None and view in LIVE_VIEWS:
        data = live.pictures.get(view)
    elif view in VIEWS:
        name, mime = VIEWS[view]
        data = _table().read(id, name)
    if data is None:
        abort(404)
    return Response(data, mimetype=mime)


# --------------------------------------------------------------------------------------- the server


@api.get("/limits")
def limits() -> Response:
    """What the server takes."""
    return jsonify(limits_of(_config()))


@api.get("/health")
def health() -> Response:
    """Whether it works."""
    workers = _engine().workers
    said = jsonify(
        status="ok" if workers else "no workers", workers=workers, waiting=_table().count_open(), version=__version__
    )
    said.status_code = 200 if workers else 503
    return said


@api.get("/openapi.json")
def openapi() -> Response:
    """The description of this API."""
    return jsonify(document(_config()))


def limits_of(config: Config) -> dict[str, Any]:
    """What visitors should know of the server's settings."""
    names = (
        "max_MB", "max_pixels", "max_output_pixels", "max_seconds", "max_waiting", "max_jobs_per_client",
        "lifetime_hours",
    )  # fmt: skip
    return {
        **{name: getattr(config, name) for name in names},
        "formats": list(READABLE),
        "scale_of_random_part": RANDOM_PART_SCALE,
        "side_of_random_part": config.random_part_side,
    }


# ------------------------------------------------------------------------------------ who is asking


@api.before_request
def _identify() -> None:
    """Who asks, and whether a page of another site made the browser ask."""
    token = request.cookies.get(COOKIE, "")
    g.token = token if re.fullmatch(r"[\w-]{43}", token) else None
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    if changes and not _same_site():
        abort(403, "only pages of this server may do this")
    g.new = g.token is None and request.method == "POST"
    if g.new:
        g.token = secrets.token_urlsafe(32)
    g.client = hashlib.sha256(g.token.encode()).hexdigest() if g.token else ""
    g.address = hashlib.sha256(_network(request.remote_addr or "").encode()).hexdigest()


@api.after_request
def _remember(response: Response) -> Response:
    # With a job alone: of two answers at the same time the later one would take the earlier one's jobs away.
    if g.get("new") and request.endpoint == "api.create" and response.status_code < 400:
        response.set_cookie(
            COOKIE, g.token, max_age=COOKIE_SECONDS, httponly=True, samesite="Lax", secure=_config().secure, path="/"
        )
    return response


def _network(address: str) -> str:
    """A house has one IPv4 address, or 2 ** 64 of version 6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64 if parsed.version == 6 else 32), strict=False))


def _same_site() -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _own(id: str) -> Job:
    """The job, if it is the client's; what is another's looks as if it were not there."""
    job = _table().get(id)
    if job is None or not secrets.compare_digest(job.client, g.client):
        abort(404)
    return job


def _finished(id: str) -> Job:
    job = _own(id)
    if job.state != "done":
        abort(409, f"the job is {job.state}; there is no result")
    return job


# ------------------------------------------------------------------------------------------- helpers


def _own_things() -> dict[str, Any]:
    things: dict[str, Any] = current_app.extensions["zssr"]
    return things


def _config() -> Config:
    config: Config = _own_things()["config"]
    return config


def _table() -> Table:
    table: Table = _own_things()["table"]
    return table


def _engine() -> Engine:
    engine: Engine = _own_things()["engine"]
    return engine


def _upload(fields: set[str]) -> tuple[bytes, dict[str, str]]:
    """The picture and the other fields of a form, of which only these are known."""
    if request.mimetype != "multipart/form-data":
        abort(415)
    unknown = (set(request.form) - fields) | (set(request.files) - {"picture"})
    if unknown:
        abort(400, f"unknown field '{min(unknown)[:40]}'; there are {', '.join(sorted(fields | {'picture'}))}")
    repeated = [name for name in (*request.form, *request.files) if len(request.values.getlist(name)) > 1]
    if repeated or len(request.files.getlist("picture")) > 1:
        abort(400, "a field is given twice")
    if "picture" not in request.files:
        abort(400, "the form has no file named picture")
    data = request.files["picture"].read()
    if len(data) > _config().max_MB * 1e6:
        abort(413)
    return data, request.form.to_dict()


def _settings(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if len(text) > LONGEST_SETTINGS:
        raise SettingsError(f"settings: longer than {LONGEST_SETTINGS} letters")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise SettingsError("settings: not JSON") from None
    visitor_settings(data)
    return {key: value for key, value in data.items() if key != "$schema"}


def _look(data: bytes, settings: dict[str, Any] | None = None, part: int = 0) -> Look:
    config = _config()
    return Look(data, config.max_MB, config.max_pixels, config.max_output_pixels, settings or {}, part)


def _check_room() -> None:
    """Raises TooManyRequests where the queue, or the client's share of it, is full."""
    config, table = _config(), _table()
    for count, most, whose in (
        (table.count_open(client=g.client), config.max_jobs_per_client, "of your pictures wait or run"),
        (table.count_open(address=g.address), config.max_jobs_per_address, "pictures of your network address wait"),
        (table.count_open(), config.max_waiting, "pictures wait or run"),
    ):
        if count >= most:
            _too_many(f"{count} {whose}, as many as may; try again when one is done")
    for count, most in (
        (table.count_kept(client=g.client), config.max_kept_per_client),
        (table.count_kept(address=g.address), config.max_kept_per_address),
    ):
        if count >= most:
            _too_many(f"{count} pictures of yours are kept, as many as may; delete one, or wait until they expire")
    if table.free_bytes() < config.min_free_MB * 1e6:
        raise Busy("the server's disk is full; try again later")


def _too_many(sentence: str) -> NoReturn:
    raise TooManyRequests(sentence, retry_after=RETRY_SECONDS)


def _told(job: Job, own: dict[str, Any] | None = None) -> dict[str, Any]:
    """A job as the API tells it."""
    own = own or _own_things()
    live = own["engine"].live(job.id)
    progress = None
    if job.state == "running" and live is not None and live.progress is not None:
        seconds = time.monotonic() - (live.begun or time.monotonic())
        fraction = live.progress["fraction"]
        progress = {
            **live.progress,
            "seconds": round(seconds, 1),
            "seconds_left": round(seconds * (1 - fraction) / fraction, 1) if fraction > 0.02 else None,
            "curve": list(live.curve),
            "preview": live.preview,
        }
    held = job.held
    end = job.ended or time.time()
    return {
        "id": job.id, "state": job.state, "name": held["name"], "created": _iso(job.created),
        "expires": _iso(end + own["config"].lifetime_hours * 3600),
        "position": own["table"].ahead_of(job) if job.state == "queued" else 0,
        "settings": held["settings"], "part": held["part"], "size": held["size"], "out_size": held["out_size"],
        "progress": progress, "error": held["error"], "outcome": held["outcome"],
    }  # fmt: skip


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _name(given: str | None) -> str:
    """An upload's own name, to be shown only: no path, no control characters."""
    last = re.split(r"[/\\]", given or "")[-1]
    return "".join(letter for letter in last if letter.isprintable())[:NAME_LENGTH] or "picture"


def _result_stem(job: Job) -> str:
    """As the command line names results."""
    stem = job.held["name"].rpartition(".")[0] or job.held["name"]
    kind = "repaired" if job.held["out_size"] == job.held["size"] else "enlarged"
    return f"{stem}_{kind}"


def _download(data: bytes, mime: str, name: str) -> Response:
    response = Response(data, mimetype=mime)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _choice(name: str, choices: tuple[str, ...]) -> str:
    value = request.args.get(name, choices[0])
    if value not in choices:
        abort(400, f"{name} '{value[:20]}': must be one of {', '.join(choices)}")
    return value

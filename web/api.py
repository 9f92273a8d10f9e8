"""The JSON API under /api/v1; described by web.openapi."""

from __future__ import annotations

import base64
import datetime
import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from flask import Blueprint, Response, abort, g, jsonify, request, url_for
from werkzeug.exceptions import TooManyRequests

from web.config import RANDOM_PART_SCALE, RESULT_FORMATS, Config
from web.openapi import document
from web.quick import Busy
from web.services import Services, services
from web.store import OPEN, Job
from web.uploads import read_form, read_settings, shown_name, upload_check
from web.visitors import identify, remember
from zssr.errors import SettingsError
from zssr.formats import FORMATS, READABLE
from zssr.version import __version__

api = Blueprint("api", __name__, url_prefix="/api/v1")
api.before_request(identify)
api.after_request(remember)

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
    "kernel": ("kernel.png", _PNG),
    "thumbnail": ("thumbnail.jpg", _JPEG),
}
RUNNING_VIEWS = ("preview", "preview-before", "thumbnail")

_adding = threading.Lock()
log = logging.getLogger("zssr.web")


# ------------------------------------------------------------------------------------------- jobs


@api.post("/diagnose")
def diagnose() -> Response:
    """What happened to a picture; nothing is kept."""
    data, _ = read_form(set())
    payload = services().quick.call(g.address, "diagnose", upload_check(data))
    payload["thumbnail"] = f"data:{_PNG};base64,{base64.b64encode(payload['thumbnail']).decode()}"
    return jsonify(payload)


@api.post("/jobs")
def create() -> tuple[Response, int, dict[str, str]]:
    """A picture to be restored."""
    data, form = read_form({"settings", "part", "exif"})
    own = services()
    _check_room()
    settings = read_settings(form.get("settings"))
    part, exif = form.get("part", "whole"), form.get("exif", "drop")
    if part not in ("whole", "random") or exif not in ("drop", "keep"):
        raise SettingsError("part must be whole or random, exif drop or keep")
    if part == "random":
        if {"scale", "size"} & set(settings):
            raise SettingsError(f"settings: a random part is enlarged {RANDOM_PART_SCALE} times; leave scale and size")
        settings = {"quality": "fast", **settings, "scale": RANDOM_PART_SCALE}
    side = own.config.random_part_side if part == "random" else 0
    checked = own.quick.call(g.address, "check", upload_check(data, settings, side))
    details = {
        "name": shown_name(request.files["picture"].filename), "settings": settings, "part": checked["part"],
        "exif": exif, "size": checked["size"], "out_size": checked["out_size"], "error": None, "outcome": None,
    }  # fmt: skip
    job = Job(secrets.token_urlsafe(24), g.client, g.address, "queued", time.time(), details=details)
    with _adding:
        _check_room()  # others may have come during the look
        own.store.add(job, checked["data"] or data)
    own.jobs.submit(job)
    log.info("job=%s queued size=%dx%d bytes=%d", job.id, *checked["size"], len(data))
    return jsonify(job_json(job)), 202, {"Location": url_for("api.state", id=job.id)}


@api.get("/jobs")
def own_jobs() -> Response:
    """The client's own, the newest first."""
    jobs = services().store.of_client(g.client) if g.client else []
    return jsonify(jobs=[job_json(job) for job in jobs])


@api.get("/jobs/<id>")
def state(id: str) -> Response:
    """Of a job."""
    return jsonify(job_json(_own(id)))


@api.delete("/jobs/<id>")
def remove(id: str) -> tuple[str, int]:
    """Stop and forget it."""
    services().jobs.remove(_own(id).id)
    return "", 204


@api.get("/jobs/<id>/events")
def events(id: str) -> Response:
    """The state at every change, as server-sent events."""
    _own(id)
    own, client = services(), g.client
    if not own.streams.acquire(blocking=False):
        _too_many("too many browsers are watching just now; ask for the state instead")

    def stream() -> Iterator[str]:
        version, end = -2, time.monotonic() + STREAM_SECONDS
        yield "retry: 1000\n\n"
        while time.monotonic() < end:
            version = own.jobs.wait_for_change(id, version, 10)
            job = own.store.get(id)
            if job is None or job.client != client:
                yield "event: removed\ndata: {}\n\n"
                return
            yield f"event: job\ndata: {json.dumps(job_json(job, own))}\n\n"
            if job.state not in OPEN:
                return
            time.sleep(STREAM_PAUSE)

    response = Response(stream(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(own.streams.release)
    return response


# ---------------------------------------------------------------------------------------- results


@api.get("/jobs/<id>/result")
def result(id: str) -> Response:
    """The restored picture as a file."""
    format, encoding = _choice("format", RESULT_FORMATS), _choice("encoding", ("binary", "base64"))
    job = _finished(id)
    data = services().store.read(id, f"result.{format}")
    if data is None:
        data = services().quick.call(g.address, "convert", services().store.read(id, "result.png") or b"", format)
        services().store.write(id, f"result.{format}", data)
    if encoding == "base64":
        return Response(base64.b64encode(data), mimetype="text/plain")
    return _download(data, FORMATS[format].mime, f"{_result_stem(job)}.{format}")


@api.get("/jobs/<id>/sidecar")
def sidecar(id: str) -> Response:
    """Settings, times, training curve, agreement."""
    job = _finished(id)
    data = services().store.read(id, "sidecar.json") or b"{}"
    return _download(data, "application/json", f"{_result_stem(job)}.json")


@api.get("/jobs/<id>/views/<view>")
def view(id: str, view: str) -> Response:
    """A picture to be looked at on the page."""
    _own(id)
    running = services().jobs.running_job(id)
    data, mime = None, _JPEG
    if running is not None and view in RUNNING_VIEWS:
        data = running.pictures.get(view)
    elif view in VIEWS:
        name, mime = VIEWS[view]
        data = services().store.read(id, name)
    if data is None:
        abort(404)
    return Response(data, mimetype=mime)


# --------------------------------------------------------------------------------------- the server


@api.get("/limits")
def limits() -> Response:
    """What the server takes."""
    return jsonify(limits_of(services().config))


@api.get("/health")
def health() -> Response:
    """Whether it works."""
    workers, waiting = services().jobs.workers, services().store.count_open()
    status = "ok" if workers else "no workers"
    response = jsonify(status=status, workers=workers, waiting=waiting, version=__version__)
    response.status_code = 200 if workers else 503
    return response


@api.get("/openapi.json")
def openapi() -> Response:
    """The description of this API."""
    return jsonify(document(services().config))


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


# ------------------------------------------------------------------------------------------- helpers


def _own(id: str) -> Job:
    """The job, if it is the client's; what is another's looks as if it were not there."""
    job = services().store.get(id)
    if job is None or not secrets.compare_digest(job.client, g.client):
        abort(404)
    return job


def _finished(id: str) -> Job:
    job = _own(id)
    if job.state != "done":
        abort(409, f"the job is {job.state}; there is no result")
    return job


def _check_room() -> None:
    """Raises TooManyRequests where the queue, or the client's share of it, is full."""
    config, store = services().config, services().store
    for count, most, whose in (
        (store.count_open(client=g.client), config.max_jobs_per_client, "of your pictures wait or run"),
        (store.count_open(address=g.address), config.max_jobs_per_address, "pictures of your network address wait"),
        (store.count_open(), config.max_waiting, "pictures wait or run"),
    ):
        if count >= most:
            _too_many(f"{count} {whose}, as many as may; try again when one is done")
    for count, most in (
        (store.count_kept(client=g.client), config.max_kept_per_client),
        (store.count_kept(address=g.address), config.max_kept_per_address),
    ):
        if count >= most:
            _too_many(f"{count} pictures of yours are kept, as many as may; delete one, or wait until they expire")
    if store.free_bytes() < config.min_free_MB * 1e6:
        raise Busy("the server's disk is full; try again later")


def _too_many(sentence: str) -> NoReturn:
    raise TooManyRequests(sentence, retry_after=RETRY_SECONDS)


def job_json(job: Job, own: Services | None = None) -> dict[str, Any]:
    """A job as the API tells it. own: where no request is at hand."""
    own = own or services()
    details = job.details
    end = job.ended or time.time()
    return {
        "id": job.id, "state": job.state, "name": details["name"], "created": _iso(job.created),
        "expires": _iso(end + own.config.lifetime_hours * 3600),
        "position": own.store.ahead_of(job) if job.state == "queued" else 0,
        "settings": details["settings"], "part": details["part"], "size": details["size"],
        "out_size": details["out_size"], "progress": _progress_json(job, own), "error": details["error"],
        "outcome": details["outcome"],
    }  # fmt: skip


def _progress_json(job: Job, own: Services) -> dict[str, Any] | None:
    running = own.jobs.running_job(job.id)
    if job.state != "running" or running is None or running.progress is None:
        return None
    seconds = time.monotonic() - (running.begun or time.monotonic())
    fraction = running.progress["fraction"]
    return {
        **running.progress,
        "seconds": round(seconds, 1),
        "seconds_left": round(seconds * (1 - fraction) / fraction, 1) if fraction > 0.02 else None,
        "curve": list(running.curve),
        "preview": running.preview,
    }


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _result_stem(job: Job) -> str:
    """As the command line names results."""
    stem = job.details["name"].rpartition(".")[0] or job.details["name"]
    kind = "repaired" if job.details["out_size"] == job.details["size"] else "enlarged"
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

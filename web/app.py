"""The Flask application: configuration, pages, headers, errors, metrics."""

from __future__ import annotations

import atexit
import logging
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, g, jsonify, render_template, request, send_file
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    process_collector,
)
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from web.api import api, limits_of
from web.config import ROOT, Config, controls, make_config
from web.engine import Busy, Engine
from web.table import Job, Table
from zssr.errors import ZssrError
from zssr.version import __version__

FORM_ROOM = 64 * 1024  # of a request, beside the picture
FORM_BUFFER = 256 * 1024  # also what is read at a time, of files too
EXAMPLES = {
    "cat_compressed.jpg": "A strongly compressed JPEG",
    "astronaut_pixelated.png": "A pixelated part",
    "cat.png": "A small picture",
    "coffee.png": "A good picture",
}
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data: blob:",
        "connect-src 'self'", "form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SENTENCES = {
    404: "there is nothing here, or it is not yours",
    405: "this cannot be done here; see the Allow header",
    413: "the upload is too large",
    415: "send the picture as multipart/form-data",
}

log = logging.getLogger("zssr.web")
pages = Blueprint("pages", __name__)


class Metrics:
    """What Prometheus reads at /metrics."""

    def __init__(self, table: Table) -> None:
        self.registry = CollectorRegistry()
        process_collector.ProcessCollector(registry=self.registry)
        self.jobs = Counter("zssr_jobs", "Jobs that ended", ["state"], registry=self.registry)
        self.seconds = Histogram(
            "zssr_job_seconds", "Seconds a job ran", buckets=(1, 3, 10, 30, 100, 300, 1000), registry=self.registry
        )
        self.requests = Histogram(
            "zssr_request_seconds", "Seconds to answer, streams left out", ["endpoint", "status"],
            buckets=(0.005, 0.02, 0.05, 0.2, 1, 5), registry=self.registry,
        )  # fmt: skip
        open_jobs = Gauge("zssr_jobs_open", "Jobs that wait or run", registry=self.registry)
        open_jobs.set_function(table.count_open)

    def ended(self, job: Job) -> None:
        """A job ended."""
        self.jobs.labels(job.state).inc()
        if job.started is not None and job.ended is not None:
            self.seconds.observe(job.ended - job.started)


def create_app(test_config: Mapping[str, Any] | None = None, engine: Any = None) -> Flask:
    """The demo as a WSGI application; keys as in web.config.Config.

    engine: what takes the jobs, for tests; by default a cluster is started, and ended with the process.
    Raises SettingsError, BatchError, and OSError where the data folder cannot be made.
    """
    config = make_config(dict(test_config or {}))
    app = Flask(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=int(config.max_MB * 1e6) + FORM_ROOM,
        MAX_FORM_MEMORY_SIZE=FORM_BUFFER,
        MAX_FORM_PARTS=8,
        # This machine's own checks ask by these names.
        TRUSTED_HOSTS=config.trusted_hosts and [*config.trusted_hosts, "127.0.0.1", "localhost"],
    )
    folder = Path(config.data) if Path(config.data).is_absolute() else ROOT / config.data
    table = Table(folder)
    metrics = Metrics(table)
    if engine is None:
        engine = Engine(config, table, metrics.ended)
        engine.start()
        atexit.register(engine.stop)
    app.extensions["zssr"] = {
        "config": config,
        "table": table,
        "engine": engine,
        "metrics": metrics,
        "streams": threading.BoundedSemaphore(config.max_streams),
    }
    app.register_blueprint(pages)
    app.register_blueprint(api)
    app.before_request(_begin)
    app.after_request(_finished)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ZssrError, _own_error)
    app.register_error_handler(Exception, _fault)
    if config.trusted_proxies:
        count = config.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    return app


@pages.get("/")
@pages.get("/jobs/<id>")
def page(id: str | None = None) -> str:
    """The one page; with an id it opens that job, if it is this browser's."""
    own = current_app.extensions["zssr"]
    examples = [{"name": name, "title": title} for name, title in EXAMPLES.items()]
    priors = [{"name": name, "task": task} for name, task in own["engine"].priors.items()]
    return render_template(
        "index.html", limits=limits_of(own["config"]), controls=controls(), examples=examples, priors=priors,
        version=__version__,
    )  # fmt: skip


@pages.get("/examples/<name>")
def example(name: str) -> Response:
    """A picture to try."""
    if name not in EXAMPLES:
        abort(404)
    return send_file(ROOT / "examples" / name, max_age=3600)


@pages.get("/metrics")
def metrics_page() -> Response:
    """For Prometheus."""
    registry = current_app.extensions["zssr"]["metrics"].registry
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _begin() -> None:
    g.begin = time.monotonic()


def _finished(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    own = current_app.extensions["zssr"]
    if own["config"].secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
    if response.mimetype != "text/event-stream" and "begin" in g:
        endpoint = request.endpoint or "none"
        own["metrics"].requests.labels(endpoint, response.status_code).observe(time.monotonic() - g.begin)
    return response


def _said(sentence: str, status: int) -> Response:
    response = jsonify(error=sentence)
    response.status_code = status
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    response = error.get_response()
    sentence = SENTENCES.get(status, error.description or "it cannot be done")
    if status == 413:
        config: Config = current_app.extensions["zssr"]["config"]
        sentence = f"the upload is larger than {config.max_MB:g} MB, the most that is taken here"
    said = _said(sentence, status)
    for name in ("Allow", "Retry-After"):
        if name in response.headers:
            said.headers[name] = response.headers[name]
    return said


def _own_error(error: ZssrError) -> Response:
    """The picture's or the settings' own fault."""
    if isinstance(error, Busy):
        said = _said(str(error), 503)
        said.headers["Retry-After"] = "5"
        return said
    return _said(_for_visitors(str(error)), 422)


def _for_visitors(sentence: str) -> str:
    """Without flags of the command line."""
    sentence = re.sub(r"; raise it with --[\w-]+$", "", sentence)
    return re.sub(r"^the input: ", "the picture: ", sentence)


def _fault(error: Exception) -> Response:
    log.exception("%s %s", request.method, request.path)
    return _said("the server failed; its operator finds more in the log", 500)

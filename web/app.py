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

from flask import Blueprint, Flask, Response, abort, g, jsonify, render_template, request, send_file
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from web.api import api, limits_of
from web.config import ROOT, controls, make_config
from web.jobs import JobManager
from web.metrics import Metrics
from web.quick import Busy, QuickWorker
from web.services import Services, services
from web.store import JobStore
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


def create_app(test_config: Mapping[str, Any] | None = None, workers: Any = None) -> Flask:
    """The demo as a WSGI application; keys as in web.config.Config.

    workers: in place of JobManager and QuickWorker, for tests; by default a cluster is started, and ended with the
    process.
    Raises SettingsError, BatchError, and OSError where the data folder cannot be made.
    """
    config = make_config(dict(test_config or {}))
    app = Flask(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=int(config.max_MB * 1e6) + FORM_ROOM,
        MAX_FORM_MEMORY_SIZE=FORM_BUFFER,  # the most parts are Flask's own 1000, so that read_form can name a wrong one
        # This machine's own checks ask by these names.
        TRUSTED_HOSTS=config.trusted_hosts and [*config.trusted_hosts, "127.0.0.1", "localhost"],
    )
    folder = Path(config.data) if Path(config.data).is_absolute() else ROOT / config.data
    store = JobStore(folder)
    metrics = Metrics(store)
    jobs, quick = workers or JobManager(config, store, metrics.job_ended), workers or QuickWorker(config)
    if workers is None:
        for part in (quick, jobs):
            part.start()
            atexit.register(part.stop)
    streams = threading.BoundedSemaphore(config.max_streams)
    app.extensions["zssr"] = Services(config, store, jobs, quick, metrics, streams)
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
    own = services()
    catalogue = own.quick.catalogue
    examples = [{"name": name, "title": title} for name, title in EXAMPLES.items()]
    form = controls(catalogue.warnings)
    priors = [{"name": name, "task": task} for name, task in catalogue.priors.items()]
    return render_template(
        "index.html", limits=limits_of(own.config), controls=form, examples=examples, priors=priors,
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
    registry = services().metrics.registry
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _begin() -> None:
    g.begin = time.monotonic()


def _finished(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    own = services()
    if own.config.secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
    if response.mimetype != "text/event-stream" and "begin" in g:
        endpoint = request.endpoint or "none"
        own.metrics.requests.labels(endpoint, response.status_code).observe(time.monotonic() - g.begin)
    return response


def error_response(sentence: str, status: int) -> Response:
    """An error as the API tells it."""
    response = jsonify(error=sentence)
    response.status_code = status
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    response = error.get_response()
    sentence = SENTENCES.get(status, error.description or "it cannot be done")
    if status == 413:
        sentence = f"the upload is larger than {services().config.max_MB:g} MB, the most that is taken here"
    answer = error_response(sentence, status)
    for name in ("Allow", "Retry-After"):
        if name in response.headers:
            answer.headers[name] = response.headers[name]
    return answer


def _own_error(error: ZssrError) -> Response:
    """The picture's or the settings' own fault."""
    if isinstance(error, Busy):
        answer = error_response(str(error), 503)
        answer.headers["Retry-After"] = "5"
        return answer
    return error_response(_for_visitors(str(error)), 422)


def _for_visitors(sentence: str) -> str:
    """Without flags of the command line."""
    sentence = re.sub(r"; raise it with --[\w-]+$", "", sentence).replace("--partial", "the setting partial")
    return re.sub(r"^the input: ", "the picture: ", sentence)


def _fault(error: Exception) -> Response:
    log.exception("%s %s", request.method, request.path)
    return error_response("the server failed; its operator finds more in the log", 500)

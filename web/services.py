"""What the handlers of requests share."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from flask import current_app

from web.config import Config
from web.jobs import JobManager
from web.metrics import Metrics
from web.quick import QuickWorker
from web.store import JobStore


@dataclass(frozen=True)
class Services:
    """Of one application. streams: one place for each browser that watches a job."""

    config: Config
    store: JobStore
    jobs: JobManager
    quick: QuickWorker
    metrics: Metrics
    streams: threading.BoundedSemaphore


def services() -> Services:
    """Those of the application that handles this request."""
    found: Services = current_app.extensions["zssr"]
    return found

"""A worker process for what visitors wait for: looks at uploads, conversions of results."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from typing import Any

import distributed

from web.config import Config
from web.jobs import WORKER_MODULE, call_in_worker
from web.protocol import Catalogue, UploadCheck
from zssr.cluster import connected, workers_now
from zssr.errors import PictureError, ZssrError

LONGEST_CALL = 60.0  # seconds
CALLS_AT_ONCE = 3  # that one visitor may ask for
SECONDS_BETWEEN_REPAIRS = 5.0  # of a worker that died

log = logging.getLogger("zssr.web")


class Busy(ZssrError):  # noqa: N818 - not an error of anyone
    """Too much to do at the moment."""


class QuickWorker:
    """Started by `start`, used from any thread, ended by `stop`.

    A process of its own, so that a look at an upload never waits behind a training, and one that runs out of memory
    takes nothing else down.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client: Any = None
        self._exit = contextlib.ExitStack()
        self._ended = threading.Event()
        self._callers: collections.Counter[str] = collections.Counter()
        self._counting, self._calling = threading.Lock(), threading.Lock()
        self.catalogue = Catalogue({}, {})

    def start(self) -> None:
        """Raises BatchError."""
        self._client = self._exit.enter_context(connected(None, 1, 1, 0, WORKER_MODULE))
        self.catalogue = self._client.submit(call_in_worker, "catalogue", pure=False).result(LONGEST_CALL)
        threading.Thread(target=self._keep_alive, name="zssr-web-quick", daemon=True).start()

    def stop(self) -> None:
        """End its process."""
        self._ended.set()
        self._exit.close()

    def call(self, who: str, function: str, *arguments: UploadCheck | bytes | str) -> Any:
        """A function of the worker module, one call after the other. who: asks. Raises the errors of zssr, and Busy."""
        with self._counting:
            if self._callers[who] >= CALLS_AT_ONCE or self._callers.total() >= self._config.max_looks:
                raise Busy("too many pictures are being looked at just now; try again in some seconds")
            self._callers[who] += 1
        try:
            with self._calling:
                return self._call(function, *arguments)
        finally:
            with self._counting:
                self._callers[who] -= 1
                self._callers += collections.Counter()  # forget those with none

    def _call(self, function: str, *arguments: UploadCheck | bytes | str) -> Any:
        future = self._client.submit(call_in_worker, function, *arguments, pure=False, retries=0)
        try:
            return future.result(timeout=LONGEST_CALL)
        except distributed.KilledWorker:
            raise PictureError("the picture: looking at it ended the process; try a smaller one") from None
        except TimeoutError:
            self._client.restart(wait_for_workers=False)
            raise PictureError("the picture: looking at it takes too long; try a smaller one") from None
        except distributed.CancelledError:
            raise Busy("the server was interrupted; try again") from None

    def _keep_alive(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_REPAIRS):
            try:
                workers_now(self._client)  # asked for, one that is missing is started again
            except Exception:  # whatever it is, the next picture needs a worker
                if not self._ended.is_set():
                    log.exception("housekeeping")

"""Where work runs: a Dask cluster on this machine, or one that runs already."""

from __future__ import annotations

import contextlib
import os
import signal
import weakref
from collections.abc import Iterator
from typing import Any

import dask
import distributed

from zssr.errors import BatchError

SCHEDULER_SECONDS = 10  # in which a scheduler has to answer
_OWN: weakref.WeakSet[distributed.LocalCluster] = weakref.WeakSet()  # a caller's own clusters are not ours to change


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def dask_setup(worker: Any) -> None:
    """In a worker's process, called by Dask: Control-C is for the command, which lets workers finish."""
    with contextlib.suppress(ValueError):  # not the main thread: not a process of its own
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Threads(distributed.WorkerPlugin):
    """Sets how many threads torch takes in a worker.

    A variable of the environment would come too late: a new process first imports the command's main module, and
    torch with it.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def setup(self, worker: Any) -> None:
        import torch  # not above: the server of the demo does without

        torch.set_num_threads(self.count)  # of a process that is ours alone


@contextlib.contextmanager
def connected(
    scheduler: str | None, workers: int, threads: int | None, retries: int, preload: str
) -> Iterator[distributed.Client]:
    """A client of the scheduler at an address, or of a cluster of processes on this machine.

    Of the latter: workers: processes. threads: of each; None: the cores shared out among them; a single one takes
    as many as it would outside a cluster, and gives the same bytes. retries: how often work is tried again whose worker
    died. preload: a module that they import before they are given anything.
    Raises BatchError.
    """
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=SCHEDULER_SECONDS)
        except (OSError, ValueError) as error:
            raise BatchError(f"scheduler {scheduler}: cannot be reached ({error})") from None
        with client:
            yield client
        return
    if threads is None and workers > 1:
        threads = max(1, cores() // workers)
    with (
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": retries,
                "distributed.scheduler.worker-saturation": 1.0,  # jobs wait at the scheduler, not behind a long one
                # Dask's own default sets threads here, for this process and all others that it starts, and has every
                # freed page given back, which makes training a fifth slower.
                "distributed.nanny.pre-spawn-environ": {},
                "distributed.worker.profile.enabled": False,  # it stops training a hundred times a second to look
                "distributed.worker.preload": ["zssr.cluster", preload],
                "distributed.worker.memory.terminate": False,  # torch gives memory back late; the plan knows better
                "distributed.worker.memory.pause": False,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.target": False,
                "distributed.admin.large-graph-warning-threshold": "1GB",
                "distributed.deploy.lost-worker-timeout": "5 minutes",  # starting one anew takes a busy machine long
            }
        ),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        _OWN.add(cluster)
        if threads is not None:
            client.register_plugin(_Threads(threads))
        yield client


def workers_now(client: distributed.Client) -> list[dict[str, Any]]:
    """What the scheduler knows of each worker. Missing ones of a cluster of our own are started again.

    Dask starts one again when it dies, but gives up on one that dies while it starts. Raises BatchError.
    """
    try:
        identity = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=SCHEDULER_SECONDS)
    except (OSError, TimeoutError) as error:
        raise BatchError(f"the scheduler does not say which workers it has ({error})") from None
    found = list(identity["workers"].values())
    if client.cluster in _OWN and len(found) < len(client.cluster.worker_spec):
        client.cluster.loop.add_callback(_start_the_missing, client.cluster)
    return found


async def _start_the_missing(cluster: distributed.LocalCluster) -> None:
    if cluster.status is not distributed.Status.running:
        return
    for name, keeper in list(cluster.workers.items()):
        if keeper.status in (distributed.Status.closed, distributed.Status.failed):
            del cluster.workers[name]
    await cluster  # starts those that it has not

"""Many pictures with many settings, to the end: the jobs of a config.json on a Dask cluster.

One engine: on one machine it starts a cluster of processes itself; given a client or the address of a scheduler, the
same run goes over any number of machines. Dask knows which worker lives and gives the jobs of a dead one to another.
"""

from __future__ import annotations

from zssr.batch.engine import run, workers_of
from zssr.batch.estimates import estimate, seconds_a_unit
from zssr.batch.kept import finished
from zssr.batch.records import BatchReport, Done, Outcome, Task, Watch

__all__ = [
    "BatchReport", "Done", "Outcome", "Task", "Watch", "estimate", "finished", "run", "seconds_a_unit",
    "workers_of",
]  # fmt: skip

"""What the engine of batch runs costs, and what workers bring: python tests/benchmark_batch.py

Milliseconds a job of 10,000 that do nothing, of the run's own thread and of all threads, scheduler and worker among
them; and pictures a second with 1, 2 and 4 workers of one thread each. Start-up of the workers is measured apart, by a
run of which every picture is finished.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import distributed
import numpy as np
import PIL.Image
import psutil

from zssr.batch import Done, Outcome, Task, run
from zssr.jobs import make_run

PICTURES = 20
JOBS = 10_000


def nothing(task: Task) -> Done:
    return Done(Outcome(task.job.source, task.job.target, task.job.where, "made"))


def engine(source: Path) -> None:
    planned = make_run({"jobs": [{"image": str(source / "00.png")}]})
    jobs = tuple(dataclasses.replace(planned.jobs[0], target=f"{n}.png") for n in range(JOBS))
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        begin, cpu, own = time.monotonic(), time.process_time(), time.thread_time()
        for part in (1, 2):  # of the jobs
            run(dataclasses.replace(planned, jobs=jobs[: JOBS * part // 2]), client, work=nothing)
            print(
                f"memory after {JOBS * part // 2} jobs: {psutil.Process().memory_info().rss / 1e6:.0f} MB", flush=True
            )
        count = JOBS * 3 // 2
        wall, cpu, own = time.monotonic() - begin, time.process_time() - cpu, time.thread_time() - own
        print(
            f"{1000 * own / count:.2f} ms a job in the run's own thread, {1000 * cpu / count:.2f} in all threads,"
            f" {1000 * wall / count:.2f} by the clock",
            flush=True,
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        rng = np.random.default_rng(0)
        for number in range(PICTURES):
            pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
            PIL.Image.fromarray(pixels).save(source / f"{number:02}.png")
        engine(source)
        first = None
        for workers in (1, 2, 4):
            config = {
                "scale": 2, "num_epochs": 150, "repair": "none", "workers": workers, "threads": 1,
                "output": f"{folder}/{workers}/", "jobs": [{"image": str(source)}],
            }  # fmt: skip
            seconds = []
            for _ in range(2):
                begin = time.monotonic()
                report = run(config)
                seconds.append(time.monotonic() - begin)
            assert report.count("kept") == PICTURES
            rate = PICTURES / (seconds[0] - seconds[1])
            first = first or rate
            print(f"{workers} workers: {rate:.2f} pictures/s, {rate / first:.2f} times one worker", flush=True)


if __name__ == "__main__":
    main()

"""Many jobs on a cluster, and what may happen on the way."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import fsspec
import numpy as np
import PIL.Image
import psutil
import pytest
import torch
from conftest import QUICK

import zssr
from zssr.batch import Done, Outcome, Task, Watch, run, workers_of
from zssr.batch.report import check_report, write_report
from zssr.cli import main
from zssr.cluster import connected, cores
from zssr.errors import BatchError, OutputError
from zssr.jobs import make_run

TINY: dict[str, Any] = {
    **QUICK, "scale": 2, "num_epochs": 3, "model_depth": 2, "crop_size": 16, "ensemble": False, "repair": "none",
    "device": "cpu",
}  # fmt: skip


def pictures(folder: Path, count: int, side: int = 20) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 255, (5, 5, 3)).astype(np.uint8).repeat(side // 5, 0).repeat(side // 5, 1)
        PIL.Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def client() -> Iterator[distributed.Client]:
    """A cluster in this process."""
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        yield client


def stub(task: Task) -> Done:
    return Done(Outcome(task.job.source, task.job.target, task.job.where, "made"))


def test_results_are_those_of_restore(client: distributed.Client, tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 3)
    (source / "bad.png").write_bytes(b"nothing")
    config = {
        **TINY,
        "output": f"{tmp_path}/out/",
        "report": str(tmp_path / "report"),
        "jobs": [{"image": str(source)}],
    }
    report = run(config, client)
    assert [report.count(state) for state in ("made", "kept", "failed", "lost")] == [3, 0, 1, 0]
    failed = next(outcome for outcome in report.outcomes if outcome.state == "failed")
    assert "bad.png" in failed.source
    assert failed.reason
    for number in range(3):
        expected = zssr.restore(source / f"0{number}.png", **TINY)
        made = zssr.load(tmp_path / "out" / f"0{number}_x2.png")
        assert (expected.numpy() == made.samples()).all()
    # Again: all kept. A changed input or setting: made anew. A result that is of no batch run: left alone.
    assert run(config, client).count("kept") == 3
    PIL.Image.new("RGB", (20, 20), (200, 0, 0)).save(source / "00.png")
    assert run(config, client).count("made") == 1
    assert run({**config, "seed": 1}, client).count("made") == 3
    assert run({**config, "seed": 1}, client, force=True).count("made") == 3
    (tmp_path / "out" / "00_x2.png").unlink()
    (tmp_path / "out" / "00_x2.json").write_text("{}")  # somebody's own
    (tmp_path / "out" / "01_x2.json").unlink()
    before = (tmp_path / "out" / "01_x2.png").read_bytes()
    report = run({**config, "seed": 2}, client)
    assert [report.count(state) for state in ("made", "failed")] == [1, 3]
    assert (tmp_path / "out" / "00_x2.json").read_text() == "{}"
    assert (tmp_path / "out" / "01_x2.png").read_bytes() == before
    json_path, html_path = write_report(report, str(tmp_path / "report"))
    assert json.loads(json_path.read_text())["counts"]["failed"] == 3
    assert html_path.read_text().count("<img") == 2


def test_largest_first_and_stop(client: distributed.Client, tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 30)
    PIL.Image.new("RGB", (300, 200)).save(source / "large.png")
    config = {**TINY, "output": f"{tmp_path}/out/", "jobs": [{"image": str(source)}]}
    seen: list[str] = []
    report = run(config, client, work=stub, watch=Watch(on_outcome=lambda outcome: seen.append(outcome.source)))
    assert report.complete
    assert "large" in seen[0]
    seen.clear()
    watch = Watch(on_outcome=lambda outcome: seen.append(outcome.source), should_stop=lambda: bool(seen))
    report = run(config, client, work=stub, watch=watch)
    assert report.left
    assert report.left + len(seen) == 31
    assert 1 <= len(seen) < 31


def test_progress_is_told(client: distributed.Client, tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 1)
    events: list[dict[str, Any]] = []
    run(
        {**TINY, "output": f"{tmp_path}/out/", "jobs": [{"image": str(source)}]},
        client,
        watch=Watch(on_progress=events.append),
    )
    end = time.monotonic() + 5
    while not any(event.get("over") for event in events) and time.monotonic() < end:
        time.sleep(0.01)
    assert any(event.get("stage") == "train" and event["stages"] for event in events)


def test_thousands_of_jobs(client: distributed.Client, tmp_path: Path) -> None:
    job = make_run({**TINY, "jobs": [{"image": str(pictures(tmp_path / "in", 1))}]})
    jobs = tuple(dataclasses.replace(job.jobs[0], target=str(tmp_path / f"{n}.png")) for n in range(2000))
    run(dataclasses.replace(job, jobs=jobs[:200]), client, work=stub)
    before = psutil.Process().memory_info().rss
    assert run(dataclasses.replace(job, jobs=jobs), client, work=stub).count("made") == 2000
    assert psutil.Process().memory_info().rss - before < 100e6


def test_shared_weights(client: distributed.Client, tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 3, 40)
    entry = {"image": str(source), "share_weights": True, "num_epochs": 40}
    report = run({**TINY, "output": f"{tmp_path}/out/", "jobs": [entry]}, client)
    steps = sorted(outcome.training_steps for outcome in report.outcomes)
    assert steps == [10, 10, 40]
    assert all(outcome.share for outcome in report.outcomes)
    # The first one's weights lie beside it: the others come out the same when they are made later.
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    (tmp_path / "out" / "02_x2.png").unlink()
    again = run({**TINY, "output": f"{tmp_path}/out/", "jobs": [entry]}, client)
    assert (again.count("kept"), again.count("made")) == (2, 1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")} == made
    path, page = write_report(report, str(tmp_path / "r"))
    check_report(str(tmp_path / "r"))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(OutputError, match="no report of zssr"):
        check_report(str(tmp_path / "other"))
    assert json.loads(path.read_text())["shared_weights"][0]["others"] == 2
    assert "weights shared" in page.read_text()


def test_by_value_and_remote(client: distributed.Client, tmp_path: Path) -> None:
    storage = fsspec.filesystem("memory")
    source = pictures(tmp_path / "in", 2)
    storage.pipe({f"/batch/in/{path.name}": path.read_bytes() for path in source.iterdir()})
    remote = {**TINY, "output": "memory://batch/out/", "jobs": [{"image": "memory://batch/in"}]}
    local = {**TINY, "transfer": True, "output": f"{tmp_path}/out/", "jobs": [{"image": str(source)}]}
    for config in (remote, local):
        assert run(config, client).count("made") == 2
        assert run(config, client).count("kept") == 2
    assert storage.cat("/batch/out/00_x2.png") == (tmp_path / "out" / "00_x2.png").read_bytes()


def _dies(task: Task) -> Done:
    if "00" in task.job.source:
        os._exit(1)
    return stub(task)


def test_a_dry_run_knows_what_is_finished(
    client: distributed.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, config = pictures(tmp_path / "in", 2), tmp_path / "c.json"
    first = {**TINY, "output": f"{tmp_path}/out/", "jobs": [{"image": str(source / "00.png")}]}
    assert run(first, client).count("made") == 1
    config.write_text(json.dumps({**first, "jobs": [{"image": str(source)}]}))
    for arguments, count in (([], 1), (["--force"], 0), (["--set", "seed=1"], 0)):
        assert main(["batch", str(config), "--dry-run", *arguments]) == 0
        assert capsys.readouterr().out.count("  finished before\n") == count


def test_workers_of_our_own(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 3)
    planned = make_run({**TINY, "workers": 99, "output": f"{tmp_path}/out/", "jobs": [{"image": str(source)}]})
    assert workers_of(planned) == min(cores(), 3)
    with connected(None, 1, 3, 0, "zssr.batch") as client:  # three threads: not what any default gives
        assert client.submit(torch.get_num_threads).result() == 3
        cluster: Any = client.cluster
        cluster.sync(cluster.workers[0].close)  # the worker's keeper gives up
        assert run(planned, client).count("made") == 3


def test_a_job_that_kills_its_workers_is_set_aside(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 4)
    config = {**TINY, "workers": 1, "retries": 1, "output": f"{tmp_path}/out/", "jobs": [{"image": str(source)}]}
    report = run(config, work=_dies)
    assert [report.count(state) for state in ("made", "lost")] == [3, 1]
    assert not report.complete


def _command(config: Path) -> list[str]:
    return [sys.executable, "-m", "zssr", "batch", str(config), "-q"]


def _finished(out: Path) -> dict[str, int]:
    """Results that are there with their sidecars, and when they were made."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.png") if path.with_suffix(".json").exists()}


def test_killing_workers_and_the_command_loses_nothing(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 40)
    random.seed()
    contents = {}
    for name in ("quiet", "killed"):
        out, config = tmp_path / name, tmp_path / f"{name}.json"
        settings = {**TINY, "num_epochs": 25, "model_width": 32, "workers": 2, "retries": 10}
        settings |= {"output": f"{out}/", "report": str(tmp_path / f"{name}-report"), "jobs": [{"image": str(source)}]}
        config.write_text(json.dumps(settings))
        if name == "killed":
            process = subprocess.Popen(_command(config), stdout=subprocess.DEVNULL)
            for target in (4, 9, 14):
                while len(_finished(out)) < target and process.poll() is None:
                    time.sleep(0.02)
                time.sleep(random.uniform(0, 0.2))
                workers = [
                    child
                    for child in psutil.Process(process.pid).children()
                    if "spawn_main" in " ".join(child.cmdline())
                ]
                if workers:
                    random.choice(workers).send_signal(signal.SIGKILL)
            while len(_finished(out)) < 20 and process.poll() is None:
                time.sleep(0.02)
            process.kill()
            process.wait()
            time.sleep(1)  # the workers notice
            before = _finished(out)
            assert 20 <= len(before) < 40
        assert subprocess.run(_command(config), stdout=subprocess.DEVNULL, check=False, timeout=300).returncode == 0
        if name == "killed":
            after = _finished(out)
            assert {path: after[path] for path in before} == before
            assert json.loads((tmp_path / "killed-report.json").read_text())["counts"]["kept"] >= len(before)
        contents[name] = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert len(contents["quiet"]) == 40
    assert contents["killed"] == contents["quiet"]


def test_a_cluster_of_processes(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 12)
    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-dashboard",
    ]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--no-dashboard",
        "--host",
        "127.0.0.1",
        "--local-directory",
        str(tmp_path),
    ]
    processes = [subprocess.Popen(scheduler, **quiet), subprocess.Popen(worker, **quiet)]
    try:
        made = 0

        def on_outcome(outcome: Outcome) -> None:
            nonlocal made
            made += 1
            if made == 3:  # one joins late
                processes.append(subprocess.Popen(worker, **quiet))
            if made == 6 and len(processes) == 3:  # the first one leaves once there is another
                with distributed.Client(address) as other:
                    other.wait_for_workers(2, timeout=60)
                processes[1].send_signal(signal.SIGTERM)

        for transfer in (False, True):
            made = 0
            out = tmp_path / f"out-{transfer}"
            config = {
                **TINY,
                "scheduler": address,
                "transfer": transfer,
                "output": f"{out}/",
                "jobs": [{"image": str(source)}],
            }
            report = run(config, watch=Watch(on_outcome=on_outcome))
            # What the leaving worker had written but not told of is found to be finished.
            assert report.count("made") + report.count("kept") == 12
            assert len(list(out.glob("*.png"))) == 12
        processes[0].kill()
        with pytest.raises(BatchError, match="cannot be reached"):
            run({**config, "scheduler": f"tcp://127.0.0.1:{_free_port()}"})
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_scheduler_gone(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", 6)
    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", str(port), *common], **quiet
        ),
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", *common], **quiet
        ),
    ]
    try:
        config = {**TINY, "scheduler": address, "output": f"{tmp_path}/out/", "jobs": [{"image": str(source)}]}
        watch = Watch(on_outcome=lambda outcome: processes[0].kill())
        with pytest.raises(BatchError, match="Run the same command"):
            run(config, watch=watch)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_control_c_in_a_terminal_lets_workers_finish(tmp_path: Path) -> None:
    source, out, config = pictures(tmp_path / "in", 12), tmp_path / "out", tmp_path / "c.json"
    settings = {**TINY, "num_epochs": 400, "model_width": 32, "workers": 1, "output": f"{out}/"}
    config.write_text(json.dumps({**settings, "jobs": [{"image": str(source)}]}))
    process = subprocess.Popen(_command(config), stdout=subprocess.DEVNULL, start_new_session=True)
    while not _finished(out) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # the terminal tells all of its processes
    assert process.wait(60) == 130
    report = json.loads((tmp_path / "c-report.json").read_text())
    assert report["counts"]["lost"] == report["counts"]["failed"] == 0
    assert report["counts"]["made"] == len(_finished(out)) >= 2
    assert report["left"] + report["counts"]["made"] == 12

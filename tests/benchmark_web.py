"""How soon the demo answers while it trains: python -m tests.benchmark_web

Fifty visitors, each watching the same kind of job's events and asking for its state, views and limits all the time.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import requests

from tests.serving import LONG, Server, Visitor, picture

CLIENTS = 50
SECONDS = 20
PAUSE = 1.0  # between two rounds of a client


def main() -> None:
    """Print the median and the longest answer, and how late events come."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", max_waiting=100, max_jobs_per_client=100, max_jobs_per_address=100)
        try:
            visitor = Visitor(server)
            id = visitor.start(picture(128), LONG)
            while not visitor.until_learning(id)["progress"]["preview"]:
                time.sleep(0.1)
            answers: list[float] = []
            gaps: list[float] = []
            end = time.monotonic() + SECONDS

            def poll(session: requests.Session) -> None:
                while time.monotonic() < end:
                    for path in (f"jobs/{id}", "jobs", f"jobs/{id}/views/preview", "limits"):
                        begin = time.monotonic()
                        assert session.get(f"{visitor.url}/{path}", timeout=30).status_code == 200
                        answers.append(time.monotonic() - begin)
                    time.sleep(PAUSE)

            def stream(session: requests.Session) -> None:
                with session.get(f"{visitor.url}/jobs/{id}/events", stream=True, timeout=30) as answer:
                    last = time.monotonic()
                    for line in answer.iter_lines():
                        if line.startswith(b"data"):
                            gaps.append(time.monotonic() - last)
                            last = time.monotonic()
                        if last > end:
                            return

            threads = []
            for _ in range(CLIENTS):
                for work in (poll, stream):
                    session = requests.Session()
                    session.cookies.update(visitor.session.cookies)
                    threads.append(threading.Thread(target=work, args=(session,)))
            for thread in threads:
                thread.start()
                time.sleep(PAUSE / len(threads) / 2)
            for thread in threads:
                thread.join()
            print(
                f"{CLIENTS} clients, {len(answers)} answers in {SECONDS} s: median"
                f" {1e3 * statistics.median(answers):.0f} ms, longest {1e3 * max(answers):.0f} ms"
            )
            print(f"{len(gaps)} events, median {statistics.median(gaps):.2f} s apart, longest {max(gaps):.2f} s")
        finally:
            server.stop()


if __name__ == "__main__":
    main()

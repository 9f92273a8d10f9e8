"""The jobs and their files, on disk, so that a restart of the server loses nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from zssr.errors import OutputError
from zssr.files.writing import replacing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, client TEXT NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL,
    started REAL, ended REAL, attempts INTEGER NOT NULL DEFAULT 0,
    held TEXT NOT NULL -- Job.details as JSON; the folders of earlier versions have it by this name
);
CREATE INDEX IF NOT EXISTS jobs_of_client ON jobs (client);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created);
"""
_COLUMNS = "id, client, address, state, created, started, ended, attempts, held"
OPEN = ("queued", "running")


@dataclass
class Job:
    """One row. client, address: hashes. state: "queued", "running", "done" or "failed". Times in seconds since 1970.

    details: what else the API says of it: name, settings, part, exif, size, out_size, error, outcome.
    """

    id: str
    client: str
    address: str
    state: str
    created: float
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    details: dict[str, Any] = field(default_factory=dict)


class JobStore:
    """A table in SQLite, and a folder for each job's files. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder cannot be made, OutputError where another server uses it."""
        self._files = folder / "jobs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # other people's pictures
        self._files.mkdir(exist_ok=True)
        self._only_one = filelock.FileLock(folder / "lock")
        try:
            self._only_one.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(f"{folder}: another server uses this folder; give another --set data=FOLDER") from None
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA busy_timeout=5000")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """No more use after this."""
        with self._lock:
            self._connection.close()
        self._only_one.release()

    def add(self, job: Job, data: bytes) -> None:
        """A new job and its picture."""
        self.path(job.id, "input").parent.mkdir()
        self.write(job.id, "input", data)
        with self._lock:
            self._connection.execute(
                f"INSERT INTO jobs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job.id, job.client, job.address, job.state, job.created, job.started, job.ended, job.attempts,
                    json.dumps(job.details),
                ),
            )  # fmt: skip

    def update(self, job: Job) -> bool:
        """Write a job again; False where it was removed in the meantime."""
        with self._lock:
            cursor = self._connection.execute(
                "UPDATE jobs SET state = ?, started = ?, ended = ?, attempts = ?, held = ? WHERE id = ?",
                (job.state, job.started, job.ended, job.attempts, json.dumps(job.details), job.id),
            )
            return cursor.rowcount == 1

    def begin(self, id: str, moment: float) -> bool:
        """A job that waited is at work; False where it waits no more."""
        with self._lock:
            cursor = self._connection.execute(
                "UPDATE jobs SET state = 'running', started = ?, attempts = attempts + 1"
                " WHERE id = ? AND state = 'queued'",
                (moment, id),
            )
            return cursor.rowcount == 1

    def remove(self, id: str) -> None:
        """The job and all its files."""
        with self._lock:
            self._connection.execute("DELETE FROM jobs WHERE id = ?", (id,))
        gone = self._files / f".gone-{id}"
        with contextlib.suppress(FileNotFoundError):
            (self._files / id).rename(gone)  # so that nothing more is written into it
        shutil.rmtree(gone, ignore_errors=True)

    def get(self, id: str) -> Job | None:
        """By its id."""
        return next(iter(self._select("id = ?", id)), None)

    def of_client(self, client: str) -> list[Job]:
        """A client's jobs, the newest first."""
        return self._select("client = ? ORDER BY created DESC, id", client)

    def unfinished(self) -> list[Job]:
        """All that wait or run, the oldest first."""
        return self._select("state IN ('queued', 'running') ORDER BY created, id")

    def ended_before(self, moment: float) -> list[Job]:
        """Those that ended before then."""
        return self._select("ended < ?", moment)

    def count_open(self, client: str | None = None, address: str | None = None) -> int:
        """How many wait or run, of all, of a client, or of an address."""
        where, values = "state IN ('queued', 'running')", []
        for name, value in (("client", client), ("address", address)):
            if value is not None:
                where += f" AND {name} = ?"
                values.append(value)
        with self._lock:
            return int(self._connection.execute(f"SELECT count(*) FROM jobs WHERE {where}", values).fetchone()[0])

    def count_kept(self, client: str | None = None, address: str | None = None) -> int:
        """How many there are in any state."""
        name, value = ("client", client) if address is None else ("address", address)
        with self._lock:
            row = self._connection.execute(f"SELECT count(*) FROM jobs WHERE {name} = ?", (value,)).fetchone()
        return int(row[0])

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self._files).free

    def ahead_of(self, job: Job) -> int:
        """How many wait that came before."""
        with self._lock:
            row = self._connection.execute(
                "SELECT count(*) FROM jobs WHERE state = 'queued' AND (created, id) < (?, ?)", (job.created, job.id)
            ).fetchone()
        return int(row[0])

    def path(self, id: str, name: str) -> Path:
        """Where a job's file lies."""
        return self._files / id / name

    def write(self, id: str, name: str, data: bytes) -> bool:
        """Aside and renamed, so that it is whole or not there. False where the job was removed in the meantime."""
        try:
            with replacing(self.path(id, name)) as aside:
                aside.write_bytes(data)
        except FileNotFoundError:
            return False
        return True

    def read(self, id: str, name: str) -> bytes | None:
        """None where there is none."""
        try:
            return self.path(id, name).read_bytes()
        except FileNotFoundError:
            return None

    def sweep(self) -> None:
        """Remove the files of jobs that are not in the table."""
        for folder in self._files.iterdir():
            if self.get(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)

    def _select(self, where: str, *values: Any) -> list[Job]:
        with self._lock:
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE {where}", values).fetchall()
        names = _COLUMNS.split(", ")[:-1]
        return [Job(**dict(zip(names, row, strict=False)), details=json.loads(row[-1])) for row in rows]

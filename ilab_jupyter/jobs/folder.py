"""Paths of the files of a job and its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AttemptFolder:
    """`jobs/<id>/attempts/<n>`."""

    path: Path

    @property
    def log(self) -> Path:
        """The worker's output, stdout and stderr in the order of writing."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.path / "supervisor.lock"

    @property
    def record(self) -> Path:
        """The identity of the supervisor."""
        return self.path / "supervisor.json"

    @property
    def exit(self) -> Path:
        """How the worker ended; written once."""
        return self.path / "exit.json"

    @property
    def remedies(self) -> Path:
        """Commands by cause, for a worker that was killed: `{"out_of_memory": "train ..."}`."""
        return self.path / "remedies.json"

    @property
    def supervisor_log(self) -> Path:
        """The output of the supervisor itself; empty unless something is wrong."""
        return self.path / "supervisor.log"


@dataclass(frozen=True)
class JobFolder:
    """`jobs/<id>`."""

    path: Path

    @property
    def spec(self) -> Path:
        """The JobSpec with the job's id."""
        return self.path / "spec.json"

    @property
    def events(self) -> Path:
        """One JSON line an event, of all attempts."""
        return self.path / "events.jsonl"

    @property
    def artifacts(self) -> Path:
        """The job's own files, kept across attempts."""
        return self.path / "artifacts"

    @property
    def secrets(self) -> Path:
        """Environment variables for the worker only; mode 0600, only if there are any."""
        return self.path / "secrets.json"

    @property
    def stored(self) -> Path:
        """An empty file that exists once the job's row is in the database."""
        return self.path / "stored"

    @property
    def acknowledged(self) -> Path:
        """`2 QUEUED`, `2 CANCELLED`: the last requested change that no process file proves."""
        return self.path / "acknowledged"

    @property
    def release(self) -> Path:
        """Exists while a waiting job needs the resources of this deployment: `{"for": id, "requested":
        time}`."""
        return self.path / "release.json"

    def attempt(self, number: int) -> AttemptFolder:
        """Return the folder of attempt `number`, 1 for the first."""
        return AttemptFolder(self.path / "attempts" / str(number))


@dataclass(frozen=True)
class StateFolder:
    """The state folder of the job engine."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.path / "jobs.db"

    @property
    def jobs(self) -> Path:
        """One folder per job."""
        return self.path / "jobs"

    @property
    def binding(self) -> Path:
        """Exists if the rows are in a PostgreSQL database: the id of this folder in that database."""
        return self.path / "database.json"

    @property
    def restoring(self) -> Path:
        """Exists while a restore is not finished; no other process may use the folder."""
        return self.path / "restoring.json"

    @property
    def turn_lock(self) -> Path:
        """Held by the process that runs a scheduler turn."""
        return self.path / "turn.lock"

    def job(self, id: str) -> JobFolder:
        """Return the folder of a job."""
        return JobFolder(self.jobs / id)

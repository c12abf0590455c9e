"""Where the files of a job and of its attempts lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AttemptFolder:
    """`jobs/<id>/attempts/<n>`."""

    path: Path

    @property
    def log(self) -> Path:
        """What the worker printed, stdout and stderr in the order of writing."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.path / "supervisor.lock"

    @property
    def record(self) -> Path:
        """Who the supervisor is."""
        return self.path / "supervisor.json"

    @property
    def exit(self) -> Path:
        """How the worker ended; written once."""
        return self.path / "exit.json"

    @property
    def remedies(self) -> Path:
        """What to run after a cause that a killed worker cannot tell: `{"out_of_memory": "train ..."}`."""
        return self.path / "remedies.json"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor itself had to say; empty unless something is wrong."""
        return self.path / "supervisor.log"


@dataclass(frozen=True)
class JobFolder:
    """`jobs/<id>`."""

    path: Path

    @property
    def spec(self) -> Path:
        """The JobSpec, with the job's id beside it."""
        return self.path / "spec.json"

    @property
    def events(self) -> Path:
        """One JSON line an event, over all attempts."""
        return self.path / "events.jsonl"

    @property
    def artifacts(self) -> Path:
        """The job's own files; they outlive attempts."""
        return self.path / "artifacts"

    @property
    def secrets(self) -> Path:
        """Environment variables for the worker alone; mode 0600, only where some were given."""
        return self.path / "secrets.json"

    @property
    def stored(self) -> Path:
        """An empty file, there once the job's row is in the database."""
        return self.path / "stored"

    @property
    def acknowledged(self) -> Path:
        """`2 QUEUED`, `2 CANCELLED`: the last move that was asked for and that no process proves."""
        return self.path / "acknowledged"

    @property
    def release(self) -> Path:
        """There while a waiting job needs what this deployment has: `{"for": id, "asked": time}`."""
        return self.path / "release.json"

    def attempt(self, number: int) -> AttemptFolder:
        """The folder of attempt `number`, 1 for the first."""
        return AttemptFolder(self.path / "attempts" / str(number))


@dataclass(frozen=True)
class StateFolder:
    """The engine's folder."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite store."""
        return self.path / "jobs.db"

    @property
    def jobs(self) -> Path:
        """One folder a job."""
        return self.path / "jobs"

    @property
    def binding(self) -> Path:
        """Where the rows are in a PostgreSQL database: what that database knows this folder by."""
        return self.path / "database.json"

    @property
    def restoring(self) -> Path:
        """There while a restore is not finished; nothing else may use the folder."""
        return self.path / "restoring.json"

    @property
    def turn_lock(self) -> Path:
        """Held by whoever moves the queue."""
        return self.path / "turn.lock"

    def job(self, id: str) -> JobFolder:
        """The folder of a job."""
        return JobFolder(self.jobs / id)

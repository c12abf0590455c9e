"""Requests and responses of clients, written durably by each client before and after every call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.attempt.process import boot_clock
from ilab_jupyter.jobs.record import Job, JobFilter
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec


class History:
    """An append-only file of one client. A line is durable before the client continues."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._client = path.stem
        self._op = 0

    def invoke(self, what: str, **details: Any) -> int:
        """Record that a call is about to be made; return its number."""
        self._op += 1
        self._write(self._op, phase="invoke", what=what, **details)
        return self._op

    def returned(self, op: int, jobs: list[dict[str, Any]]) -> None:
        """Record the jobs that the call returned."""
        self._write(op, phase="ok", jobs=[seen(job) for job in jobs])

    def refused(self, op: int, error: str) -> None:
        """Record that the call was refused."""
        self._write(op, phase="refused", error=error)

    def _write(self, op: int, **fields: Any) -> None:
        line = {"client": self._client, "op": op, "at": boot_clock(), **fields}
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(self._descriptor)


def seen(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a returned job that the checker needs."""
    kept = {name: job[name] for name in ("id", "attempt", "version", "state", "exit_code", "cause", "result")}
    return {**kept, "arguments": plain(job["spec"]["arguments"])}


def train_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a fake trainer as arguments of a valid training."""
    return {"data": [json.dumps(arguments)]}


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Invert `train_arguments`."""
    return dict(json.loads(arguments["data"][0]))


def read(folder: Path) -> list[dict[str, Any]]:
    """Return all histories of a folder ordered by time, without incomplete last lines."""
    entries = []
    for path in folder.glob("*.jsonl"):
        entries += read_lines(path)
    return sorted(entries, key=lambda entry: float(entry["at"]))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


class Client:
    """A job service whose calls are recorded in a history."""

    def __init__(self, jobs: SyncJobs, history: History) -> None:
        self._jobs = jobs
        self._history = history

    def submit(self, arguments: Mapping[str, Any]) -> Job | None:
        """Submit under the key that is the arguments' tag. None if it was refused."""
        spec = job_spec("train", train_arguments(arguments))
        return self._call("submit", lambda: self._jobs.submit(spec, key=arguments["tag"]), **arguments)

    def get(self, id: str) -> Job | None:
        """As the service."""
        return self._call("get", lambda: self._jobs.get(id), id=id)

    def cancel(self, id: str) -> Job | None:
        """As the service."""
        return self._call("cancel", lambda: self._jobs.cancel(id), id=id)

    def resume(self, id: str) -> Job | None:
        """As the service."""
        return self._call("resume", lambda: self._jobs.resume(id), id=id)

    def list(self, filter: JobFilter | None = None) -> list[Job]:
        """Return the newest hundred jobs."""
        op = self._history.invoke("list")
        page = self._jobs.list(filter or JobFilter(), limit=100)
        self._history.returned(op, [job.model_dump(mode="json") for job in page.jobs])
        return page.jobs

    def _call(self, what: str, do: Callable[[], Job], **details: Any) -> Job | None:
        op = self._history.invoke(what, **details)
        try:
            job = do()
        except PublicError as error:
            self._history.refused(op, str(error))
            return None
        self._history.returned(op, [job.model_dump(mode="json")])
        return job

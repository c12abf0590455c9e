"""PIDs of the processes of a job's newest attempt."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.attempt.process import with_token


def record(harness: Any, id: str) -> dict[str, Any]:
    """Return the supervisor's record."""
    row = harness.local._store.get(id)
    text = (harness.local.folder(id) / f"attempts/{row.attempt}/supervisor.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


def token(harness: Any, id: str) -> str:
    """Return the token that identifies the attempt's processes."""
    return harness.local._store.get(id).token  # type: ignore[no-any-return]


def supervisor(harness: Any, id: str) -> int:
    """Return the supervisor's PID."""
    return int(record(harness, id)["pid"])


def worker(harness: Any, id: str) -> int:
    """Return the worker's PID; it must not have started processes itself."""
    (pid,) = with_token(token(harness, id))
    return pid


def written(pid_file: Path, seconds: float = 20) -> int:
    """Return the PID that a process writes to a file, once it has."""
    deadline = time.monotonic() + seconds
    while not (pid_file.exists() and (text := pid_file.read_text())):
        assert time.monotonic() < deadline, f"{pid_file.name} was not written"
        time.sleep(0.01)
    return int(text)

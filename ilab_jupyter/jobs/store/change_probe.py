"""A cheap check of the job database for an idle server.

Only the standard library is used, nothing is written, and a database that has not changed is not opened.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ilab_jupyter.jobs.causes import RESTARTED
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store.filesystem import LOW_DISK_BYTES, free_bytes, network

PENDING = tuple(sorted({JobState.QUEUED, *LIVE}))

_Fingerprint = tuple[int, int, int] | None


@dataclass(frozen=True)
class ProbeResult:
    """What a check found. `interrupted`: a job that a starting server may queue again. `problem`: the store
    cannot be read, or its disk needs a warning; opening the store reports the reason."""

    pending: bool = False
    interrupted: bool = False
    problem: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def settings_match(self, slots: Mapping[str, int], grace_seconds: float | None) -> bool:
        """Whether `LocalJobs.configure` with these settings would change nothing."""
        try:
            stored = dict(json.loads(self.settings.get("slots", "{}")))
        except (TypeError, ValueError):
            return False
        if any(stored.get(queue) != count for queue, count in slots.items()):
            return False
        return grace_seconds is None or self.settings.get("grace_seconds") == str(grace_seconds)


class ChangeProbe:
    """Checks the SQLite database of a state folder."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._wal = state.database.with_name(f"{state.database.name}-wal")
        self._last: tuple[_Fingerprint, _Fingerprint] | None = None

    def changed(self) -> bool:
        """Whether the database may have been written since the last True; True at first."""
        now = (_fingerprint(self._state.database), _fingerprint(self._wal))
        changed = now != self._last
        self._last = now
        return changed

    def run(self) -> ProbeResult:
        """Read whether jobs are queued or live, and the settings. Blocks for a few milliseconds."""
        try:
            if not self._state.database.exists():
                return ProbeResult(problem=not self._can_create())
            uri = f"{self._state.database.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
                placeholders = ", ".join("?" * len(PENDING))
                query = f"SELECT 1 FROM job WHERE state IN ({placeholders}) LIMIT 1"  # noqa: S608 - placeholders only
                pending = connection.execute(query, PENDING).fetchone() is not None
                placeholders = ", ".join("?" * len(RESTARTED))
                query = f"SELECT 1 FROM job WHERE state = ? AND cause IN ({placeholders}) LIMIT 1"  # noqa: S608
                found = connection.execute(query, (JobState.INTERRUPTED, *RESTARTED)).fetchone()
                settings = dict(connection.execute("SELECT name, value FROM setting"))
            doubtful = self._doubtful(self._state.path)
            return ProbeResult(pending, found is not None, problem=doubtful, settings=settings)
        except (sqlite3.Error, OSError, ValueError):
            return ProbeResult(problem=True)

    def _doubtful(self, folder: Path) -> bool:
        """Whether the folder is on a network file system or a disk that is nearly full."""
        free = free_bytes(folder)
        return bool(network(folder)) or (free is not None and free < LOW_DISK_BYTES)

    def _can_create(self) -> bool:
        """Whether a missing database could be created, and is not expected to exist."""
        folder = self._state.path
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)) or self._doubtful(folder):
            return False
        return not self._state.jobs.is_dir() or not any(self._state.jobs.iterdir())


def _fingerprint(path: Path) -> _Fingerprint:
    """Return a value that changes when the file is written; an empty file counts as missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None

"""Job statistics for monitoring: counts by state, waiting times and durations."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ilab_jupyter.jobs.distribution import Distribution
from ilab_jupyter.jobs.state import ENDS, LIVE, JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.rows import Store

WAIT_BUCKETS = (0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
WORK_BUCKETS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
# Finds ends recorded late because a clock was set back or a supervisor waited for the disk.
_OVERLAP_SECONDS = 600.0
_AT_ONCE = 500


@dataclass(frozen=True)
class Figures:
    """The result of `Statistics.read`. `jobs` by state, cause (empty if there is none) and kind."""

    jobs: dict[tuple[str, str, str], int]
    waiting: dict[str, int]
    leased: dict[str, int]
    log_bytes: int
    wait: dict[str, Distribution]
    work: dict[tuple[str, str], Distribution]


class Statistics:
    """Statistics of one store. Waiting times and durations count from the creation of this object."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._since = time.time()
        self._until = self._since
        self._started: dict[tuple[str, int], float] = {}
        self._ended: dict[tuple[str, int], float] = {}
        self._wait: dict[str, Distribution] = {}
        self._work: dict[tuple[str, str], Distribution] = {}

    def read(self) -> Figures:
        """Return the current statistics. Reads indices only, and what has changed since the last call."""
        with self._lock:
            with self._store.read() as connection:
                jobs = _by_state(connection)
                waiting = _waiting(connection)
                leased = _leased(connection)
                live = self._count(connection, jobs)
            return Figures(jobs, waiting, leased, self._log_bytes(live), self._wait, self._work)

    def _count(
        self, connection: Connection, jobs: dict[tuple[str, str, str], int]
    ) -> list[tuple[str, int, JobState]]:
        """Add attempts that started or ended since the last call; return the live attempts."""
        table = schema.job
        columns = (table.c.id, table.c.kind, table.c.created, table.c.attempt, table.c.state, table.c.ended)
        present = sorted({JobState.QUEUED, *LIVE})
        found = list(connection.execute(sa.select(*columns).where(table.c.state.in_(present))))
        live = [(row.id, row.attempt, JobState(row.state)) for row in found if row.state in LIVE]
        last = self._until
        new = (
            table.c.kind.in_(sorted({kind for _, _, kind in jobs})),
            table.c.state.in_(sorted(ENDS)),
            table.c.ended >= max(self._since, last - _OVERLAP_SECONDS),
        )
        found.extend(connection.execute(sa.select(*columns).where(*new)))
        kinds = {row.id: (row.kind, row.created) for row in found}
        for attempt in _attempts(connection, kinds):
            kind, created = kinds[attempt.job]
            self._note(attempt, kind, created)
        self._until = max([last, *(row.ended for row in found if row.ended is not None)])
        self._forget()
        return live

    def _note(self, attempt: Any, kind: str, created: float) -> None:
        which = (attempt.job, attempt.n)
        if attempt.started is not None and which not in self._started:
            self._started[which] = attempt.ended or float("inf")
            # The time at which a later attempt was queued is not stored.
            if attempt.n == 1 and attempt.started >= self._since:
                self._wait.setdefault(kind, Distribution(WAIT_BUCKETS)).add(attempt.started - created)
        if attempt.ended is not None and which not in self._ended:
            self._ended[which] = self._started[which] = attempt.ended
            if attempt.started is not None and attempt.ended >= self._since:
                work = self._work.setdefault((kind, attempt.state), Distribution(WORK_BUCKETS))
                work.add(attempt.ended - attempt.started)

    def _forget(self) -> None:
        oldest = self._until - 2 * _OVERLAP_SECONDS
        for known in (self._started, self._ended):
            for which in [which for which, ended in known.items() if ended < oldest]:
                del known[which]

    def _log_bytes(self, live: Iterable[tuple[str, int, JobState]]) -> int:
        total = 0
        for id, attempt, _ in live:
            try:
                total += self._store.state.job(id).attempt(attempt).log.stat().st_size
            except OSError:
                continue
        return total


def _by_state(connection: Connection) -> dict[tuple[str, str, str], int]:
    columns = (schema.job.c.state, schema.job.c.cause, schema.job.c.kind)
    found = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns))
    return {(state, cause or "", kind): int(count) for state, cause, kind, count in found}


def _waiting(connection: Connection) -> dict[str, int]:
    table = schema.job
    query = sa.select(table.c.queue, sa.func.count()).where(table.c.state == JobState.QUEUED)
    return {queue: int(count) for queue, count in connection.execute(query.group_by(table.c.queue))}


def _leased(connection: Connection) -> dict[str, int]:
    device = schema.lease.c.device
    found = connection.execute(sa.select(device, sa.func.count()).group_by(device))
    return {uuid: int(count) for uuid, count in found}


def _attempts(connection: Connection, ids: Iterable[str]) -> Iterable[Any]:
    table = schema.attempt
    columns = (table.c.job, table.c.n, table.c.state, table.c.started, table.c.ended)
    wanted = sorted(ids)
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        yield from connection.execute(sa.select(*columns).where(table.c.job.in_(some)))

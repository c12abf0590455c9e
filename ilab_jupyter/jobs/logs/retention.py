"""Removal of old logs: only on request, only of ended jobs, the oldest first."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.attempt.lock import is_held
from ilab_jupyter.jobs.record import Pruned
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.rows import Store

_YOUNG = 600.0  # seconds within which the row of a new folder may not be stored yet
_ENDED = sorted(state for state in JobState if state.ended)


@dataclass(frozen=True)
class _Log:
    job: str
    n: int
    ended: float
    size: int
    path: Path
    lock: Path


def prune(
    store: Store, owner: str, actor: str, *, days: float | None, keep_bytes: int | None, dry_run: bool
) -> Pruned:
    """See `JobService.prune`. InvalidInput if neither limit is given, or one is negative.

    The row is marked before the log is deleted, so that no log is ever missing without explanation. A removal
    that was cut short by a crash is finished by the next call.
    """
    if days is None and keep_bytes is None:
        raise InvalidInput("No limit is given for the logs to keep.", "Give days, keep_bytes or both.")
    if (days is not None and not (math.isfinite(days) and days >= 0)) or (keep_bytes or 0) < 0:
        raise InvalidInput("Days and bytes to keep are 0 or more.")
    if not dry_run:
        _finish(store, owner)
    logs = _logs(store, owner)
    total = sum(log.size for log in logs)
    oldest_kept = -math.inf if days is None else time.time() - days * 86_400
    removed: list[_Log] = []
    for log in logs:
        if log.ended >= oldest_kept and (keep_bytes is None or total <= keep_bytes):
            continue
        if is_held(log.lock) or not (dry_run or _mark(store, actor, log)):
            continue
        if not dry_run:
            log.path.unlink(missing_ok=True)
        total -= log.size
        removed.append(log)
    return Pruned(attempts=len(removed), bytes=sum(log.size for log in removed))


def orphans(store: Store) -> list[str]:
    """Return job folders that have no row. They are reported and never deleted."""
    now = time.time()
    found = []
    for path in store.state.jobs.iterdir():
        with suppress(OSError):
            if path.is_dir() and now - path.stat().st_mtime > _YOUNG:
                found.append(path.name)
    known: set[str] = set()
    with store.read() as connection:
        for start in range(0, len(found), 500):
            names = found[start : start + 500]
            known |= set(connection.scalars(sa.select(schema.job.c.id).where(schema.job.c.id.in_(names))))
    return sorted(set(found) - known)


def _logs(store: Store, owner: str) -> list[_Log]:
    """Return logs of ended attempts of ended jobs that still exist, oldest first."""
    found = []
    for job, n, ended in _rows(store, owner, pruned=False):
        folder = store.state.job(job).attempt(n)
        with suppress(OSError):
            found.append(_Log(job, n, ended, folder.log.stat().st_size, folder.log, folder.lock))
    return sorted(found, key=lambda log: (log.ended, log.job, log.n))


def _rows(store: Store, owner: str, *, pruned: bool) -> list[tuple[str, int, float]]:
    job, attempt = schema.job, schema.attempt
    gone = attempt.c.pruned.is_not(None) if pruned else attempt.c.pruned.is_(None)
    query = (
        sa.select(attempt.c.job, attempt.c.n, attempt.c.ended)
        .join(job, job.c.id == attempt.c.job)
        .where(job.c.owner == owner, job.c.state.in_(_ENDED), attempt.c.ended.is_not(None), gone)
    )
    with store.read() as connection:
        return [(row.job, row.n, row.ended) for row in connection.execute(query)]


def _mark(store: Store, actor: str, log: _Log) -> bool:
    """Mark the log as removed in the row; False if the job was resumed meanwhile."""
    job, attempt = schema.job, schema.attempt
    with store.write() as connection:
        state = connection.scalar(sa.select(job.c.state).where(job.c.id == log.job))
        if state not in _ENDED:
            return False
        here = sa.update(attempt).where(attempt.c.job == log.job, attempt.c.n == log.n)
        connection.execute(here.values(pruned=time.time()))
        store.audit(connection, actor, "prune", log.job, {"attempt": log.n, "bytes": log.size})
    return True


def _finish(store: Store, owner: str) -> None:
    for job, n, _ in _rows(store, owner, pruned=True):
        store.state.job(job).attempt(n).log.unlink(missing_ok=True)

"""Ending live jobs with the machine or container that they live in: they save and are INTERRUPTED."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Collection

from ilab_jupyter.jobs.attempt.lock import locked
from ilab_jupyter.jobs.attempt.process import Identity, with_argument
from ilab_jupyter.jobs.queue import turns
from ilab_jupyter.jobs.queue.scheduler import alive_supervisor
from ilab_jupyter.jobs.state import LIVE
from ilab_jupyter.jobs.store.rows import Row, Store
from ilab_jupyter.jobs.store.schema import job as table

log = logging.getLogger(__name__)

# After the grace period a worker is killed and its supervisor writes how it ended.
MARGIN_SECONDS = 5.0
_LOOK = 0.1


def interrupt(store: Store, owner: str, ids: Collection[str] | None, timeout: float | None) -> list[Row]:
    """Tell the supervisors of the owner's live jobs (those of `ids`, all where None) to end them, and wait.

    Nobody cancels: a worker saves its work within the grace period and its job is INTERRUPTED. The queue
    stands still meanwhile, so that no job starts in a place that is about to go. Jobs on other machines and
    in other containers are left alone. Gives the jobs that were told, as they are after at most `timeout`
    seconds (the grace period and a little more where None).
    """
    if timeout is None:
        timeout = store.grace_seconds() + MARGIN_SECONDS
    deadline = time.monotonic() + timeout
    told: dict[str, Identity] = {}
    with locked(store.state.turn_lock, min(5.0, timeout)) as got:
        if not got:
            log.warning("Another process holds the queue; jobs may start while live ones are asked to end.")
        else:
            turns.note(store.state)
        while True:
            live = [row for row in _live(store, owner) if ids is None or row.id in ids]
            waited = [row for row in live if _tell(store, row, told)]
            if not waited or time.monotonic() >= deadline:
                break
            time.sleep(_LOOK)
    return [row for id in told if (row := store.get(id)) is not None]


def _live(store: Store, owner: str) -> list[Row]:
    return store.select(table.c.owner == owner, table.c.state.in_(sorted(LIVE)))


def _tell(store: Store, row: Row, told: dict[str, Identity]) -> bool:
    """Signal a job's supervisor once; True while its end is worth waiting for."""
    attempt = store.state.job(row.id).attempt(row.attempt)
    who = alive_supervisor(attempt, row.token)
    if who is None:
        return row.token is not None and bool(with_argument(row.token))  # on its way, or clearing up
    if not who.here:
        return False
    if told.get(row.id) != who and who.signal(signal.SIGTERM):
        told[row.id] = who
    return True

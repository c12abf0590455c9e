"""Interruption of live jobs when their machine or container shuts down: they save and end as INTERRUPTED."""

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

# After the grace period the worker is killed and its supervisor writes the outcome.
MARGIN_SECONDS = 5.0
_POLL_SECONDS = 0.1


def interrupt(store: Store, owner: str, ids: Collection[str] | None, timeout: float | None) -> list[Row]:
    """Signal the supervisors of the owner's live jobs (those in `ids`, all if None) to stop them, and wait.

    No job is cancelled: a worker saves its work within the grace period and its job becomes INTERRUPTED. The
    queue is blocked meanwhile, so that no job starts on a machine that is about to stop. Jobs on other
    machines and in other containers are not affected. Returns the signalled jobs as they are after at most
    `timeout` seconds (the grace period plus a margin if None).
    """
    if timeout is None:
        timeout = store.grace_seconds() + MARGIN_SECONDS
    deadline = time.monotonic() + timeout
    signalled: dict[str, Identity] = {}
    with locked(store.state.turn_lock, min(5.0, timeout)) as got:
        if not got:
            log.warning("Another process holds the queue lock; jobs may start during the shutdown.")
        else:
            turns.note(store.state)
        while True:
            live = [row for row in _live(store, owner) if ids is None or row.id in ids]
            waited = [row for row in live if _signal(store, row, signalled)]
            if not waited or time.monotonic() >= deadline:
                break
            time.sleep(_POLL_SECONDS)
    return [row for id in signalled if (row := store.get(id)) is not None]


def _live(store: Store, owner: str) -> list[Row]:
    return store.select(table.c.owner == owner, table.c.state.in_(sorted(LIVE)))


def _signal(store: Store, row: Row, signalled: dict[str, Identity]) -> bool:
    """Signal a job's supervisor once; True while its end should be waited for."""
    attempt = store.state.job(row.id).attempt(row.attempt)
    identity = alive_supervisor(attempt, row.token)
    if identity is None:
        return row.token is not None and bool(with_argument(row.token))  # it is starting or cleaning up
    if not identity.here:
        return False
    if signalled.get(row.id) != identity and identity.signal(signal.SIGTERM):
        signalled[row.id] = identity
    return True

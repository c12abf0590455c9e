"""Whether an attempt that has just ended is followed by another one, unasked, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.attempt.process import boot_clock, boot_id
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store.rows import Row, Store
from ilab_jupyter.jobs.store.schema import job as table

# An attempt that worked for so long has shown that what stopped the ones before it was over.
LONG_SECONDS = 600.0


def following(store: Store, row: Row, state: JobState, columns: Mapping[str, Any]) -> dict[str, Any] | None:
    """The columns of the next attempt of a job that ends now with `state` and `columns`; None: there is none.

    Its wait counts in seconds since boot, so that setting the clock changes nothing.
    """
    policy = causes.retry(columns.get("cause"))
    if policy is None or state not in (JobState.FAILED, JobState.INTERRUPTED):
        return None
    # Who made room for another job has not failed: it comes back whatever an administrator says of retries.
    if policy.most is not None and not store.retries():
        return None
    before = 0 if _worked_long(row, columns) else row.retries
    wait = policy.wait(before)
    if wait is None:
        return None
    return {"due": boot_clock() + wait, "boot_id": boot_id(), "retries": before + 1}


def _worked_long(row: Row, columns: Mapping[str, Any]) -> bool:
    if row.spawned is None or row.boot_id != boot_id() or not columns.get("progress", {}).get("step"):
        return False
    return boot_clock() - row.spawned > LONG_SECONDS


def due_in(store: Store) -> float | None:
    """Seconds until the next waiting retry may start; None where none waits, or those that wait are due."""
    with store.read() as connection:
        query = sa.select(table.c.due, table.c.boot_id).where(
            table.c.state == JobState.QUEUED, table.c.due.is_not(None)
        )
        left = [delay(due, since) for due, since in connection.execute(query)]
    return min((seconds for seconds in left if seconds > 0), default=None)


def delay(due: float | None, since: str | None) -> float:
    """Seconds left until `due` of the boot `since`. After a reboot there is nothing to wait for."""
    return max(0.0, due - boot_clock()) if due is not None and since == boot_id() else 0.0

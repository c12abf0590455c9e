"""Automatic retries: whether and when another attempt follows one that has just ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.attempt.process import boot_clock, boot_id
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store.rows import Row, Store
from ilab_jupyter.jobs.store.schema import job as table

# After an attempt that ran for so long, earlier failures no longer count.
LONG_SECONDS = 600.0


def next_attempt(
    store: Store, row: Row, state: JobState, columns: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the columns of the next attempt of a job that ends now; None if no attempt follows.

    Delays count in seconds since boot, so that setting the clock has no effect.
    """
    policy = causes.retry(columns.get("cause"))
    if policy is None or state not in (JobState.FAILED, JobState.INTERRUPTED):
        return None
    # A preempted job has not failed: it is queued again even if an administrator has disabled retries.
    if policy.max_retries is not None and not store.retries():
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
    """Return the seconds until the next waiting retry may start; None if none waits or all are due."""
    with store.read() as connection:
        query = sa.select(table.c.due, table.c.boot_id).where(
            table.c.state == JobState.QUEUED, table.c.due.is_not(None)
        )
        left = [delay(due, since) for due, since in connection.execute(query)]
    return min((seconds for seconds in left if seconds > 0), default=None)


def delay(due: float | None, since: str | None) -> float:
    """Return the seconds left until `due` of the boot `since`; 0 after a reboot."""
    return max(0.0, due - boot_clock()) if due is not None and since == boot_id() else 0.0

"""Short summaries of jobs for frequent polling: no spec, log or reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store.change_probe import PENDING
from ilab_jupyter.jobs.store.rows import Store
from ilab_jupyter.jobs.store.schema import job as table


class JobSummary(NamedTuple):
    """The columns of a job's row that show whether it has changed."""

    id: str
    kind: str
    state: JobState
    attempt: int
    version: int
    cause: str | None
    created_at: datetime
    started_at: datetime | None


def read(store: Store, owner: str, newest: int, pending: int = 500) -> list[JobSummary]:
    """Return the owner's newest jobs, and at most `pending` that are queued or live."""
    c = table.c
    columns = (c.id, c.kind, c.state, c.attempt, c.version, c.cause, c.created, c.started)
    recent = sa.select(*columns).where(c.owner == owner).order_by(c.seq.desc()).limit(newest)
    # By state only: few jobs are queued or live, while one owner may have a hundred thousand.
    unended = sa.select(*columns, c.owner).where(c.state.in_(PENDING)).order_by(c.state, c.queue)
    with store.read() as connection:
        found: dict[str, Any] = {row.id: row for row in connection.execute(recent)}
        count = 0
        for row in connection.execute(unended):
            if row.owner == owner and count < pending:
                count += 1
                found.setdefault(row.id, row)
    return [
        JobSummary(
            row.id, row.kind, JobState(row.state), row.attempt, row.version, row.cause,
            _time(row.created), None if row.started is None else _time(row.started),
        )
        for row in found.values()
    ]  # fmt: skip


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

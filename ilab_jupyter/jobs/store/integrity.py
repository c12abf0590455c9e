"""Comparison of the rows with the job folders, to detect a database that lost recent transactions.

That happens if its journal is lost or an old copy is put in its place.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from ilab_jupyter.durable import read_json
from ilab_jupyter.jobs.folder import AttemptFolder, JobFolder, StateFolder
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.database import Database

# A SUCCEEDED job has no further attempt.
_DOUBTFUL = sorted(set(JobState) - {JobState.SUCCEEDED})


def mark_stored(job: JobFolder) -> None:
    """Mark in the job's folder that its row is durable, in case the row is lost later."""
    with suppress(OSError):
        job.stored.touch(mode=0o600)


def mark_acknowledged(job: JobFolder, attempt: int, state: JobState) -> None:
    """Record that the row was durably QUEUED again, or CANCELLED before it started."""
    with suppress(OSError):
        job.acknowledged.write_text(f"{attempt} {state}", encoding="utf-8")


def contradiction(database: Database, state: StateFolder) -> str:
    """Describe what a folder proves and the database denies; empty if they agree.

    Other processes may submit and run jobs meanwhile: folders are read first, and each contradiction is
    checked twice.
    """
    # A folder without the marker belongs to a submission that was interrupted and never acknowledged.
    folders = {entry.name for entry in state.jobs.iterdir()}
    table = schema.job
    # The token is stored after the spec, which makes it expensive to read: only for live rows.
    token = sa.case((table.c.state.in_(sorted(LIVE)), table.c.token)).label("token")
    columns = (table.c.id, table.c.state, table.c.attempt, token)
    with database.read() as connection:
        known = set(connection.execute(sa.select(table.c.id)).scalars())
        doubtful = connection.execute(sa.select(*columns).where(table.c.state.in_(_DOUBTFUL))).all()
    lost = sorted(id for id in folders - known if _was_stored(state, id))
    if lost:
        with database.read() as connection:  # it may have been stored between the query and the marker
            found = connection.execute(sa.select(table.c.id).where(table.c.id.in_(lost[:500]))).scalars()
            lost = sorted(set(lost) - set(found))
    if lost:
        return f"{_count(len(lost))} with a folder are missing in it, such as {lost[0]}"
    for row in doubtful:
        if row.id in folders and _denied(state, row):
            with database.read() as connection:
                now = connection.execute(sa.select(*columns).where(table.c.id == row.id)).first()
            if now == row and _denied(state, row):
                return f"it is older than the folder of {row.id}, where it is {row.state}"
    return ""


def _was_stored(state: StateFolder, id: str) -> bool:
    job = state.job(id)
    return job.stored.exists() or job.attempt(1).record.exists()


def _denied(state: StateFolder, row: Any) -> bool:
    """Whether an attempt has started, or a change was acknowledged, that the row does not have."""
    job = state.job(row.id)
    attempt, acknowledged = _acknowledged(job)
    if attempt > row.attempt or (attempt == row.attempt and acknowledged == JobState.CANCELLED != row.state):
        return True
    if row.state in LIVE:
        return row.token is not None and _of_another(job.attempt(row.attempt), row.token)
    return job.attempt(row.attempt + (row.state != JobState.QUEUED)).record.exists()


def _acknowledged(job: JobFolder) -> tuple[int, str]:
    try:
        attempt, _, acknowledged = job.acknowledged.read_text(encoding="utf-8").partition(" ")
        return int(attempt), acknowledged
    except (OSError, ValueError):  # a truncated marker proves nothing
        return 0, ""


def _of_another(attempt: AttemptFolder, token: str) -> bool:
    if not attempt.record.exists():
        return False
    found = (read_json(attempt.record) or {}).get("token")
    return isinstance(found, str) and found != token


def _count(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"

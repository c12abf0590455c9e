"""Past attempts and audit entries."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.record import Attempt, AuditEntry
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.rows import Row, Store

_MAX_ENTRIES = 1000


def attempts(store: Store, row: Row) -> list[Attempt]:
    """Return a job's attempts, the first one first, each with the size of its log on disk."""
    found = []
    for one in store.attempts(row.id):
        try:
            size = store.state.job(row.id).attempt(one.n).log.stat().st_size
        except OSError:
            size = 0
        found.append(
            Attempt(
                n=one.n,
                state=one.state,
                why=one.why or ("submitted" if one.n == 1 else "resumed"),
                started_at=_time(one.started),
                ended_at=_time(one.ended),
                exit_code=one.exit_code,
                cause=one.cause,
                message=one.message,
                log_size=size,
                log_pruned=one.pruned is not None,
            )
        )
    return found


def audit(store: Store, owner: str, after: int, limit: int) -> list[AuditEntry]:
    """See `JobService.audit`; InvalidInput for a limit that is not 1 to 1000."""
    if not 1 <= limit <= _MAX_ENTRIES:
        raise InvalidInput(f"The limit is 1 to {_MAX_ENTRIES}, not {limit}.")
    rows = store.audit_rows(max(0, after), limit, owner)
    return [AuditEntry(**{**row, "time": _time(row["time"])}) for row in rows]


def last(store: Store, before: float) -> int:
    """Return the seq of the last entry before this time; 0 if there is none."""
    table = schema.audit
    query = sa.select(sa.func.max(table.c.seq)).where(table.c.time < before)
    with store.read() as connection:
        return int(connection.execute(query).scalar() or 0)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

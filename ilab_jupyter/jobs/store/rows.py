"""The rows of the jobs: every change is a compare-and-swap with its audit entry in the same transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ilab_jupyter.jobs.device import Lease
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.state import LIVE, MOVES, JobState
from ilab_jupyter.jobs.store import brief, integrity, pages, schema
from ilab_jupyter.jobs.store.database import Database
from ilab_jupyter.jobs.store.filesystem import filesystem
from ilab_jupyter.jobs.store.row import (
    ATTEMPT,
    COLUMNS,
    JSON,
    AttemptRow,
    Row,
    Unreadable,
    parsed,
    seal,
    stored,
)

if TYPE_CHECKING:
    from ilab_jupyter.jobs.record import JobFilter

__all__ = ["AUTOMATIC", "AttemptRow", "Row", "Store", "Unreadable", "filesystem"]

# Actor of automatic changes.
AUTOMATIC = "ilab-jupyter"


class Store(Database):
    """The rows of one state folder; see `Database` for opening and errors."""

    def __init__(self, state: StateFolder, url: str | None = None, *, thorough: bool = False) -> None:
        """`thorough` also refuses a database that is older than the folders of its jobs."""
        super().__init__(state, url, thorough=thorough)
        if thorough and (why := integrity.contradiction(self, state)):
            self.close()
            raise self._backend.damaged(why)

    # Settings: every process that runs the scheduler must agree on them, so they are in the database.

    def setting(self, name: str, default: str) -> str:
        """Return a setting's value."""
        with self.read() as connection:
            found = connection.execute(
                sa.select(schema.setting.c.value).where(schema.setting.c.name == name)
            ).scalar()
        return default if found is None else str(found)

    def put_setting(
        self, name: str, value: str, *, actor: str | None = None, action: str = "configure"
    ) -> None:
        """Set a setting for every process; with an `actor` the change is audited."""
        table = schema.setting
        with self.write() as connection:
            if connection.execute(sa.select(table.c.value).where(table.c.name == name)).scalar() == value:
                return
            updated = connection.execute(sa.update(table).where(table.c.name == name).values(value=value))
            if not updated.rowcount:
                connection.execute(sa.insert(table).values(name=name, value=value))
            if actor is not None:
                self.audit(connection, actor, action, "queue", {name: value})

    def slots(self) -> dict[str, int]:
        """Return how many jobs of each queue may be live at once; a queue that is not named has one slot."""
        with self._translated():
            return {**schema.SLOTS, **parsed("slots", self.setting("slots", "{}"), int)}

    def grace_seconds(self) -> float:
        """Return the seconds that a worker may take to stop."""
        text = self.setting("grace_seconds", str(schema.GRACE_SECONDS))
        try:
            return float(text)
        except ValueError:
            raise self._backend.damaged(f"the setting grace_seconds is {text!r}") from None

    def retries(self) -> bool:
        """Whether automatic retries are enabled."""
        return self.setting("retries", "on") == "on"

    # Rows.

    def get(self, id: str) -> Row | None:
        """Return the job of any owner."""
        with self.read() as connection:
            found = connection.execute(sa.select(schema.job).where(schema.job.c.id == id)).first()
            return None if found is None else Row.read(found)

    def select(self, *where: sa.ColumnElement[bool], limit: int | None = None) -> list[Row]:
        """Return jobs that satisfy all conditions, in the order of submission."""
        with self.read() as connection:
            query = sa.select(schema.job).where(*where).order_by(schema.job.c.seq).limit(limit)
            return [Row.read(found) for found in connection.execute(query).all()]

    def page(self, owner: str, filter: JobFilter, *, before: int | None, limit: int) -> brief.Page:
        """Return the newest jobs of `owner` that match the filter, with a seq below `before` if given.

        The rows are without large values, and together at most `brief.PAGE` bytes.
        """
        with self.read() as connection:
            query, values = pages.page(owner, filter, before=before, limit=limit + 1)
            # Read one by one: together they may be far larger than what is kept of them.
            return brief.page(connection.execute(query, values), limit)

    def queued(self, connection: Connection, owner: str) -> int:
        """Return how many jobs of the owner are QUEUED."""
        job = schema.job.c
        query = sa.select(sa.func.count()).where(job.owner == owner, job.state == JobState.QUEUED)
        return int(connection.execute(query).scalar_one())

    def in_states(self, states: frozenset[JobState]) -> list[Row]:
        """Return jobs of all owners in these states, in the order of submission."""
        return self.select(schema.job.c.state.in_(sorted(states)))

    def count(self, states: frozenset[JobState]) -> int:
        """Return how many jobs are in these states."""
        with self.read() as connection:
            query = sa.select(sa.func.count()).where(schema.job.c.state.in_(sorted(states)))
            return int(connection.execute(query).scalar_one())

    def attempts(self, id: str) -> list[AttemptRow]:
        """Return a job's attempts, the first one first."""
        table = schema.attempt
        query = sa.select(*ATTEMPT).where(table.c.job == id).order_by(table.c.n)
        with self.read() as connection:
            found = [dict(row._mapping) for row in connection.execute(query)]
            try:
                return [AttemptRow(**{**row, "state": JobState(row["state"])}) for row in found]
            except ValueError as error:
                raise Unreadable(f"an attempt of {id} cannot be read: {error}") from error

    def leases(self) -> list[Lease]:
        """Return all leases of devices."""
        table = schema.lease
        query = sa.select(table.c.device, table.c.job, table.c.memory).order_by(table.c.device, table.c.job)
        with self.read() as connection:
            rows = connection.execute(query)
            return [Lease(device=row.device, job=row.job, memory=row.memory) for row in rows]

    def stale_leases(self) -> list[tuple[str, int]]:
        """Return job and attempt of leases whose attempt has ended."""
        lease, job = schema.lease, schema.job
        ended = sa.or_(job.c.attempt != lease.c.attempt, job.c.state.not_in(sorted(LIVE)))
        query = sa.select(lease.c.job, lease.c.attempt).join(job, job.c.id == lease.c.job).where(ended)
        with self.read() as connection:
            return sorted({(row.job, row.attempt) for row in connection.execute(query)})

    def free(self, id: str, attempt: int) -> None:
        """Delete the leases of an attempt that has ended."""
        table = schema.lease
        with self.write() as connection:
            connection.execute(sa.delete(table).where(table.c.job == id, table.c.attempt == attempt))

    def by_key(self, connection: Connection, owner: str, key: str) -> Row | None:
        """Return the job that this owner submitted under this key."""
        table = schema.job
        found = connection.execute(sa.select(table).where(table.c.owner == owner, table.c.key == key)).first()
        return None if found is None else Row.read(found)

    def insert(self, connection: Connection, values: Mapping[str, Any], *, actor: str | None = None) -> Row:
        """Insert a QUEUED job with its first attempt, in the caller's transaction.

        `actor` is its owner if None.
        """
        columns: dict[str, Any] = {
            **dict.fromkeys(COLUMNS - {"seq"}),
            **{"result": {}, "progress": {}, "retries": 0},
            **values,
            **{"state": JobState.QUEUED, "attempt": 1, "version": 1},
        }
        row = stored(columns)
        resources = values["spec"].get("resources")
        row |= {"seal": seal(row), "resources": json.dumps(resources) if resources else None}
        # Columns as parameters: the statement is compiled once; `values` would compile it each time.
        key = connection.execute(sa.insert(schema.job), row).inserted_primary_key
        assert key is not None
        first = {"job": values["id"], "n": 1, "state": JobState.QUEUED, "why": "submitted"}
        connection.execute(sa.insert(schema.attempt), first)
        self.audit(connection, actor or values["owner"], "submit", values["id"], {"kind": values["kind"]})
        return Row(**columns, seq=key[0])

    def move(
        self,
        row: Row,
        to: JobState,
        *,
        leases: Sequence[Lease] = (),
        keep_leases: bool = False,
        retry: Mapping[str, Any] | None = None,
        actor: str | None = None,
        action: str = "cancel",
        **changes: Any,
    ) -> Row | None:
        """Change the state; the only way to do so. Returns the new row, or None if `row` is no longer
        current.

        `leases` are granted with the move; a final state deletes them, unless `keep_leases` says that a
        process which may use the device could not be killed. `retry` {due, boot_id, retries, why} queues the
        next attempt in the same transaction. With an `actor` the change is audited as `action`. A move that
        is not in `state.MOVES` is a bug: ValueError.
        """
        if to not in MOVES[row.state]:
            raise ValueError(f"{row.id}: {row.state} -> {to} is not an allowed transition")
        with self.write() as connection:
            moved = _swap(connection, row, {**_ordered_times(row, changes), "state": to})
            if moved is None:
                return None
            kept = {name: getattr(moved, name) for name in changes.keys() & _ATTEMPT_COLUMNS}
            connection.execute(
                sa.update(schema.attempt)
                .where(schema.attempt.c.job == row.id, schema.attempt.c.n == row.attempt)
                .values(state=to, **kept)
            )
            if to.ended and not keep_leases:
                connection.execute(sa.delete(schema.lease).where(schema.lease.c.job == row.id))
            for lease in leases:
                values = {"device": lease.device, "job": row.id, "memory": lease.memory}
                connection.execute(sa.insert(schema.lease).values(**values, attempt=row.attempt))
            if actor is not None:
                self.audit(connection, actor, action, row.id, {"attempt": row.attempt})
            if retry is not None:
                columns = {name: retry[name] for name in retry if name != "why"}
                why = retry.get("why", "retry")
                self._queue_again(connection, moved, row.launch, why, AUTOMATIC, columns)
        return moved

    def requeue(
        self,
        row: Row,
        launch: Mapping[str, Any],
        *,
        why: str = "resumed",
        actor: str | None = None,
        **columns: Any,
    ) -> Row | None:
        """Queue a new attempt of an ended job; None if `row` is no longer current.

        `why` is one of `record.Attempt`'s. For an automatic attempt `columns` may have `due` (seconds of the
        boot `boot_id` before which it waits) and `retries` (consecutive automatic attempts).
        """
        who = actor or (row.owner if why == "resumed" else AUTOMATIC)
        with self.write() as connection:
            return self._queue_again(connection, row, launch, why, who, columns)

    def _queue_again(
        self,
        connection: Connection,
        row: Row,
        launch: Mapping[str, Any],
        why: str,
        actor: str,
        columns: Mapping[str, Any],
    ) -> Row | None:
        if not row.state.resumable:
            raise ValueError(f"{row.id}: {row.state} cannot be resumed")
        changes: dict[str, Any] = {
            **dict.fromkeys(_OF_AN_ATTEMPT),
            **{"state": JobState.QUEUED, "attempt": row.attempt + 1, "launch": dict(launch)},
            **{"result": {}, "progress": {}, "retries": 0},
            **columns,
        }
        queued = _swap(connection, row, changes)
        if queued is not None:
            attempt = {"job": row.id, "n": queued.attempt, "state": JobState.QUEUED, "why": why}
            connection.execute(sa.insert(schema.attempt).values(attempt))
            detail = {"attempt": queued.attempt, "why": why}
            self.audit(connection, actor, "resume" if why == "resumed" else "retry", row.id, detail)
        return queued

    # Audit.

    def audit(
        self, connection: Connection, actor: str, action: str, target: str, detail: Mapping[str, Any]
    ) -> None:
        """Add an audit entry in the caller's transaction: with the change or not at all."""
        values = {"actor": actor, "action": action, "target": target, "detail": json.dumps(dict(detail))}
        connection.execute(sa.insert(schema.audit), {"time": time.time(), **values})

    def audit_rows(self, after: int, limit: int, owner: str | None = None) -> list[dict[str, Any]]:
        """Return entries after this seq, oldest first; with an `owner`, none of other owners' jobs."""
        table = schema.audit
        query = sa.select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
        if owner is not None:
            # The owner of a removed job is unknown: only the user who acted on it sees its entries.
            removed = schema.job.c.id.is_(None) & table.c.action.in_(_OF_A_JOB)
            query = query.join(schema.job, schema.job.c.id == table.c.target, isouter=True).where(
                sa.or_(
                    schema.job.c.owner == owner,
                    schema.job.c.id.is_(None) & (~removed | (table.c.actor == owner)),
                )
            )
        with self.read() as connection:
            found = [dict(row._mapping) for row in connection.execute(query)]
            try:
                return [{**row, "detail": json.loads(row["detail"])} for row in found]
            except ValueError as error:
                raise Unreadable(f"the audit cannot be read: {error}") from error


_OF_A_JOB = ("submit", "cancel", "resume", "retry", "reorder", "prune", "remove")
_OF_AN_ATTEMPT = (
    *("started", "ended", "token", "boot_id", "spawned"),
    *("stop_reason", "exit_code", "cause", "message", "hint", "remedy", "due"),
)
_ATTEMPT_COLUMNS = frozenset({"token", "started", "ended", "exit_code", "cause", "message"})


def _ordered_times(row: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Ensure submission <= start <= end, even if the clock was set meanwhile."""
    started = max(changes.get("started") or row.started or row.created, row.created)
    times = {"started": started, "ended": max(changes.get("ended") or started, started)}
    return {**changes, **{name: times[name] for name in times if changes.get(name) is not None}}


def _swap(connection: Connection, row: Row, changes: Mapping[str, Any]) -> Row | None:
    """Write the changes and the next version if the row is still current. Returns the new row, or None."""
    table = schema.job
    changes = {**changes, "version": row.version + 1}
    columns = stored(changes)
    plain = {name: value for name, value in columns.items() if name not in JSON}
    new = row._replace(**{**changes, **plain})
    update = sa.update(table).where(
        table.c.id == row.id,
        table.c.attempt == row.attempt,
        table.c.version == row.version,
        table.c.state == row.state,
    )
    values = {**columns, "seal": seal(stored(new._asdict()))}
    return new if connection.execute(update.values(values)).rowcount == 1 else None

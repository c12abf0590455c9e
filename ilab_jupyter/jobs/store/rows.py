"""The rows of the jobs: every change a compare-and-swap, with who asked for it in the same transaction."""

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

# Who acts where nobody asked.
AUTOMATIC = "ilab-jupyter"


class Store(Database):
    """The rows of one state folder; see `Database` for opening it and for its errors."""

    def __init__(self, state: StateFolder, url: str | None = None, *, thorough: bool = False) -> None:
        """`thorough` also refuses a database that is older than the folders of its jobs."""
        super().__init__(state, url, thorough=thorough)
        if thorough and (why := integrity.contradiction(self, state)):
            self.close()
            raise self._backend.damaged(why)

    # Settings: every process that moves the queue must agree on them, so they lie beside the rows.

    def setting(self, name: str, default: str) -> str:
        """A setting's value."""
        with self.read() as connection:
            found = connection.execute(
                sa.select(schema.setting.c.value).where(schema.setting.c.name == name)
            ).scalar()
        return default if found is None else str(found)

    def put_setting(
        self, name: str, value: str, *, actor: str | None = None, action: str = "configure"
    ) -> None:
        """Set a setting for every process; with an `actor`, who changed it is kept."""
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
        """How many jobs of each queue may live at once; a queue that is not named has one slot."""
        with self._translated():
            return {**schema.SLOTS, **parsed("slots", self.setting("slots", "{}"), int)}

    def grace_seconds(self) -> float:
        """How long a worker that was asked to stop may take."""
        text = self.setting("grace_seconds", str(schema.GRACE_SECONDS))
        try:
            return float(text)
        except ValueError:
            raise self._backend.damaged(f"the setting grace_seconds is {text!r}") from None

    def retries(self) -> bool:
        """Whether a job may be tried again without being asked."""
        return self.setting("retries", "on") == "on"

    # Rows.

    def get(self, id: str) -> Row | None:
        """The job, whoever owns it."""
        with self.read() as connection:
            found = connection.execute(sa.select(schema.job).where(schema.job.c.id == id)).first()
            return None if found is None else Row.read(found)

    def select(self, *where: sa.ColumnElement[bool], limit: int | None = None) -> list[Row]:
        """Jobs for which all conditions hold, in the order of submission."""
        with self.read() as connection:
            query = sa.select(schema.job).where(*where).order_by(schema.job.c.seq).limit(limit)
            return [Row.read(found) for found in connection.execute(query).all()]

    def page(self, owner: str, filter: JobFilter, *, before: int | None, limit: int) -> list[Row]:
        """The newest jobs of `owner` that the filter lets through, with a seq below `before` where given."""
        with self.read() as connection:
            query, values = pages.page(owner, filter, before=before, limit=limit)
            return [Row.read(found) for found in connection.execute(query, values).all()]

    def brief_page(self, owner: str, filter: JobFilter, *, before: int | None, limit: int) -> brief.Page:
        """The same for a list: without what is large, and no more than `brief.PAGE` bytes."""
        with self.read() as connection:
            query, values = pages.page(owner, filter, before=before, limit=limit + 1)
            # Read one by one: all together they may be larger than what is kept of them by far.
            return brief.page(connection.execute(query, values), limit)

    def queued(self, connection: Connection, owner: str) -> int:
        """How many jobs of the owner wait."""
        job = schema.job.c
        query = sa.select(sa.func.count()).where(job.owner == owner, job.state == JobState.QUEUED)
        return int(connection.execute(query).scalar_one())

    def in_states(self, states: frozenset[JobState]) -> list[Row]:
        """Jobs of all owners in these states, in the order of submission."""
        return self.select(schema.job.c.state.in_(sorted(states)))

    def count(self, states: frozenset[JobState]) -> int:
        """How many jobs are in these states."""
        with self.read() as connection:
            query = sa.select(sa.func.count()).where(schema.job.c.state.in_(sorted(states)))
            return int(connection.execute(query).scalar_one())

    def attempts(self, id: str) -> list[AttemptRow]:
        """A job's attempts, the first one first."""
        table = schema.attempt
        query = sa.select(*ATTEMPT).where(table.c.job == id).order_by(table.c.n)
        with self.read() as connection:
            found = [dict(row._mapping) for row in connection.execute(query)]
            try:
                return [AttemptRow(**{**row, "state": JobState(row["state"])}) for row in found]
            except ValueError as error:
                raise Unreadable(f"an attempt of {id} cannot be read: {error}") from error

    def leases(self) -> list[Lease]:
        """Which job has which device."""
        table = schema.lease
        query = sa.select(table.c.device, table.c.job, table.c.memory).order_by(table.c.device, table.c.job)
        with self.read() as connection:
            rows = connection.execute(query)
            return [Lease(device=row.device, job=row.job, memory=row.memory) for row in rows]

    def stale_leases(self) -> list[tuple[str, int]]:
        """Job and attempt of leases that an attempt had which has ended."""
        lease, job = schema.lease, schema.job
        ended = sa.or_(job.c.attempt != lease.c.attempt, job.c.state.not_in(sorted(LIVE)))
        query = sa.select(lease.c.job, lease.c.attempt).join(job, job.c.id == lease.c.job).where(ended)
        with self.read() as connection:
            return sorted({(row.job, row.attempt) for row in connection.execute(query)})

    def free(self, id: str, attempt: int) -> None:
        """Take back what an attempt that has ended still had."""
        table = schema.lease
        with self.write() as connection:
            connection.execute(sa.delete(table).where(table.c.job == id, table.c.attempt == attempt))

    def by_key(self, connection: Connection, owner: str, key: str) -> Row | None:
        """The job that this owner submitted under this key."""
        table = schema.job
        found = connection.execute(sa.select(table).where(table.c.owner == owner, table.c.key == key)).first()
        return None if found is None else Row.read(found)

    def insert(self, connection: Connection, values: Mapping[str, Any], *, actor: str | None = None) -> Row:
        """A new QUEUED job with its first attempt, in the caller's transaction.

        `actor` is its owner where None.
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
        # Columns as parameters: the statement is compiled once, which `values` would do anew each time.
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
        """The only way from state to state: the moved row, or None where `row` is no longer what is stored.

        `leases` are given to the attempt with the move; an end takes them back, unless `keep_leases` says
        that a process which may use the device could not be killed. `retry` {due, boot_id, retries, why}
        queues the next attempt with the end. With an `actor`, who did it is kept as `action`. A move that
        `state.MOVES` does not have is a bug, and a ValueError.
        """
        if to not in MOVES[row.state]:
            raise ValueError(f"{row.id}: {row.state} -> {to} is no move")
        with self.write() as connection:
            moved = _swap(connection, row, {**_in_order(row, changes), "state": to})
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

    def again(
        self,
        row: Row,
        launch: Mapping[str, Any],
        *,
        why: str = "resumed",
        actor: str | None = None,
        **columns: Any,
    ) -> Row | None:
        """A new QUEUED attempt of an ended job; None where `row` is not what is stored any more.

        `why` is one of `record.Attempt`'s. In `columns` one that nobody asked for may have `due` (seconds of
        the boot `boot_id` before which it waits) and `retries` (how many such there were in a row).
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

    # Who did what.

    def audit(
        self, connection: Connection, actor: str, action: str, target: str, detail: Mapping[str, Any]
    ) -> None:
        """Keep that `actor` did this, in the caller's transaction: with the change or not at all."""
        told = {"actor": actor, "action": action, "target": target, "detail": json.dumps(dict(detail))}
        connection.execute(sa.insert(schema.audit), {"time": time.time(), **told})

    def audit_rows(self, after: int, limit: int, owner: str | None = None) -> list[dict[str, Any]]:
        """Entries behind the one with this seq, oldest first; with an `owner`, none of another one's jobs."""
        table = schema.audit
        query = sa.select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
        if owner is not None:
            # The row of a removed job no longer says whose it was: only who acted on it sees that.
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


def _in_order(row: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    """No start before the submission and no end before the start, however the clock was set meanwhile."""
    started = max(changes.get("started") or row.started or row.created, row.created)
    times = {"started": started, "ended": max(changes.get("ended") or started, started)}
    return {**changes, **{name: times[name] for name in times if changes.get(name) is not None}}


def _swap(connection: Connection, row: Row, changes: Mapping[str, Any]) -> Row | None:
    """Write the changes and the next version where the row is still as given: the new row, or None."""
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

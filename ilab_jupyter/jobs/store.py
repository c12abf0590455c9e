"""The rows of the jobs: SQLite or PostgreSQL, every change a compare-and-swap, and trouble said aloud."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from ilab_jupyter.durable import disk_advice, make_folder
from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs import schema
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.lock import locked
from ilab_jupyter.jobs.state import MOVES, JobState

_NETWORK = ("nfs", "cifs", "smb", "ceph", "lustre", "gpfs", "glusterfs", "9p", "fuse.sshfs", "afs", "beegfs")


class Unreadable(Exception):
    """A row holds what we never wrote."""


@dataclass(frozen=True)
class Row:
    """A job as stored; `schema.job` says what the columns are."""

    seq: int
    id: str
    kind: str
    name: str
    owner: str
    state: JobState
    attempt: int
    version: int
    spec: dict[str, Any]
    launch: dict[str, Any]
    key: str | None
    spec_hash: str
    queue: str
    priority: int
    rank: float | None
    retries: int
    due: float | None
    created: float
    started: float | None
    ended: float | None
    token: str | None
    boot_id: str | None
    spawned: float | None
    stop_reason: str | None
    exit_code: int | None
    cause: str | None
    message: str | None
    next_step: str | None
    remedy: str | None
    result: dict[str, Any]
    progress: dict[str, Any]

    @classmethod
    def read(cls, row: Any) -> Row:
        """From a result of the database."""
        data = dict(row._mapping)
        try:
            for name in _JSON:
                data[name] = json.loads(data[name] or "{}")
            return cls(**{**data, "state": JobState(data["state"])})
        except (TypeError, ValueError) as error:
            raise Unreadable(f"the row of {data.get('id')} cannot be read: {error}") from error


@dataclass(frozen=True)
class AttemptRow:
    """An attempt as stored."""

    job: str
    n: int
    state: JobState
    token: str | None
    cause: str | None


_JSON = ("spec", "launch", "result", "progress")
_COLUMNS = frozenset(field.name for field in fields(Row))


class Store:
    """One store per state folder; safe for any number of processes and threads. Trouble is Unavailable."""

    def __init__(self, state: StateFolder, *, thorough: bool = False) -> None:
        """Open or, in a new folder, create. `thorough` reads the whole database and refuses a damaged one."""
        self.state = state
        self._path = state.database
        self._inode: int | None = None
        with disk_advice(state.path):
            make_folder(state.jobs)
            self._engine = self._connect()
            with locked(state.path / "store.lock", 60) as got:
                if not got:
                    raise Unavailable(f"Another process holds {state.path}.", "Try again in a minute.")
                self._begin(thorough)
            self._inode = self._path.stat().st_ino

    def _connect(self) -> Engine:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self._path)),
            connect_args={"timeout": 30, "check_same_thread": False},
            pool_size=8,
            max_overflow=24,
        )
        # On a network file system WAL corrupts: its shared memory is not shared between machines.
        journal = "DELETE" if filesystem(self._path.parent).startswith(_NETWORK) else "WAL"

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _record: Any) -> None:
            connection.isolation_level = (
                None  # transactions begin below, so that a write waits and never deadlocks
            )
            connection.execute(f"PRAGMA journal_mode={journal}")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            immediate = connection.get_execution_options().get("immediate", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

        return engine

    def _begin(self, thorough: bool) -> None:
        """Create the tables in a folder that never had any; otherwise check that they are ours."""
        if self._is_blank():
            if any(self.state.jobs.iterdir()):
                raise Unavailable(
                    f"The job database {self._path} is missing or empty, but {self.state.jobs} has jobs.",
                    "Restore jobs.db from a backup, or move both away to start afresh.",
                    cause="store_damaged",
                )
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            os.close(descriptor)
            with self.write() as connection:
                schema.metadata.create_all(connection)
                connection.execute(sa.insert(schema.setting).values(name="schema", value=schema.VERSION))
            return
        if thorough:
            with self.read() as connection:
                verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if verdict != "ok":
                raise self._damaged(str(verdict))
        try:
            found = self.setting("schema", "")
        except Unavailable as error:
            raise (
                error if error.cause != "store_error" else self._damaged("it has no tables of ours")
            ) from error
        if found != schema.VERSION:
            raise Unavailable(
                f"The job database {self._path} has schema {found or 'unknown'}, not {schema.VERSION}.",
                "Use the ilab-jupyter that wrote it, or set ILAB_JUPYTER_STATE to another folder.",
                cause="store_version",
            )

    def _is_blank(self) -> bool:
        """Nothing there, or what is left where the disk was full or the process killed while it was made."""
        if not self._path.exists() or self._path.stat().st_size == 0:
            return True
        try:
            with self.read() as connection:
                return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
        except Unavailable:
            return False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All or nothing, durable when it returns; the only writer meanwhile."""
        with (
            self._translated(),
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._inode is not None:
            # An open connection would go on writing into the deleted file, and every job of it would be lost.
            try:
                replaced = self._path.stat().st_ino != self._inode
            except OSError:
                replaced = True
            if replaced:
                raise Unavailable(
                    f"The job database {self._path} was removed or replaced while it was in use.",
                    "Put it back, then restart.",
                    cause="store_damaged",
                )
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._unavailable(error) from error
        except (SQLAlchemyError, UnicodeDecodeError, Unreadable) as error:
            raise self._damaged(str(error)) from error

    def _unavailable(self, error: DBAPIError) -> Unavailable:
        text = str(error.orig)
        if any(sign in text for sign in ("malformed", "not a database", "corrupt", "disk I/O error")):
            return self._damaged(text)
        if "full" in text:
            return Unavailable(
                f"The disk of {self._path.parent} is full.",
                "Free some space there, then try again.",
                cause="disk_full",
            )
        if "readonly" in text or "unable to open" in text:
            return Unavailable(
                f"The job database {self._path} cannot be opened for writing.",
                "Give yourself write permission, or set ILAB_JUPYTER_STATE to a folder that you own.",
                cause="state_folder",
            )
        if "locked" in text:
            return Unavailable(
                f"The job database {self._path} is busy.", "Try again in a minute.", cause="store_busy"
            )
        return Unavailable(
            f"The job database {self._path} cannot be used: {text}.", "Check its disk.", cause="store_error"
        )

    def _damaged(self, why: str) -> Unavailable:
        return Unavailable(
            f"The job database {self._path} is damaged ({why}).",
            "Nothing was changed. Restore it from a backup, or move the state folder away to start afresh.",
            cause="store_damaged",
        )

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    # Settings: every process that moves the queue must agree on them, so they lie beside the rows.

    def setting(self, name: str, default: str) -> str:
        """A setting's value."""
        with self.read() as connection:
            found = connection.execute(
                sa.select(schema.setting.c.value).where(schema.setting.c.name == name)
            ).scalar()
        return default if found is None else str(found)

    def put_setting(self, name: str, value: str) -> None:
        """Set a setting for every process."""
        table = schema.setting
        with self.write() as connection:
            if not connection.execute(
                sa.update(table).where(table.c.name == name).values(value=value)
            ).rowcount:
                connection.execute(sa.insert(table).values(name=name, value=value))

    def slots(self) -> dict[str, int]:
        """How many jobs of each queue may live at once; a queue that is not named has one slot."""
        return {**schema.SLOTS, **json.loads(self.setting("slots", "{}"))}

    def grace_seconds(self) -> float:
        """How long a worker that was asked to stop may take."""
        return float(self.setting("grace_seconds", str(schema.GRACE_SECONDS)))

    # Rows.

    def get(self, id: str) -> Row | None:
        """The job, whoever owns it."""
        with self.read() as connection:
            found = connection.execute(sa.select(schema.job).where(schema.job.c.id == id)).first()
            return None if found is None else Row.read(found)

    def select(
        self, *where: sa.ColumnElement[bool], limit: int | None = None, newest_first: bool = False
    ) -> list[Row]:
        """Jobs for which all conditions hold, in the order of submission."""
        order = schema.job.c.seq.desc() if newest_first else schema.job.c.seq
        with self.read() as connection:
            query = sa.select(schema.job).where(*where).order_by(order).limit(limit)
            return [Row.read(found) for found in connection.execute(query)]

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
        query = sa.select(table.c.job, table.c.n, table.c.state, table.c.token, table.c.cause)
        with self.read() as connection:
            found = connection.execute(query.where(table.c.job == id).order_by(table.c.n))
            return [AttemptRow(row.job, row.n, JobState(row.state), row.token, row.cause) for row in found]

    def by_key(self, connection: Connection, owner: str, key: str) -> Row | None:
        """The job that this owner submitted under this key."""
        table = schema.job
        found = connection.execute(sa.select(table).where(table.c.owner == owner, table.c.key == key)).first()
        return None if found is None else Row.read(found)

    def insert(self, connection: Connection, values: Mapping[str, Any]) -> Row:
        """A new QUEUED job with its first attempt, in the caller's transaction."""
        stored = {**_stored(values), "state": JobState.QUEUED, "attempt": 1, "version": 1}
        connection.execute(sa.insert(schema.job).values(stored))
        connection.execute(sa.insert(schema.attempt).values(job=values["id"], n=1, state=JobState.QUEUED))
        found = connection.execute(sa.select(schema.job).where(schema.job.c.id == values["id"])).one()
        return Row.read(found)

    def move(self, row: Row, to: JobState, **changes: Any) -> Row | None:
        """The only way from state to state: the moved row, or None where `row` is no longer what is stored.

        A move that `state.MOVES` does not have is a bug, and a ValueError.
        """
        if to not in MOVES[row.state]:
            raise ValueError(f"{row.id}: {row.state} -> {to} is no move")
        moved = replace(row, state=to, version=row.version + 1, **changes)
        with self.write() as connection:
            if not _swap(connection, row, {"state": to, "version": moved.version, **changes}):
                return None
            kept = {name: changes[name] for name in changes.keys() & _ATTEMPT_COLUMNS}
            connection.execute(
                sa.update(schema.attempt)
                .where(schema.attempt.c.job == row.id, schema.attempt.c.n == row.attempt)
                .values(state=to, **kept)
            )
        return moved

    def again(self, row: Row, launch: Mapping[str, Any]) -> Row | None:
        """A new QUEUED attempt of an ended job; None where `row` is not what is stored any more."""
        if not row.state.resumable:
            raise ValueError(f"{row.id}: {row.state} cannot be resumed")
        changes: dict[str, Any] = {
            **dict.fromkeys(_OF_AN_ATTEMPT),
            "state": JobState.QUEUED,
            "attempt": row.attempt + 1,
            "version": row.version + 1,
            "launch": dict(launch),
            "result": {},
            "progress": {},
        }
        with self.write() as connection:
            if not _swap(connection, row, changes):
                return None
            connection.execute(
                sa.insert(schema.attempt).values(job=row.id, n=row.attempt + 1, state=JobState.QUEUED)
            )
        return replace(row, **changes)


_OF_AN_ATTEMPT = (
    *("started", "ended", "token", "boot_id", "spawned"),
    *("stop_reason", "exit_code", "cause", "message", "next_step", "remedy", "due"),
)
_ATTEMPT_COLUMNS = frozenset({"token", "started", "ended", "exit_code", "cause", "message"})


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    assert values.keys() <= _COLUMNS
    return {name: json.dumps(value) if name in _JSON else value for name, value in values.items()}


def _swap(connection: Connection, row: Row, changes: Mapping[str, Any]) -> bool:
    table = schema.job
    update = sa.update(table).where(
        table.c.id == row.id,
        table.c.attempt == row.attempt,
        table.c.version == row.version,
        table.c.state == row.state,
    )
    return connection.execute(update.values(_stored(changes))).rowcount == 1


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path`, such as `ext4` or `nfs4`; empty where unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best = ("", "")
    for line in mounts.splitlines():
        where, kind = line.split(" ")[1:3]
        where = where.replace("\\040", " ")
        if path.resolve().is_relative_to(where) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]

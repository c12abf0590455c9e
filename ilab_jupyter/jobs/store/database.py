"""Opening the job database: creating or upgrading its tables, transactions, and translation of errors."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

from ilab_jupyter.durable import disk_advice, make_folder, read_json, write_json
from ilab_jupyter.errors import PublicError, Unavailable
from ilab_jupyter.jobs.attempt.launch import DATABASE_URL
from ilab_jupyter.jobs.attempt.lock import locked
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.filesystem import LOW_DISK_BYTES, free_bytes
from ilab_jupyter.jobs.store.postgres import Postgres, read_url
from ilab_jupyter.jobs.store.row import Unreadable
from ilab_jupyter.jobs.store.sqlite import Sqlite

FOLDER = "folder"


class Backend(Protocol):
    """The differences between SQLite and PostgreSQL."""

    engine: Engine
    where: str
    journal_advice: list[str]

    def absent(self) -> bool:
        """Whether there is no database yet."""

    def open(self) -> None:
        """Prepare an existing database."""

    def examine(self) -> None:
        """Read the whole database; refuse a damaged one."""

    def create(self) -> None:
        """Create an empty database."""

    def settle(self) -> None:
        """Called once the database is open."""

    def check(self) -> None:
        """Refuse to continue if the database was replaced."""

    def copy(self, to: Path) -> None:
        """Write a copy to `to`."""

    def damaged(self, why: str) -> Unavailable:
        """Return the error for content that we never wrote."""

    def refusal(self, error: DBAPIError) -> PublicError:
        """Return the public error for a database error."""


class Database:
    """The tables of one state folder: in its `jobs.db`, or at `url`. Safe for several processes and threads.

    Errors are PublicError, mostly Unavailable.
    """

    def __init__(
        self, state: StateFolder, url: str | None = None, *, thorough: bool = False, restoring: bool = False
    ) -> None:
        """Open the database; create it in a new folder; upgrade one of an older version.

        `url` is ILAB_JUPYTER_DATABASE_URL if None, and SQLite if that is not set. `thorough` reads the whole
        database and refuses a damaged one. `restoring` opens one whose restore has not finished.
        """
        self.state = state
        address = url or os.environ.get(DATABASE_URL) or None
        self.environment: Mapping[str, str] = {} if address is None else {DATABASE_URL: address}
        self._backend: Backend = Sqlite(state.database) if address is None else Postgres(read_url(address))
        try:
            with disk_advice(state.path):
                self._prepare(restoring)
                if thorough:
                    self._backend.examine()
        except BaseException:
            self.close()
            raise

    @property
    def advice(self) -> list[str]:
        """Sentences for an administrator about the storage of the jobs; usually none."""
        found = list(self._backend.journal_advice)
        free = free_bytes(self.state.path)
        if free is not None and free < LOW_DISK_BYTES:
            found.append(
                f"The disk of {self.state.path} is nearly full: {free // 1_000_000} MB are left. "
                "Free some space there."
            )
        return found

    @property
    def where(self) -> str:
        """A description of the database without its password."""
        return self._backend.where

    # Opening.

    def _prepare(self, restoring: bool) -> None:
        make_folder(self.state.path)
        self._refuse_unfinished(restoring)
        make_folder(self.state.jobs)
        with locked(self.state.path / "store.lock", 60) as got:
            if not got:
                raise Unavailable(f"Another process holds {self.state.path}.", "Try again in a minute.")
            self._refuse_unfinished(restoring)
            self._open(restoring)
        self._backend.settle()

    def _refuse_unfinished(self, restoring: bool) -> None:
        if self.state.restoring.exists() and not restoring:
            raise Unavailable(
                f"A restore into {self.state.path} has not finished.",
                "Wait for it; if it was stopped, run the same `ilab-jupyter restore` again.",
                cause="store_restoring",
            )

    def _open(self, restoring: bool) -> None:
        bound = read_json(self.state.binding)
        if bound is not None and isinstance(self._backend, Sqlite):
            raise Unavailable(
                f"The jobs of {self.state.path} are kept in a PostgreSQL database.",
                f"Set {DATABASE_URL} to its address.",
                cause="store_elsewhere",
            )
        if not self._backend.absent():
            self._backend.open()
            tables = self._tables()
            if schema.setting.name in tables:
                self._check_schema(bound)
                return
            if tables and (isinstance(self._backend, Sqlite) or tables & set(schema.metadata.tables)):
                raise self._backend.damaged("it does not contain our tables")
        if not restoring and any(self.state.jobs.iterdir()):
            raise self._missing()
        if isinstance(self._backend, Postgres):
            if self.state.database.exists():
                raise Unavailable(
                    f"The jobs of {self.state.path} are kept in {self.state.database}.",
                    f"Move them: `ilab-jupyter backup` without {DATABASE_URL}, "
                    "then `ilab-jupyter restore` with it into another state folder.",
                    cause="store_elsewhere",
                )
            bound = bound or {FOLDER: secrets.token_hex(16)}
            write_json(self.state.binding, bound)
        self._backend.create()
        with self.write() as connection:
            schema.metadata.create_all(connection)
            settings = {"schema": schema.VERSION, **(bound or {})}
            connection.execute(
                sa.insert(schema.setting), [{"name": name, "value": settings[name]} for name in settings]
            )

    def _tables(self) -> set[str]:
        with self.read() as connection:
            return set(sa.inspect(connection).get_table_names())

    def _check_schema(self, bound: Mapping[str, str] | None) -> None:
        """Refuse tables of another folder or a newer version; upgrade those of an older version."""
        with self.read() as connection:
            found = dict(connection.execute(sa.select(schema.setting.c.name, schema.setting.c.value)).all())
        if found.get(FOLDER) != (bound or {}).get(FOLDER):
            raise Unavailable(
                f"The job database {self.where} belongs to another state folder than {self.state.path}.",
                "Set ILAB_JUPYTER_STATE to that folder, or use a separate database for this one.",
                cause="store_elsewhere",
            )
        version = found.get("schema", "")
        if version == schema.VERSION:
            return
        newer = version.isdecimal() and int(version) > int(schema.VERSION)
        if newer or not version.isdecimal():
            raise Unavailable(
                f"The job database {self.where} has schema {version or 'unknown'}, not {schema.VERSION}.",
                "Install the newer ilab-jupyter that wrote it, or set ILAB_JUPYTER_STATE to another folder."
                if newer
                else "Restore it from a backup.",
                cause="store_version",
            )
        from ilab_jupyter.jobs.store.migrations import upgrade

        self._backend.examine()
        copy = self.state.database.with_name(f"{self.state.database.name}.before-{schema.VERSION}")
        self._backend.copy(copy)
        with self.write() as connection:
            upgrade(connection, int(version))

    def _missing(self) -> Unavailable:
        what = f"The job database {self.where} is missing or empty, but {self.state.jobs} contains jobs."
        if isinstance(self._backend, Postgres):
            return Unavailable(
                what, f"Check the address in {DATABASE_URL}, or restore a backup.", cause="store_damaged"
            )
        return Unavailable(
            what,
            "Restore jobs.db from a backup, or move both away to start with an empty one.",
            cause="store_damaged",
        )

    # Transactions.

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction: one consistent view."""
        with self._translated(), self._backend.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction: all or nothing, durable on return, exclusive among writers."""
        with (
            self._translated(),
            self._backend.engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._backend.check()
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._backend.refusal(error) from error
        except NoConnection as error:
            raise Unavailable(
                f"The job database {self.where} is busy.", "Try again in a minute.", cause="store_busy"
            ) from error
        except (SQLAlchemyError, UnicodeDecodeError, Unreadable) as error:
            raise self._backend.damaged(str(error)) from error

    def close(self) -> None:
        """Close the connections."""
        self._backend.engine.dispose()

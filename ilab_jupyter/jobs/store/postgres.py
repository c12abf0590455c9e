"""The store in a PostgreSQL database: its URL, a single writer at a time, translation of errors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import ArgumentError, DBAPIError

from ilab_jupyter.errors import InvalidInput, PublicError, Unavailable
from ilab_jupyter.jobs.attempt.launch import DATABASE_URL

log = logging.getLogger(__name__)

# Every writer takes this lock first, so that its transaction sees all earlier ones.
_WRITER = 0x696C6162
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_WAIT = "30s"
# While connecting, psycopg provides the server's message but not its error code.
_TOO_MANY = ("too many clients", "too many connections", "remaining connection slots", "starting up")
_NOT_LET_IN = (
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied for data",
)
_TRY_LATER = "Try again in a minute."


def read_url(text: str) -> URL:
    """Parse the address of a database. InvalidInput, which never contains it, for anything but PostgreSQL."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in _SCHEMES:
        raise InvalidInput(
            f"The value of {DATABASE_URL} (or database_url) is not the address of a PostgreSQL database.",
            "Write it as postgresql://user:password@host:5432/database; leave it out for SQLite.",
            cause="database_url",
        )
    return url.set(drivername="postgresql+psycopg")


class Postgres:
    """The database at `url`. One instance per process and store."""

    def __init__(self, url: URL) -> None:
        self._url = url
        host = url.host or url.query.get("host") or "this machine"
        self.where = f"{url.database or url.username} on {host}"
        self.journal_advice: list[str] = []
        try:
            self.engine = sa.create_engine(
                url,
                # Each running job has its own process, and a server allows a hundred connections by default.
                pool_size=2,
                max_overflow=14,
                pool_timeout=30,
                pool_pre_ping=True,
                pool_recycle=1800,
                connect_args={"connect_timeout": 10, "application_name": "ilab-jupyter", **_KEEPALIVE},
            )
        except ImportError as error:
            raise Unavailable(
                "The library for PostgreSQL is not installed.",
                "Install ilab-jupyter[postgres].",
                cause="database_library",
            ) from error

        @sa.event.listens_for(self.engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            # A process stopped during a write releases its lock; a commit is on the disk.
            for statement in (
                f"SET lock_timeout = '{_WAIT}'",
                f"SET idle_in_transaction_session_timeout = '{_WAIT}'",
                "SET synchronous_commit = on",
            ):
                connection.execute(statement)
            connection.commit()

        @sa.event.listens_for(self.engine, "begin")
        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get("immediate", False):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def absent(self) -> bool:
        """False: the database exists; whether it has our tables is checked later."""
        return False

    def open(self) -> None:
        """Nothing to prepare."""

    def examine(self) -> None:
        """Nothing to check: the server verifies its files."""

    def create(self) -> None:
        """Nothing to create."""

    def settle(self) -> None:
        """Nothing to remember."""

    def check(self) -> None:
        """Nothing to check: a server's database is not replaced as a file."""

    def copy(self, to: Path) -> None:
        """Only log a message: a server's database is copied with its own tools."""
        log.warning("The tables in %s will be upgraded; use pg_dump to copy them.", self.where)

    def damaged(self, why: str) -> Unavailable:
        """Return the error for content that we never wrote."""
        return Unavailable(
            f"The job database {self.where} is damaged ({self._hidden(why)}).",
            "Nothing was changed. Restore it from a backup, or use another database and state folder.",
            cause="store_damaged",
        )

    def refusal(self, error: DBAPIError) -> PublicError:
        """Return the public error for a database error, without the password."""
        state = str(getattr(error.orig, "sqlstate", None) or "")
        text = self._hidden(" ".join(str(error.orig).split()))
        if (
            state in ("53300", "53400", "57P03")
            or "too many clients" in text
            or "remaining connection slots" in text
        ):
            return Unavailable(
                f"The database server of {self.where} accepts no more connections.",
                "Try again in a minute, or raise its max_connections.",
                cause="store_busy",
            )
        if state in ("25006", "42501"):
            return Unavailable(
                f"The job database {self.where} is read-only for its user.",
                "Grant its user write access, or connect to the primary server.",
                cause="store_readonly",
            )
        if state in ("55P03", "40001", "40P01", "25P03"):
            return Unavailable(f"The job database {self.where} is busy.", _TRY_LATER, cause="store_busy")
        if state.startswith("28") or any(sign in text for sign in _NOT_LET_IN):
            return Unavailable(
                f"The database server refuses access to {self.where}.",
                f"Check user, password and database in {DATABASE_URL}.",
                cause="store_refused",
            )
        if state == "53100":
            return Unavailable(
                f"The disk of the database server of {self.where} is full.",
                "Free some space there, then try again.",
                cause="disk_full",
            )
        if state.startswith("22"):
            return InvalidInput("A text is too long, or contains a character that cannot be stored.")
        if state in ("", "57P01", "57P02") or state.startswith("08") or error.connection_invalidated:
            return Unavailable(
                f"The database server of {self.where} cannot be reached ({text}).",
                f"Start it, or check the address in {DATABASE_URL}.",
                cause="store_unreachable",
            )
        if state in ("42P01", "42703"):
            return self.damaged(text)
        return Unavailable(
            f"The job database {self.where} cannot be used: {text}.",
            "Read the database server's log.",
            cause="store_error",
        )

    def _hidden(self, text: str) -> str:
        secret = self._url.password
        return text.replace(str(secret), "***") if secret else text


_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

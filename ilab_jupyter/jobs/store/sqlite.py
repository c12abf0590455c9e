"""The store in an SQLite file: choice of journal, detection of damage, translation of errors."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from ilab_jupyter.durable import sync
from ilab_jupyter.errors import PublicError, Unavailable
from ilab_jupyter.jobs.store.filesystem import free_bytes, network

log = logging.getLogger(__name__)

_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_IOERR_SHORT_READ")
_LOST = ("SQLITE_IOERR_CORRUPTFS", "SQLITE_IOERR_DATA")
_LOCKS = ("SQLITE_IOERR_LOCK", "SQLITE_IOERR_RDLOCK", "SQLITE_IOERR_CHECKRESERVEDLOCK", "SQLITE_PROTOCOL")
_NO_WAL = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL")
_ELSEWHERE = (
    "Set ILAB_JUPYTER_STATE to a folder on a local disk, "
    "or ILAB_JUPYTER_DATABASE_URL to a PostgreSQL database."
)
_NO_ROOM = 1_000_000
# SQLite's message may quote bytes of a damaged file that are not valid text.
_ERRORS = (sqlite3.Error, UnicodeDecodeError)
# Above this size only the pages are checked: comparing indices with tables would take many seconds.
_FULL_CHECK = 1_000_000_000


class Sqlite:
    """The database file `path`. One instance per process and store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self.journal_advice: list[str] = []
        self._inode: int | None = None
        self.engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            connect_args={"timeout": 30, "check_same_thread": False},
            pool_size=8,
            max_overflow=24,
        )

        @sa.event.listens_for(self.engine, "connect")
        def prepare(connection: sqlite3.Connection, _record: Any) -> None:
            # Transactions begin in `begin`, so that writers wait and never deadlock.
            connection.isolation_level = None
            # A commit survives a power cut with either journal.
            connection.execute("PRAGMA synchronous=EXTRA")
            connection.execute("PRAGMA foreign_keys=ON")

        @sa.event.listens_for(self.engine, "begin")
        def begin(connection: Connection) -> None:
            immediate = connection.get_execution_options().get("immediate", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    def absent(self) -> bool:
        """Whether the file is missing or empty."""
        return not self.path.exists() or self.path.stat().st_size == 0

    def open(self) -> None:
        """Choose the journal. Called under the store's lock."""
        if not os.access(self.path, os.W_OK):
            raise self._readonly()
        self._try_lock()
        try:
            self._choose_journal()
        except _ERRORS as error:
            raise self._translate(error) from error

    def create(self) -> None:
        """Create an empty file that only the owner may read."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self.open()

    def settle(self) -> None:
        """Remember the inode of the file."""
        self._inode = self.path.stat().st_ino

    def check(self) -> None:
        """Refuse to continue if the file was replaced: open connections would write into the deleted one."""
        if self._inode is None:
            return
        try:
            replaced = self.path.stat().st_ino != self._inode
        except OSError:
            replaced = True
        if replaced:
            raise Unavailable(
                f"The job database {self.path} was removed or replaced while it was in use.",
                "Put it back, then restart.",
                cause="store_damaged",
            )

    def copy(self, to: Path) -> None:
        """Write a consistent copy of the database, completely or not at all."""
        part = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as source:
                with closing(sqlite3.connect(part)) as target:
                    part.chmod(0o600)
                    source.backup(target)
                    target.execute("PRAGMA journal_mode=DELETE")
                sync(part)
            part.replace(to)
            sync(to.parent)
        except _ERRORS as error:
            raise self._translate(error) from error
        finally:
            part.unlink(missing_ok=True)

    def refusal(self, error: DBAPIError) -> PublicError:
        """Return the public error for a database error."""
        return self._translate(error.orig)

    def damaged(self, why: str) -> Unavailable:
        """Return the error for content that we never wrote."""
        return Unavailable(
            f"The job database {self.path} is damaged ({why}).",
            "Nothing was changed. Restore it with `ilab-jupyter restore` from a backup, "
            "or move the state folder away to start with an empty one.",
            cause="store_damaged",
        )

    # The journal. WAL allows readers beside a writer, but its index is in shared memory, which network file
    # systems do not share between machines and some file systems do not support.

    def _choose_journal(self) -> None:
        kind = network(self.path.parent)
        now_wal = self._is_wal()
        if kind:
            self.journal_advice = [
                f"The state folder {self.path.parent} is on a network file system ({kind}): jobs work, but "
                f"the database is slower there. {_ELSEWHERE}"
            ]
            refused = True
        else:
            refused = not (_wal_works(self.path) if now_wal else self._probe())
            if refused:
                if self._no_room():
                    raise self._full()
                self.journal_advice = [
                    f"The file system of {self.path.parent} refuses SQLite's write-ahead log: jobs work, but "
                    f"the database is slower there. {_ELSEWHERE}"
                ]
        if refused:
            for sentence in self.journal_advice:
                log.warning("%s", sentence)
        if refused == now_wal:
            self._set_journal("delete" if refused else "wal")

    def _try_lock(self) -> None:
        """Check that the file system supports locks; SQLite reports a busy database if it does not."""
        probe = self.path.with_name(f".lock.{secrets.token_hex(4)}")
        with probe.open("xb") as file:
            probe.unlink()
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise self._without_locks() from error

    def _is_wal(self) -> bool:
        """Ask SQLite for the journal mode.

        Reading the file directly would release the locks of this process's connections when it is closed, and
        corrupt the database.
        """
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as connection:
                return bool(connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal")
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorname or "").startswith(_NO_WAL):
                return True
            raise

    def _probe(self) -> bool:
        """Check with a temporary database whether this folder supports a write-ahead log."""
        probe = self.path.with_name(f".wal.{secrets.token_hex(4)}")
        try:
            os.close(os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return _wal_works(probe)
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    probe.with_name(probe.name + suffix).unlink()

    def _set_journal(self, mode: str) -> None:
        with closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as connection:
            if mode == "delete":
                # With exclusive locking the WAL index is private memory, so this works without shared memory.
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            got = connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0]
        if got != mode and mode == "delete":
            raise Unavailable(
                f"The job database {self.path} is in use with a journal that its file system cannot hold.",
                "Stop the other processes that use it, then try again.",
                cause="store_busy",
            )

    def examine(self) -> None:
        """Read everything, and refuse a damaged database. Others may read and write meanwhile."""
        check = "integrity_check" if self.path.stat().st_size <= _FULL_CHECK else "quick_check"
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as connection:
                verdict = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
        except _ERRORS as error:
            raise self._translate(error) from error
        if verdict != "ok":
            raise self.damaged(str(verdict).strip().replace("\n", " "))

    # Errors.

    def _no_room(self) -> bool:
        free = free_bytes(self.path.parent)
        return free is not None and free < _NO_ROOM

    def _full(self) -> Unavailable:
        return Unavailable(
            f"The disk of {self.path.parent} is full.",
            "Free some space there, then try again.",
            cause="disk_full",
        )

    def _without_locks(self) -> Unavailable:
        return Unavailable(
            f"The file system of {self.path.parent} has no file locks, which jobs need.",
            "Set ILAB_JUPYTER_STATE to a folder on a local disk.",
            cause="state_folder",
        )

    def _readonly(self) -> Unavailable:
        return Unavailable(
            f"The job database {self.path} cannot be opened for writing.",
            "Give yourself write permission, or set ILAB_JUPYTER_STATE to a folder that you own.",
            cause="state_folder",
        )

    def _translate(self, error: BaseException | None) -> PublicError:
        if isinstance(error, UnicodeDecodeError):
            return self.damaged("it contains invalid text")
        text, name = str(error), getattr(error, "sqlite_errorname", None) or ""
        if name.startswith(_DAMAGE + _LOST) or any(sign in text for sign in ("malformed", "not a database")):
            return self.damaged(text)
        free = free_bytes(self.path.parent)
        if name == "SQLITE_FULL" or (
            name.startswith("SQLITE_IOERR") and free is not None and free < _NO_ROOM
        ):
            return self._full()
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return self._readonly()
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return Unavailable(
                f"The job database {self.path} is busy.", "Try again in a minute.", cause="store_busy"
            )
        if name.startswith(_LOCKS):
            return self._without_locks()
        return Unavailable(
            f"The job database {self.path} cannot be used: {text}.", "Check its disk.", cause="store_error"
        )


def _wal_works(path: Path) -> bool:
    """Whether this database can be opened and read with a write-ahead log."""
    try:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                return False
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return True
    except sqlite3.OperationalError as error:
        if (error.sqlite_errorname or "").startswith(_NO_WAL):
            return False
        raise

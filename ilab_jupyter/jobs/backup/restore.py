"""Restore of a backup into an empty state folder: verified completely, and all or nothing.

Jobs that were live in the backup become INTERRUPTED and can be resumed; queued jobs stay queued. Restored
rows refer to no process, so none is mistaken for a running one.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ilab_jupyter.durable import disk_advice, make_folder, sync, write_json
from ilab_jupyter.errors import Conflict, NotFound, Unavailable, Unprocessable
from ilab_jupyter.jobs.attempt.lock import locked
from ilab_jupyter.jobs.backup.archive import (
    CHUNK_BYTES,
    FORMAT,
    HEADER,
    LEFT_OUT,
    MANIFEST,
    OWN_SETTINGS,
    ROWS,
    TABLES,
)
from ilab_jupyter.jobs.causes import remedy
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.database import Database
from ilab_jupyter.jobs.store.filesystem import LOW_DISK_BYTES, free_bytes
from ilab_jupyter.jobs.store.row import seal

CAUSE = "restored"

_DAMAGE_ERRORS = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, IntegrityError),
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
    *(FileExistsError, NotADirectoryError, IsADirectoryError),
)
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}-[a-z2-7]{8}")
_MAX_FILES = 1_000_000
_MAX_DEPTH = 64
# A gzip of nothing but zeros has a ratio of 1030; what jobs write has one of 3 to 100.
_MAX_RATIO = 500
_RATIO_FREE_BYTES = 64 * 1_048_576
_MAX_HEADER_BYTES = 65536
_BATCH = 500


@dataclass(frozen=True)
class Restored:
    """The result of a restore."""

    path: Path
    as_of: float
    jobs: int
    interrupted: int
    queued: int
    files: int
    bytes: int
    seconds: float


class _InvalidArchive(Exception):
    """The reason why an archive is refused."""


def restore_backup(state: StateFolder, path: Path, *, url: str | None = None, actor: str) -> Restored:
    """Unpack the backup at `path` into a state folder without jobs, or one whose restore was interrupted.

    Conflict if there are jobs; Unprocessable for an archive that is damaged or is not a backup; Unavailable
    if it does not fit on the disk. After an error or a kill the folder holds the complete backup or nothing,
    and the restore can be repeated.
    """
    started = time.monotonic()
    if not path.is_file():
        raise NotFound(f"There is no backup {path}.", "Give the file that `ilab-jupyter backup` has written.")
    with disk_advice(state.path):
        make_folder(state.path)
        with locked(state.turn_lock, 2) as got:
            if not got:
                raise Conflict(f"Another process uses {state.path}.", "Choose another folder, or stop it.")
            database = _empty(state, url)
            try:
                with _verified(path):
                    header, rows, size, files = _unpack(path, state)
                    os.sync()
                    counts = _insert_rows(database, rows, header["as_of"], actor)
            except BaseException:
                database.close()
                _clear(state)
                state.restoring.unlink(missing_ok=True)
                raise
            database.close()
            shutil.rmtree(_spool(state), ignore_errors=True)
            state.restoring.unlink()
            sync(state.path)
    took = time.monotonic() - started
    return Restored(state.path, header["as_of"], *counts, files=files, bytes=size, seconds=took)


def _empty(state: StateFolder, url: str | None) -> Database:
    """Return the database of a folder without jobs, which no other process can open until the restore is
    done."""
    if not state.restoring.exists():
        if state.jobs.exists() and any(state.jobs.iterdir()):
            raise Conflict(f"{state.path} has jobs.", "Restore into an empty folder.")
        database = Database(state, url)
        with database.read() as connection:
            taken = connection.execute(sa.select(schema.job.c.id).limit(1)).first()
        if taken is not None:
            database.close()
            raise Conflict(f"The job database {database.where} has jobs.", "Restore into an empty one.")
        write_json(state.restoring, {"since": time.time()})
        return database
    _clear(state)
    database = Database(state, url, restoring=True)
    with database.write() as connection:
        _clear_rows(connection)
    return database


def _clear(state: StateFolder) -> None:
    shutil.rmtree(_spool(state), ignore_errors=True)
    for entry in state.jobs.iterdir() if state.jobs.exists() else ():
        shutil.rmtree(entry, ignore_errors=True)


def _clear_rows(connection: Connection) -> None:
    for table in (schema.lease, schema.attempt, schema.audit, schema.job):
        connection.execute(sa.delete(table))
    own = schema.setting.c.name.in_(sorted(OWN_SETTINGS))
    connection.execute(sa.delete(schema.setting).where(~own))


def _spool(state: StateFolder) -> Path:
    """Return the folder that holds the rows until all files are verified."""
    return state.path / "restoring"


@contextmanager
def _verified(path: Path) -> Iterator[None]:
    try:
        yield
    except (_InvalidArchive, *_DAMAGE_ERRORS) as error:
        why = str(error) if isinstance(error, _InvalidArchive) else "it is cut short or damaged"
        raise Unprocessable(
            f"{path} cannot be restored: {why}.", "Nothing was restored. Use another backup."
        ) from error


class _LimitedGzip:
    """Reads a gzip and refuses one that unpacks to more than its limit."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._packed = gzip.GzipFile(fileobj=file, mode="rb")
        self._read = 0
        self.limit = 2 * _MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        data = self._packed.read(size)
        self._read += len(data)
        ratio = self._read / max(1, self._file.tell())
        if self._read > self.limit or (self._read > _RATIO_FREE_BYTES and ratio > _MAX_RATIO):
            raise _InvalidArchive("it unpacks to more than its header states")
        return data


def _unpack(path: Path, state: StateFolder) -> tuple[dict[str, Any], Path, int, int]:
    """Return the header, the file with the rows, and the numbers of bytes and files unpacked and verified."""
    rows = _spool(state) / ROWS
    make_folder(rows.parent)
    make_folder(state.jobs)
    digests: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    ids: set[str] = set()
    with path.open("rb") as file:
        limited = _LimitedGzip(file)
        with tarfile.open(fileobj=limited, mode="r|") as tar:  # type: ignore[call-overload]
            header = _header(tar, state, limited)
            while (member := tar.next()) is not None:
                if manifest is not None or len(digests) > _MAX_FILES:
                    raise _InvalidArchive("it has too many files")
                source = tar.extractfile(member)
                if source is None or not member.isreg() or member.sparse is not None:
                    raise _InvalidArchive(f"{member.name[:200]!r} is not a regular file")
                if member.name == MANIFEST:
                    manifest = json.loads(source.read())
                elif member.name == ROWS and not digests:
                    digests[ROWS] = _copy(source, rows, member)
                    ids = _ids(rows)
                else:
                    target = state.jobs.joinpath(*_parts(member.name, ids))
                    digests[member.name] = _copy(source, target, member)
        # The checksum of a gzip is at its very end, after what a tar reader reads.
        while limited.read(CHUNK_BYTES):
            pass
    _compare(manifest, digests, state)
    return header, rows, sum(one["size"] for one in digests.values()), len(digests) - 1


def _header(tar: tarfile.TarFile, state: StateFolder, limited: _LimitedGzip) -> dict[str, Any]:
    first = tar.next()
    source = None if first is None or first.size > _MAX_HEADER_BYTES else tar.extractfile(first)
    if first is None or source is None or first.name != HEADER:
        raise _InvalidArchive("it is not a backup of ilab-jupyter")
    header = json.loads(source.read())
    if header["format"] != FORMAT or int(header["schema"]) > int(schema.VERSION):
        raise _InvalidArchive("it was written by a newer ilab-jupyter")
    size, free = int(header["bytes"]), free_bytes(state.path)
    if free is not None and size > free - LOW_DISK_BYTES:
        raise Unavailable(
            f"The backup unpacks to {size / 1e6:,.0f} MB; {free / 1e6:,.0f} MB are free in {state.path}.",
            "Free some space there, or restore into a folder on another disk.",
            cause="disk_full",
        )
    limited.limit = int(size * 1.2) + 4096 * int(header["files"]) + _RATIO_FREE_BYTES
    return {"as_of": float(header["as_of"])}


def _parts(name: str, ids: set[str]) -> list[str]:
    """Return the path below `jobs/`. Refuses paths of unknown jobs and paths that leave the folder."""
    first, *parts = name.split("/")
    if first != "jobs" or not 2 <= len(parts) <= _MAX_DEPTH or parts[0] not in ids:
        raise _InvalidArchive(f"{name[:200]!r} belongs to a job that is not in the backup")
    if any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255 for part in parts):
        raise _InvalidArchive(f"{name[:200]!r} is not a valid path within a job")
    if parts[1] != "artifacts" and parts[-1] in LEFT_OUT:
        raise _InvalidArchive(f"{name[:200]!r} is not a file of a backup")
    return parts


def _copy(source: IO[bytes], target: Path, member: tarfile.TarInfo) -> dict[str, Any]:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(target, flags, 0o700 if member.mode & 0o100 else 0o600)
    except FileExistsError:
        raise _InvalidArchive(f"{member.name[:200]!r} occurs twice") from None
    with os.fdopen(descriptor, "wb") as file:
        while piece := source.read(CHUNK_BYTES):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
    return {"size": size, "sha256": digest.hexdigest()}


def _compare(manifest: dict[str, Any] | None, found: dict[str, Any], state: StateFolder) -> None:
    if manifest is None:
        raise _InvalidArchive("it is cut short")
    files = {name: entry for name, entry in manifest["files"].items() if name != HEADER}
    for name in found.keys() - files.keys():
        if name not in manifest["left_out"]:
            raise _InvalidArchive(f"{name[:200]!r} is not in its manifest")
        state.path.joinpath(name).unlink()
        del found[name]
    if wrong := next((name for name in files if found.get(name) != files[name]), None):
        raise _InvalidArchive(f"{wrong[:200]!r} differs from its checksum")


def _ids(rows: Path) -> set[str]:
    found = {row["id"] for table, row in _read(rows) if table is schema.job}
    for id in found:
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise _InvalidArchive(f"{str(id)[:200]!r} is not a valid job id")
    return found


def _read(rows: Path) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
    tables = {table.name: table for table in TABLES}
    with rows.open("rb") as lines:
        for line in lines:
            value = json.loads(line)
            table = tables[value["table"]]
            row = {schema.RENAMED.get(name, name): found for name, found in value["row"].items()}
            if not row.keys() <= set(table.c.keys()):
                raise _InvalidArchive("it has unknown columns")
            yield table, {**dict.fromkeys(table.c.keys()), **row}


def _insert_rows(database: Database, rows: Path, as_of: float, actor: str) -> tuple[int, int, int]:
    """Insert all rows in one transaction; return how many jobs there are, are INTERRUPTED by this, and are
    QUEUED."""
    jobs = interrupted = queued = 0
    ended: set[tuple[str, int]] = set()
    with database.write() as connection:
        _clear_rows(connection)
        batch: list[dict[str, Any]] = []
        now: sa.Table | None = None
        for table, row in _read(rows):
            if batch and (table is not now or len(batch) == _BATCH):
                connection.execute(sa.insert(now), batch)  # type: ignore[arg-type]
                batch = []
            now = table
            if table is schema.job:
                jobs += 1
                if row["state"] in LIVE:
                    ended.add((row["id"], row["attempt"]))
                queued += row["state"] == JobState.QUEUED
                row = _job(row, as_of)
            elif table is schema.attempt:
                row = {**row, "token": None}
                if (row["job"], row["n"]) in ended:
                    row |= {"state": JobState.INTERRUPTED, **_end(as_of)}
            elif table is schema.setting and row["name"] in OWN_SETTINGS:
                continue
            batch.append(row)
        if batch and now is not None:
            connection.execute(sa.insert(now), batch)
        interrupted = len(ended)
        detail = json.dumps({"as_of": as_of, "jobs": jobs})
        values = {"time": time.time(), "actor": actor, "action": "restore", "target": "store"}
        _advance_sequences(connection)
        connection.execute(sa.insert(schema.audit).values(**values, detail=detail))
    return jobs, interrupted, queued


def _job(row: dict[str, Any], as_of: float) -> dict[str, Any]:
    row = {**row, **dict.fromkeys(("token", "boot_id", "spawned", "due"))}
    if row["state"] in LIVE:
        row |= {
            **_end(as_of),
            **{"state": JobState.INTERRUPTED, "version": row["version"] + 1, "stop_reason": None},
            **{
                "hint": "Resume it to continue from its last checkpoint.",
                "remedy": remedy(CAUSE, row["id"]),
            },
        }
    return {**row, "seal": seal(row)}


def _end(as_of: float) -> dict[str, Any]:
    return {"ended": as_of, "cause": CAUSE, "message": "It was running when the backup was made."}


def _advance_sequences(connection: Connection) -> None:
    """Advance PostgreSQL's sequences past the restored numbers."""
    if connection.dialect.name != "postgresql":
        return
    for table in (schema.job, schema.audit):
        last = sa.select(sa.func.coalesce(sa.func.max(table.c.seq), 0) + 1).scalar_subquery()
        counter = sa.func.pg_get_serial_sequence(table.name, "seq")
        connection.execute(sa.select(sa.func.setval(counter, last, False)))

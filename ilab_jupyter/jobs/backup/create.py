"""Creation of a backup while jobs run: a consistent snapshot of the rows, logs, events and artifacts in one
file.

The rows are plain JSON, so a backup of SQLite can be restored into PostgreSQL and vice versa. Secrets are not
included: their file is left out, and logs and events are masked.
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from ilab_jupyter.durable import disk_advice, sync
from ilab_jupyter.errors import Conflict, NotFound
from ilab_jupyter.jobs.backup.archive import (
    CHUNK_BYTES,
    FORMAT,
    HEADER,
    LEFT_OUT,
    MANIFEST,
    OWN_SETTINGS,
    ROWS,
    TABLES,
    ArchiveWriter,
)
from ilab_jupyter.jobs.folder import JobFolder, StateFolder
from ilab_jupyter.jobs.logs.events import parse
from ilab_jupyter.jobs.logs.masking import Mask, mask_of
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.database import Database


@dataclass(frozen=True)
class Backup:
    """The content of a backup. `left_out`: files that are not regular, or that shrank while being read."""

    path: Path
    as_of: float
    jobs: int
    live: int
    queued: int
    files: int
    bytes: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _SnapshotJob:
    """A job in the snapshot."""

    id: str
    state: JobState
    attempt: int

    def has_started(self, attempt: int) -> bool:
        """Whether this attempt had started in the snapshot."""
        return attempt < self.attempt + (self.state is not JobState.QUEUED)


def create_backup(
    state: StateFolder, path: Path, *, url: str | None = None, artifacts: bool = True
) -> Backup:
    """Write a backup of the state folder to `path`, completely or not at all.

    Conflict if `path` exists, NotFound if the folder has no store. Jobs continue meanwhile. Every job whose
    submission was acknowledged before `as_of` is included.
    """
    if path.exists():
        raise Conflict(f"{path} exists.", "Choose another name for the backup.")
    if not (state.database.exists() or state.binding.exists()):
        raise NotFound(f"There are no jobs in {state.path}.", "Name their folder with --state.")
    database = Database(state, url)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with disk_advice(path.parent), tempfile.TemporaryFile() as rows:
            as_of, known = _snapshot(database, rows)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                with (
                    gzip.GzipFile("", "wb", compresslevel=1, fileobj=file) as packed,
                    tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
                ):
                    archive, left_out = ArchiveWriter(tar), list[str]()
                    _write(archive, state, as_of, known, rows, artifacts, left_out)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync(path.parent)
    finally:
        database.close()
        part.unlink(missing_ok=True)
    live = sum(job.state in LIVE for job in known)
    queued = sum(job.state is JobState.QUEUED for job in known)
    return Backup(*(path, as_of, len(known), live, queued, len(archive.files), archive.size), tuple(left_out))


def _snapshot(database: Database, to: IO[bytes]) -> tuple[float, list[_SnapshotJob]]:
    """Write all rows of one moment as JSON lines; return its time and jobs."""
    known = []
    with database.read() as connection:
        # The first statement fixes the snapshot; everything committed before is included.
        as_of = time.time()
        for table in TABLES:
            query = sa.select(table).execution_options(yield_per=1000)
            for found in connection.execute(query.order_by(*table.primary_key.columns)):
                row = dict(found._mapping)
                if table is schema.setting and row["name"] in OWN_SETTINGS:
                    continue
                if table is schema.job:
                    known.append(_SnapshotJob(row["id"], JobState(row["state"]), row["attempt"]))
                to.write(json.dumps({"table": table.name, "row": row}).encode() + b"\n")
    return as_of, known


def _write(
    archive: ArchiveWriter,
    state: StateFolder,
    as_of: float,
    known: list[_SnapshotJob],
    rows: IO[bytes],
    artifacts: bool,
    left_out: list[str],
) -> None:
    found = [(job, path) for job in known for path in _files(state.job(job.id), job, artifacts, left_out)]
    size = rows.tell() + sum(path.stat().st_size for _, path in found if path.exists())
    archive.add_json(
        HEADER,
        {
            "format": FORMAT,
            "schema": schema.VERSION,
            "as_of": as_of,
            "jobs": len(known),
            "files": len(found),
            "bytes": size,
        },
    )
    size = rows.tell()
    rows.seek(0)
    archive.add(ROWS, iter(lambda: rows.read(CHUNK_BYTES), b""), size)
    for job, path in found:
        name = f"jobs/{job.id}/{path.relative_to(state.job(job.id).path).as_posix()}"
        try:
            if not _add(archive, name, path, state.job(job.id), job):
                left_out.append(name)
        except FileNotFoundError:
            continue  # removed by its job meanwhile
    archive.add_json(MANIFEST, {"files": dict(archive.files), "left_out": left_out})


def _files(folder: JobFolder, job: _SnapshotJob, artifacts: bool, left_out: list[str]) -> Iterator[Path]:
    for where, folders, files in os.walk(folder.path):
        here = Path(where).relative_to(folder.path)
        if here == Path("attempts"):
            folders[:] = [name for name in folders if name.isdecimal() and job.has_started(int(name))]
        if here == Path() and not artifacts:
            folders[:] = [name for name in folders if name != folder.artifacts.name]
        inside = here.parts[:1] == (folder.artifacts.name,)
        for name in sorted(files):
            path = Path(where, name)
            if not inside and (name in LEFT_OUT or name.startswith(".")):
                continue
            try:
                plain = stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                continue
            if plain:
                yield path
            else:
                left_out.append(f"jobs/{job.id}/{(here / name).as_posix()}")


def _add(archive: ArchiveWriter, name: str, path: Path, folder: JobFolder, job: _SnapshotJob) -> bool:
    if path == folder.events:
        return _add_events(archive, name, path, mask_of(folder), job)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        mode = 0o700 if found.st_mode & stat.S_IXUSR else 0o600
        size = found.st_size
        if path.name == "log.txt" and path.parent.parent.name == "attempts":
            mask = mask_of(folder, int(path.parent.name))
            file.seek(max(0, size - mask.back - mask.ahead))
            size -= mask.held(file.read()) if job.state in LIVE else 0
            return archive.add(name, _masked(file, size, mask), size)
        return archive.add(name, iter(lambda: file.read(CHUNK_BYTES), b""), size, mode)


def _masked(file: IO[bytes], size: int, mask: Mask) -> Iterator[bytes]:
    for start in range(0, size, CHUNK_BYTES):
        before = min(start, mask.back)
        file.seek(start - before)
        data = file.read(before + CHUNK_BYTES + mask.ahead)
        yield mask.apply(data, start - before)[before : before + min(CHUNK_BYTES, size - start)]


def _add_events(archive: ArchiveWriter, name: str, path: Path, mask: Mask, job: _SnapshotJob) -> bool:
    """Add the complete lines, masked, without those of attempts that the snapshot does not have."""
    with tempfile.TemporaryFile() as kept, path.open("rb") as lines:
        for line in lines:
            event = parse(line) if line.endswith(b"\n") else None
            if event is not None and job.has_started(event.get("attempt", 1)):
                kept.write(json.dumps(mask.event(event), ensure_ascii=False).encode(errors="replace") + b"\n")
        size = kept.tell()
        kept.seek(0)
        return archive.add(name, iter(lambda: kept.read(CHUNK_BYTES), b""), size)

"""Removal of an ended job: its row, its attempts and its folder. The audit log keeps who removed it."""

from __future__ import annotations

import shutil

import sqlalchemy as sa

from ilab_jupyter.durable import disk_advice
from ilab_jupyter.errors import Conflict
from ilab_jupyter.jobs.attempt.lock import is_held, locked
from ilab_jupyter.jobs.attempt.process import kill_all
from ilab_jupyter.jobs.record import RemovedJob
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.rows import Row, Store

LOCK_SECONDS = 30.0
KILL_SECONDS = 5.0


def remove(store: Store, row: Row, actor: str) -> RemovedJob:
    """Remove an ended job with its logs, events and artifacts. Conflict while it or its supervisor is live.

    Models and datasets that the job published are kept: they are in the registry, not in its folder.
    """
    if not row.state.ended:
        raise Conflict(
            f"{row.id} is {row.state}: only an ended job can be removed.", f"Cancel it: %ilab cancel {row.id}"
        )
    folder = store.state.job(row.id)
    with disk_advice(store.state.path), locked(store.state.turn_lock, LOCK_SECONDS) as got:
        held = is_held(folder.attempt(row.attempt).lock)
        if not got or held or (row.token is not None and not kill_all(row.token, KILL_SECONDS)):
            raise Conflict(f"The last attempt of {row.id} is still ending.", "Try again in a minute.")
        size = sum(path.lstat().st_size for path in folder.path.rglob("*") if not path.is_dir())
        # For `integrity`, a folder with these files but without a row means that the database lost a job.
        folder.stored.unlink(missing_ok=True)
        folder.attempt(1).record.unlink(missing_ok=True)
        if not _delete(store, row, actor):
            raise Conflict(f"{row.id} has changed meanwhile.", "Check its state and try again.")
        shutil.rmtree(folder.path, ignore_errors=True)
    return RemovedJob(id=row.id, bytes=size)


def _delete(store: Store, row: Row, actor: str) -> bool:
    job = schema.job
    unchanged = (job.c.id == row.id, job.c.version == row.version, job.c.state == row.state)
    with store.write() as connection:
        if connection.execute(sa.select(job.c.id).where(*unchanged)).first() is None:
            return False
        connection.execute(sa.delete(schema.lease).where(schema.lease.c.job == row.id))
        connection.execute(sa.delete(schema.attempt).where(schema.attempt.c.job == row.id))
        connection.execute(sa.delete(job).where(*unchanged))
        store.audit(connection, actor, "remove", row.id, {"kind": row.kind, "owner": row.owner})
    return True

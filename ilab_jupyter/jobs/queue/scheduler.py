"""One scheduler turn: reconcile live attempts, then start waiting jobs."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence, Set
from datetime import UTC, datetime
from pathlib import Path

from ilab_jupyter.durable import read_json, sync, write_json
from ilab_jupyter.errors import PublicError, is_disk_full
from ilab_jupyter.jobs.attempt.launch import supervisor_environment
from ilab_jupyter.jobs.attempt.lock import is_held, locked
from ilab_jupyter.jobs.attempt.outcome import Exit, finish, lost
from ilab_jupyter.jobs.attempt.process import Identity, boot_clock, boot_id, kill_all, with_argument
from ilab_jupyter.jobs.device import Lease
from ilab_jupyter.jobs.folder import AttemptFolder, StateFolder
from ilab_jupyter.jobs.logs import events
from ilab_jupyter.jobs.queue import turns
from ilab_jupyter.jobs.queue.order import SERVING
from ilab_jupyter.jobs.queue.snapshot import QueueSnapshot, read_snapshot, remember_served
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store.rows import Row, Store

log = logging.getLogger(__name__)

# A spawner killed between row and process leaves no trace; a supervisor may still appear within this time.
SETTLE_SECONDS = 2.0
ELSEWHERE_SECONDS = 8.0
# Attempts that never started have lost no work and are queued again, at most this often.
MAX_LOST = 3


def turn(store: Store, *, timeout: float = 10.0) -> bool:
    """Reconcile and start jobs under the store's lock. False if another process held it for `timeout`
    seconds."""
    with locked(store.state.turn_lock, timeout) as got:
        if got:
            turns.note(store.state)
            for row in store.in_states(LIVE):
                try:
                    _reconcile(store, row)
                except (OSError, PublicError):
                    log.exception("The state of job %s could not be determined", row.id)
            kept = _quarantined(store)
            snapshot = read_snapshot(store, startable=True)
            _start_queued(store, snapshot, kept)
            _request_unload(store, snapshot)
        return got


def alive_supervisor(attempt: AttemptFolder, token: str | None) -> Identity | None:
    """Return the process that supervises this attempt, identified by lock, token, boot and start time, or
    None.

    One on another machine or in another container counts as alive, but cannot be signalled from here.
    """
    if not is_held(attempt.lock):
        return None
    record = read_json(attempt.record)
    identity = Identity.read(record)
    if record is None or identity is None or record.get("token") != token:
        return None
    return identity if identity.alive or not identity.here else None


def is_ending(store: Store, id: str) -> bool:
    """Whether a job counts as live but has no visible supervisor, so that its end is about to be recorded."""
    row = store.get(id)
    if row is None or row.state not in LIVE:
        return False
    return not _supervised(store.state.job(id).attempt(row.attempt), row.token)


def _supervised(attempt: AttemptFolder, token: str | None) -> bool:
    """Whether the attempt's supervisor is alive, even if its record is damaged."""
    return alive_supervisor(attempt, token) is not None or bool(token and with_argument(token))


def request_stop(store: Store, row: Row) -> None:
    """Signal the supervisor of a STOPPING row to stop its worker. Safe to repeat."""
    identity = alive_supervisor(store.state.job(row.id).attempt(row.attempt), row.token)
    if identity is not None:
        identity.signal(signal.SIGTERM)


def _reconcile(store: Store, row: Row) -> None:
    attempt = store.state.job(row.id).attempt(row.attempt)
    if is_held(attempt.lock):
        if not attempt.record.exists() or _supervised(attempt, row.token):
            if row.state is JobState.STOPPING:
                request_stop(store, row)
            return
        if not is_held(attempt.lock):
            return  # it ended meanwhile; the next turn reads its exit
    # The lock was checked first: if it is free, everything that the supervisor wrote is there.
    elif (worker_exit := Exit.read(read_json(attempt.exit), row.token)) is not None:
        finish(store, row, worker_exit)
        return
    elif not attempt.record.exists() and _may_still_start(row, attempt):
        return
    if row.token is not None and not kill_all(row.token, 3):
        log.error("Processes of job %s cannot be killed; it stays %s", row.id, row.state)
        return
    _record_lost(store, row)


def _may_still_start(row: Row, attempt: AttemptFolder) -> bool:
    """Whether a supervisor that was not seen yet may still appear. No other process spawns one now."""
    if row.token is None or row.spawned is None:
        return False
    if row.boot_id != boot_id():
        # Another machine, whose processes we cannot see, or this one before its last boot.
        return _age(attempt.supervisor_log) < ELSEWHERE_SECONDS
    return boot_clock() - row.spawned < SETTLE_SECONDS or bool(with_argument(row.token))


def _age(path: Path) -> float:
    """Return the seconds since a file was written; inf if unknown."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return math.inf
    return age if age >= 0 else math.inf


def _record_lost(store: Store, row: Row) -> None:
    progress = events.progress(store.state.job(row.id).events, row.attempt)
    if row.stop_reason == "cancel":
        store.move(row, JobState.CANCELLED, progress=progress, **lost("Cancelled.", cause="cancelled"))
    elif row.state is not JobState.STARTING:
        message = "Its supervisor was killed, or the machine stopped, before it ended."
        store.move(row, JobState.INTERRUPTED, progress=progress, **lost(message, cause="supervisor_lost"))
    else:
        # Its supervisor moves it to RUNNING before it starts the worker, so the worker never ran. End and new
        # attempt are one transaction: clients never see an end that is not final.
        before = [attempt.cause for attempt in store.attempts(row.id)][:-1]
        given_up = before[1 - MAX_LOST :] == ["lost"] * (MAX_LOST - 1)
        store.move(
            row,
            JobState.INTERRUPTED,
            retry=None if given_up else {"why": "lost", "retries": row.retries},
            **lost("Its supervisor never started. See supervisor.log in its folder."),
        )


def _quarantined(store: Store) -> set[str]:
    """Return jobs whose attempt has ended but left processes that may still use its device.

    They are killed again; if none is left, the device is freed.
    """
    kept = set()
    for id, number in store.stale_leases():
        token = next((attempt.token for attempt in store.attempts(id) if attempt.n == number), None)
        if token is None or kill_all(token, 1):
            store.free(id, number)
        else:
            kept.add(id)
            log.error("Processes of job %s cannot be killed; its device is not given to others", id)
    return kept


def _start_queued(store: Store, snapshot: QueueSnapshot, kept: Set[str]) -> None:
    if snapshot.paused is not None:
        return
    started = []
    for verdict in snapshot.verdicts:
        if verdict.blocked_by is None and verdict.job.id not in kept:
            row = store.get(verdict.job.id)
            if row is not None and row.state is JobState.QUEUED:
                _start(store, row, verdict.leases)
                started.append((row.queue, row.owner))
    remember_served(store, snapshot, started)


def _request_unload(store: Store, snapshot: QueueSnapshot) -> None:
    """Write the release file of deployments whose resources a waiting job needs; delete it otherwise."""
    for job in snapshot.live:
        if job.queue == SERVING:
            note = store.state.job(job.id).release
            waiting_job = snapshot.preemption_candidates.get(job.id)
            try:
                if waiting_job is None:
                    note.unlink(missing_ok=True)
                elif (read_json(note) or {}).get("for") != waiting_job:
                    write_json(note, {"for": waiting_job, "requested": datetime.now(UTC).isoformat()})
            except OSError as error:
                log.warning("The release file of %s cannot be written: %s", job.id, error)


def _start(store: Store, row: Row, leases: Sequence[Lease]) -> None:
    """Move a job from QUEUED to STARTING and spawn its supervisor. The row moves first: no supervisor is
    without a row."""
    folder = store.state.job(row.id)
    attempt = folder.attempt(row.attempt)
    if row.attempt > 1 and is_held(folder.attempt(row.attempt - 1).lock):
        return  # the supervisor of the previous attempt is still exiting
    token = secrets.token_hex(16)
    try:
        _make_folders(store.state, row)
        folder.release.unlink(missing_ok=True)
    except OSError as error:
        log.warning("Job %s waits: its folder cannot be written: %s", row.id, error)
        return
    starting = store.move(
        row, JobState.STARTING, leases=leases, token=token, boot_id=boot_id(), spawned=boot_clock()
    )
    if starting is None:
        return
    try:
        _spawn(store, row, attempt, token)
    except OSError as error:
        cause = "disk_full" if is_disk_full(error) else "spawn_failed"
        columns = lost(f"Its supervisor cannot be started: {error.strerror}.", cause=cause)
        store.move(starting, JobState.FAILED, **columns, started=time.time())


def _make_folders(state: StateFolder, row: Row) -> None:
    """Create the job's folders and spec. Idempotent."""
    folder = state.job(row.id)
    attempt = folder.attempt(row.attempt).path
    for path in (folder.path, folder.artifacts, attempt.parent, attempt):
        path.mkdir(mode=0o700, exist_ok=True)
    if not folder.spec.exists():
        write_json(folder.spec, {"id": row.id, **row.spec})
    for path in (attempt.parent, folder.path, state.jobs):
        sync(path)


def _spawn(store: Store, row: Row, attempt: AttemptFolder, token: str) -> None:
    output = os.open(attempt.supervisor_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # -P: a file in the current folder must not shadow a library.
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "ilab_jupyter.jobs.attempt.supervisor"),
                *(str(store.state.path), row.id, str(row.attempt), token),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=store.state.path,
            env={**supervisor_environment(), **store.environment},
            start_new_session=True,
        )
    finally:
        os.close(output)
    # Reaps the process, so that a long-lived server keeps no zombies.
    threading.Thread(target=process.wait, name=f"reap {row.id}", daemon=True).start()

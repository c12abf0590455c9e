"""One turn of the queue: find out what became of live attempts, then start what may start."""

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

# A spawner killed between the row and the process leaves nothing to look for; so long it may still come.
SETTLE_SECONDS = 2.0
ELSEWHERE_SECONDS = 8.0
# An attempt that never began has lost nothing, so it is queued again by itself, this often in all.
MAX_LOST = 3


def turn(store: Store, *, timeout: float = 10.0) -> bool:
    """Reconcile and start under the store's lock. False where another process did for `timeout` seconds."""
    with locked(store.state.turn_lock, timeout) as got:
        if got:
            turns.note(store.state)
            for row in store.in_states(LIVE):
                try:
                    _reconcile(store, row)
                except (OSError, PublicError):
                    log.exception("The state of job %s could not be found out", row.id)
            kept = _quarantined(store)
            snapshot = read_snapshot(store, startable=True)
            _start_queued(store, snapshot, kept)
            _ask_to_unload(store, snapshot)
        return got


def alive_supervisor(attempt: AttemptFolder, token: str | None) -> Identity | None:
    """The process that supervises this attempt, recognised by lock, token, boot and start time, or None.

    One on another machine or in another container counts as alive, but cannot be signalled from here.
    """
    if not is_held(attempt.lock):
        return None
    record = read_json(attempt.record)
    who = Identity.read(record)
    if record is None or who is None or record.get("token") != token:
        return None
    return who if who.alive or not who.here else None


def is_ending(store: Store, id: str) -> bool:
    """Whether a job counts as live and no supervisor of it is seen: a turn is about to find out its end."""
    row = store.get(id)
    if row is None or row.state not in LIVE:
        return False
    return not _supervised(store.state.job(id).attempt(row.attempt), row.token)


def _supervised(attempt: AttemptFolder, token: str | None) -> bool:
    """Whether its supervisor lives, also where its record was damaged: that alone must not cost the work."""
    return alive_supervisor(attempt, token) is not None or bool(token and with_argument(token))


def ask_to_stop(store: Store, row: Row) -> None:
    """Tell the supervisor of a STOPPING row to end its worker. Harmless to repeat."""
    who = alive_supervisor(store.state.job(row.id).attempt(row.attempt), row.token)
    if who is not None:
        who.signal(signal.SIGTERM)


def _reconcile(store: Store, row: Row) -> None:
    attempt = store.state.job(row.id).attempt(row.attempt)
    if is_held(attempt.lock):
        if not attempt.record.exists() or _supervised(attempt, row.token):
            if row.state is JobState.STOPPING:
                ask_to_stop(store, row)
            return
        if not is_held(attempt.lock):
            return  # it ended while we looked; the next turn reads its exit
    # The lock was looked at first: a free one means that whatever the supervisor wrote is written.
    elif (how := Exit.read(read_json(attempt.exit), row.token)) is not None:
        finish(store, row, how)
        return
    elif not attempt.record.exists() and _may_come(row, attempt):
        return
    if row.token is not None and not kill_all(row.token, 3):
        log.error("Processes of job %s cannot be killed; it stays %s", row.id, row.state)
        return
    _lose(store, row)


def _may_come(row: Row, attempt: AttemptFolder) -> bool:
    """Whether a supervisor that was not seen yet may still appear. Nobody is spawning: we hold the lock."""
    if row.token is None or row.spawned is None:
        return False
    if row.boot_id != boot_id():
        # Another machine on this state folder, whose processes we cannot see, or ours before it was booted.
        return _age(attempt.supervisor_log) < ELSEWHERE_SECONDS
    return boot_clock() - row.spawned < SETTLE_SECONDS or bool(with_argument(row.token))


def _age(path: Path) -> float:
    """Seconds since a file was written to; inf where nobody can tell."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return math.inf
    return age if age >= 0 else math.inf


def _lose(store: Store, row: Row) -> None:
    progress = events.progress(store.state.job(row.id).events, row.attempt)
    if row.stop_reason == "cancel":
        store.move(row, JobState.CANCELLED, progress=progress, **lost("Cancelled.", cause="cancelled"))
    elif row.state is not JobState.STARTING:
        message = "Its supervisor was killed, or the machine stopped, before it ended."
        store.move(row, JobState.INTERRUPTED, progress=progress, **lost(message, cause="supervisor_lost"))
    else:
        # Its supervisor moves it to RUNNING before it starts the worker, so nothing of it ever ran. In one
        # step: nobody is told of an end that is none, and nobody is killed between the end and the attempt.
        before = [attempt.cause for attempt in store.attempts(row.id)][:-1]
        given_up = before[1 - MAX_LOST :] == ["lost"] * (MAX_LOST - 1)
        store.move(
            row,
            JobState.INTERRUPTED,
            retry=None if given_up else {"why": "lost", "retries": row.retries},
            **lost("Its supervisor never started. See supervisor.log in its folder."),
        )


def _quarantined(store: Store) -> set[str]:
    """Jobs whose attempt has ended and left processes that may still use its device.

    They are killed once more; where none is left the device is free again.
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
        if verdict.lack is None and verdict.job.id not in kept:
            row = store.get(verdict.job.id)
            if row is not None and row.state is JobState.QUEUED:
                _start(store, row, verdict.leases)
                started.append((row.queue, row.owner))
    remember_served(store, snapshot, started)


def _ask_to_unload(store: Store, snapshot: QueueSnapshot) -> None:
    """Leave a note for deployments whose device or memory a waiting job needs; take it away again."""
    for job in snapshot.live:
        if job.queue == SERVING:
            note = store.state.job(job.id).release
            asker = snapshot.askers.get(job.id)
            try:
                if asker is None:
                    note.unlink(missing_ok=True)
                elif (read_json(note) or {}).get("for") != asker:
                    write_json(note, {"for": asker, "asked": datetime.now(UTC).isoformat()})
            except OSError as error:
                log.warning("%s cannot be asked to unload: %s", job.id, error)


def _start(store: Store, row: Row, leases: Sequence[Lease]) -> None:
    """From QUEUED to a supervisor on its way. The row is moved first: no supervisor is without a row."""
    folder = store.state.job(row.id)
    attempt = folder.attempt(row.attempt)
    if row.attempt > 1 and is_held(folder.attempt(row.attempt - 1).lock):
        return  # the supervisor of the attempt that is tried again has not quite ended
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
    """What a worker finds; the same again where it is there."""
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
        # -P: a file named like a library in the current folder must not replace it.
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
    # Reaps it when it ends, so that a long-lived server keeps no zombies.
    threading.Thread(target=process.wait, name=f"reap {row.id}", daemon=True).start()

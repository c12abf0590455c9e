"""Health checks of the job engine: the store, the disk, the queue, the supervisors."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.attempt.lock import is_held
from ilab_jupyter.jobs.attempt.process import boot_clock
from ilab_jupyter.jobs.queue import turns
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store.filesystem import free_bytes
from ilab_jupyter.jobs.store.rows import Store

GIGABYTE = 1_000_000_000
DISK_WARNING_BYTES, DISK_FAILURE_BYTES = 1 * GIGABYTE, GIGABYTE // 20
LONG_TURN_SECONDS, STALLED_SECONDS = 30.0, 60.0
_ENDING_SECONDS = 10.0


@dataclass(frozen=True)
class Finding:
    """The result of one check. `serious`: the engine cannot work until it is fixed."""

    name: str
    ok: bool
    message: str
    hint: str = ""
    serious: bool = False
    cause: str = ""


def examine(store: Store) -> list[Finding]:
    """Run all checks. Writes to the store once; takes a few milliseconds, or as long as the disk needs."""
    try:
        began = time.monotonic()
        store.put_setting("heartbeat", f"{boot_clock():.3f}")
        live = store.in_states(LIVE)
        waiting = store.count(frozenset({JobState.QUEUED}))
        paused = bool(store.setting("paused", ""))
        took = (time.monotonic() - began) * 1000
    except (PublicError, OSError) as error:
        public = error if isinstance(error, PublicError) else PublicError(str(error))
        store_finding = Finding("store", False, public.message, public.hint, serious=True, cause=public.cause)
        return [store_finding, _disk(store)]
    return [
        Finding("store", True, f"Read and written in {took:.0f} ms."),
        _disk(store),
        _file_system(store),
        _queue(store, waiting, paused),
        _supervisors(store, [(row.id, row.attempt) for row in live if row.state is not JobState.STARTING]),
    ]


def _disk(store: Store) -> Finding:
    free = free_bytes(store.state.path)
    if free is None:
        return Finding(
            "disk", False, "The free disk space is unknown.", "Check the disk of the state folder."
        )
    message = f"{free / GIGABYTE:.1f} GB are free on the disk of the state folder."
    if free >= DISK_WARNING_BYTES:
        return Finding("disk", True, message)
    step = "Free some space there: `%ilab prune --days 30` removes old logs."
    return Finding("disk", False, message, step, serious=free < DISK_FAILURE_BYTES, cause="disk_full")


def _file_system(store: Store) -> Finding:
    advice = [text for text in store.advice if "nearly full" not in text]
    if advice:
        return Finding("file_system", False, " ".join(advice), "See `Operations` in the documentation.")
    return Finding("file_system", True, "The job database is on a suitable file system.")


def _queue(store: Store, waiting: int, paused: bool) -> Finding:
    turn = turns.last(store.state)
    if turn is not None and turn.held and turn.age > LONG_TURN_SECONDS:
        holder = f"process {turn.pid}" + (f" ({turn.name})" if turn.name else "")
        return Finding(
            "queue",
            False,
            f"The queue has been locked for {turn.age:.0f} s by {holder}.",
            "If that process hangs, end it: the queue then continues.",
            serious=turn.age > 10 * LONG_TURN_SECONDS,
            cause="queue_held",
        )
    if paused:
        return Finding("queue", True, f"Paused; {_jobs(waiting, 'waits', 'wait')}.")
    if waiting and (turn is None or turn.age > STALLED_SECONDS):
        age = "since the machine started" if turn is None else f"for {turn.age:.0f} s"
        return Finding(
            "queue",
            False,
            f"{_jobs(waiting, 'waits', 'wait')}, and the scheduler has not run {age}.",
            "Read the Jupyter server's log; restart the server.",
            serious=True,
            cause="queue_stalled",
        )
    return Finding(
        "queue", True, f"It is running; {_jobs(waiting, 'waits', 'wait')}." if waiting else "No job waits."
    )


def _supervisors(store: Store, attempts: list[tuple[str, int]]) -> Finding:
    lost = []
    for id, number in attempts:
        attempt = store.state.job(id).attempt(number)
        if is_held(attempt.lock):
            continue
        try:
            ended = time.time() - attempt.exit.stat().st_mtime
        except OSError:
            ended = _ENDING_SECONDS
        row = store.get(id)
        if ended >= _ENDING_SECONDS and row is not None and row.attempt == number and row.state in LIVE:
            lost.append(id)
    if lost:
        return Finding(
            "supervisors",
            False,
            f"The supervisors of {', '.join(lost[:5])}{' and others' if len(lost) > 5 else ''} have ended.",
            "The next scheduler turn determines their outcome; check again in ten seconds.",
        )
    return Finding("supervisors", True, f"{_jobs(len(attempts), 'runs', 'run')}.")


def _jobs(count: int, one: str, many: str) -> str:
    return f"1 job {one}" if count == 1 else f"{count} jobs {many}"

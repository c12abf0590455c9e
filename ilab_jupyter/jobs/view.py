"""From what is stored to what is shown: rows and event lines become the records that every face knows."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from ilab_jupyter.display import safe
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.logs import events
from ilab_jupyter.jobs.logs.masking import mask_of
from ilab_jupyter.jobs.queue import reasons
from ilab_jupyter.jobs.queue.order import SERVING, Lack, Live, Verdict
from ilab_jupyter.jobs.queue.reasons import Pace
from ilab_jupyter.jobs.queue.snapshot import QueueSnapshot, read_snapshot, typical_seconds
from ilab_jupyter.jobs.record import Event, Job, JobSpec, Progress
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store.rows import Row, Store

# Whether the queue is paused, full or free: who submits does not wait for a look at it.
JUST_QUEUED = "It has just been put into the queue."
# A look at a queue of thousands takes so long that readers share it, for this many times as long.
_MANY = 500
_WORTH = 20
_looks: WeakKeyDictionary[Store, _Look] = WeakKeyDictionary()


def job(store: Store, row: Row, **told: Any) -> Job:
    """A row as a Job, with what is `told` of it beside: the fields of a Job that no row has."""
    return Job(
        id=row.id,
        kind=row.kind,
        name=safe(row.name),
        owner=row.owner,
        state=row.state,
        attempt=row.attempt,
        version=row.version,
        spec=_spec(row),
        created_at=_time(row.created),
        started_at=None if row.started is None else _time(row.started),
        ended_at=None if row.ended is None else _time(row.ended),
        progress=_progress(_stands(store, row) if row.state in LIVE else row.progress),
        exit_code=row.exit_code,
        cause=row.cause,
        message=row.message,
        hint=row.hint,
        remedy=row.remedy or (causes.remedy(row.cause, row.id) if row.state.resumable else None),
        resumable=row.state.resumable and causes.resumes(row.cause),
        result=row.result,
        **told,
    )


def _spec(row: Row) -> JobSpec:
    try:
        return JobSpec.model_validate(row.spec)
    except ValidationError:  # stored by another version; it must not hide the other jobs of a list
        return JobSpec(kind=row.kind, queue=row.queue, priority=row.priority)


def _stands(store: Store, row: Row) -> dict[str, Any]:
    """The progress of a live job, from its events, which are newer than the row."""
    folder = store.state.job(row.id)
    progress: dict[str, Any] = mask_of(folder).value(events.progress(folder.events, row.attempt))
    return progress


def jobs(
    store: Store, rows: Sequence[Row], omitted: Mapping[str, list[str]] = MappingProxyType({})
) -> list[Job]:
    """Rows as Jobs, each QUEUED one with the reason why it waits, its place and about how long it waits.

    `omitted` names, by id, what was left out of a row.
    """
    held = store.leases() if any(row.state in LIVE for row in rows) else []
    waiting = [row for row in rows if row.state is JobState.QUEUED]
    told = _told(store, waiting) if waiting else {}
    return [
        job(
            store,
            row,
            devices=[lease.device for lease in held if lease.job == row.id],
            omitted=omitted.get(row.id, []),
            **told.get(row.id, {}),
        )
        for row in rows
    ]


@dataclass(frozen=True)
class _Look:
    """The queue, and what follows from it for each waiting job, by id."""

    snapshot: QueueSnapshot
    verdicts: Mapping[str, Verdict]
    waits: Mapping[str, float]
    until: float


def _look(store: Store, ids: Set[str]) -> _Look:
    """The queue now. One with many jobs is looked at anew when that has become worth its time."""
    last = _looks.get(store)
    if last is not None and time.monotonic() < last.until and ids <= last.verdicts.keys():
        return last
    began = time.monotonic()
    snapshot = read_snapshot(store)
    typical = typical_seconds(store, snapshot)
    left = {live.id: _left(store, live, typical.get(live.kind)) for live in snapshot.live}
    waits = reasons.waits(snapshot, Pace(left, typical))
    verdicts = {verdict.job.id: verdict for verdict in snapshot.verdicts}
    now = time.monotonic()
    look = _Look(snapshot, verdicts, waits, now + _WORTH * (now - began))
    if len(verdicts) > _MANY:
        _looks[store] = look
    return look


def _told(store: Store, waiting: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """What is told of the waiting jobs of a page, by id."""
    ids = {row.id for row in waiting}
    look = _look(store, ids)
    told: dict[str, dict[str, Any]] = {}
    for id in ids:
        verdict = look.verdicts.get(id)
        if verdict is None:  # it has started since the page was read
            told[id] = {"pending_reason": reasons.NEXT_TURN}
            continue
        cause = _last_cause(store, id) if verdict.lack is Lack.DELAY else None
        told[id] = {
            "pending_reason": reasons.reason(look.snapshot, verdict, cause),
            "position": verdict.position or None,
            "wait_seconds": look.waits.get(id),
        }
    return told


def _left(store: Store, live: Live, typical: float | None) -> float | None:
    """About how many seconds a live job goes on: what it says itself, or else what is usual for its kind."""
    folder = store.state.job(live.id)
    said = _progress(events.progress(folder.events, live.attempt)).eta_seconds
    if said is not None:
        return max(0.0, said)
    return None if typical is None or live.queue == SERVING else max(0.0, typical - live.age)


def _last_cause(store: Store, id: str) -> str | None:
    ended = [attempt for attempt in store.attempts(id) if attempt.state.ended]
    return ended[-1].cause if ended else None


def event(line: dict[str, Any]) -> Event:
    """A line of events.jsonl as an Event, without control characters in what it says."""
    return Event.model_validate(
        {name: safe(value) if isinstance(value, str) else value for name, value in line.items()}
    )


def made(type: str, seq: int, **fields: Any) -> Event:
    """An event that a stream makes itself; its seq is that of the last one written by a worker."""
    return Event.model_validate({**fields, "seq": seq, "time": datetime.now(UTC), "type": type})


def cursor(row: Row) -> str:
    """Where the next page begins: after this row."""
    return base64.urlsafe_b64encode(f"before:{row.seq}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> int:
    """The seq that `cursor` put in; InvalidInput for anything else."""
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        found = re.fullmatch(r"before:([1-9][0-9]{0,17})", plain)
    except ValueError:
        found = None
    if found is None:
        raise InvalidInput("That cursor was not given by this service.", "List again from the start.")
    return int(found[1])


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _progress(fields: dict[str, Any]) -> Progress:
    for name in ("phase", "message"):
        if isinstance(text := fields.get(name), str):
            fields = {**fields, name: safe(text)}
    try:
        return Progress.model_validate(fields)
    except ValidationError:  # a worker of another make wrote fields of other types
        return Progress()

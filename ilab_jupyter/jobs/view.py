"""Conversion of rows and event lines to the records that every interface shows."""

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
from ilab_jupyter.jobs.queue.order import SERVING, BlockedBy, Live, Verdict
from ilab_jupyter.jobs.queue.reasons import Durations
from ilab_jupyter.jobs.queue.snapshot import QueueSnapshot, read_snapshot, typical_seconds
from ilab_jupyter.jobs.record import Event, Job, JobSpec, Progress
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store.rows import Row, Store

# Shown after a submission, which does not wait for a snapshot of the queue.
JUST_QUEUED = "It has just been queued."
# A view of a queue with more jobs is cached for this multiple of the time that it took.
_CACHE_FROM_JOBS = 500
_CACHE_FACTOR = 20
_cached_views: WeakKeyDictionary[Store, _QueueView] = WeakKeyDictionary()


def job(store: Store, row: Row, **details: Any) -> Job:
    """Convert a row to a Job. `details` are the fields of a Job that a row does not have."""
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
        progress=_progress(_live_progress(store, row) if row.state in LIVE else row.progress),
        exit_code=row.exit_code,
        cause=row.cause,
        message=row.message,
        hint=row.hint,
        remedy=row.remedy or (causes.remedy(row.cause, row.id) if row.state.resumable else None),
        resumable=row.state.resumable and causes.resumes(row.cause),
        result=row.result,
        **details,
    )


def _spec(row: Row) -> JobSpec:
    try:
        return JobSpec.model_validate(row.spec)
    except ValidationError:  # stored by another version; it must not hide the other jobs of a list
        return JobSpec(kind=row.kind, queue=row.queue, priority=row.priority)


def _live_progress(store: Store, row: Row) -> dict[str, Any]:
    """Return the progress of a live job from its events, which are newer than the row."""
    folder = store.state.job(row.id)
    progress: dict[str, Any] = mask_of(folder).value(events.progress(folder.events, row.attempt))
    return progress


def jobs(
    store: Store, rows: Sequence[Row], omitted: Mapping[str, list[str]] = MappingProxyType({})
) -> list[Job]:
    """Convert rows to Jobs; a QUEUED one gets the reason why it waits, its position and its estimated wait.

    `omitted` names, by id, what was left out of a row.
    """
    held = store.leases() if any(row.state in LIVE for row in rows) else []
    waiting = [row for row in rows if row.state is JobState.QUEUED]
    details = _queue_details(store, waiting) if waiting else {}
    return [
        job(
            store,
            row,
            devices=[lease.device for lease in held if lease.job == row.id],
            omitted=omitted.get(row.id, []),
            **details.get(row.id, {}),
        )
        for row in rows
    ]


@dataclass(frozen=True)
class _QueueView:
    """A snapshot of the queue with the decision and estimate for each waiting job, by id."""

    snapshot: QueueSnapshot
    verdicts: Mapping[str, Verdict]
    waits: Mapping[str, float]
    until: float


def _queue_view(store: Store, ids: Set[str]) -> _QueueView:
    """Return the current queue. For a queue with many jobs a recent view is reused."""
    last = _cached_views.get(store)
    if last is not None and time.monotonic() < last.until and ids <= last.verdicts.keys():
        return last
    began = time.monotonic()
    snapshot = read_snapshot(store)
    typical = typical_seconds(store, snapshot)
    left = {live.id: _left(store, live, typical.get(live.kind)) for live in snapshot.live}
    waits = reasons.wait_estimates(snapshot, Durations(left, typical))
    verdicts = {verdict.job.id: verdict for verdict in snapshot.verdicts}
    now = time.monotonic()
    queue = _QueueView(snapshot, verdicts, waits, now + _CACHE_FACTOR * (now - began))
    if len(verdicts) > _CACHE_FROM_JOBS:
        _cached_views[store] = queue
    return queue


def _queue_details(store: Store, waiting: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return details of the waiting jobs of a page, by id."""
    ids = {row.id for row in waiting}
    queue = _queue_view(store, ids)
    details: dict[str, dict[str, Any]] = {}
    for id in ids:
        verdict = queue.verdicts.get(id)
        if verdict is None:  # it started after the page was read
            details[id] = {"pending_reason": reasons.NEXT_TURN}
            continue
        cause = _last_cause(store, id) if verdict.blocked_by is BlockedBy.DELAY else None
        details[id] = {
            "pending_reason": reasons.reason(queue.snapshot, verdict, cause),
            "position": verdict.position or None,
            "wait_seconds": queue.waits.get(id),
        }
    return details


def _left(store: Store, live: Live, typical: float | None) -> float | None:
    """Estimate the seconds left of a live job: its own estimate, or the typical duration of its kind."""
    folder = store.state.job(live.id)
    reported = _progress(events.progress(folder.events, live.attempt)).eta_seconds
    if reported is not None:
        return max(0.0, reported)
    return None if typical is None or live.queue == SERVING else max(0.0, typical - live.age)


def _last_cause(store: Store, id: str) -> str | None:
    ended = [attempt for attempt in store.attempts(id) if attempt.state.ended]
    return ended[-1].cause if ended else None


def event(line: dict[str, Any]) -> Event:
    """Convert a line of events.jsonl to an Event, without control characters in its texts."""
    return Event.model_validate(
        {name: safe(value) if isinstance(value, str) else value for name, value in line.items()}
    )


def stream_event(type: str, seq: int, **fields: Any) -> Event:
    """Return an event generated by a stream; its seq is that of the last event written by a worker."""
    return Event.model_validate({**fields, "seq": seq, "time": datetime.now(UTC), "type": type})


def cursor(row: Row) -> str:
    """Return the cursor of the page after this row."""
    return base64.urlsafe_b64encode(f"before:{row.seq}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> int:
    """Return the seq in a cursor; InvalidInput for anything else."""
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
    except ValidationError:  # a worker of another version wrote fields of other types
        return Progress()

"""From what is stored to what is shown: rows and event lines become the records that every face knows."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs import causes, events
from ilab_jupyter.jobs.masking import mask_of
from ilab_jupyter.jobs.record import Event, Job, JobSpec, Progress
from ilab_jupyter.jobs.scheduler import order
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store import Row, Store


def job(store: Store, row: Row, waiting: str | None = None) -> Job:
    """A row as a Job. The progress of a live one comes from its events, which are newer than the row."""
    live = row.state in LIVE
    folder = store.state.job(row.id)
    stands = mask_of(folder).value(events.progress(folder.events, row.attempt)) if live else row.progress
    return Job(
        id=row.id,
        kind=row.kind,
        name=row.name,
        owner=row.owner,
        state=row.state,
        attempt=row.attempt,
        version=row.version,
        spec=JobSpec.model_validate(row.spec),
        created_at=_time(row.created),
        started_at=None if row.started is None else _time(row.started),
        ended_at=None if row.ended is None else _time(row.ended),
        pending_reason=waiting,
        progress=_progress(stands),
        exit_code=row.exit_code,
        cause=row.cause,
        message=row.message,
        next_step=row.next_step,
        remedy=row.remedy or (causes.remedy(row.cause, row.id) if row.state.resumable else None),
        result=row.result,
    )


def jobs(store: Store, rows: Sequence[Row]) -> list[Job]:
    """Rows as Jobs, each QUEUED one with the reason why it waits."""
    if not any(row.state is JobState.QUEUED for row in rows):
        return [job(store, row) for row in rows]
    present = store.in_states(LIVE | {JobState.QUEUED})
    slots = store.slots()
    return [job(store, row, _waiting(row, present, slots)) for row in rows]


def _waiting(row: Row, present: Sequence[Row], slots: dict[str, int]) -> str | None:
    if row.state is not JobState.QUEUED:
        return None
    same = [other for other in present if other.queue == row.queue and other.id != row.id]
    running = [other.id for other in same if other.state is not JobState.QUEUED]
    ahead = sum(other.state is JobState.QUEUED and order(other) < order(row) for other in same)
    total = slots.get(row.queue, 1)
    if total == 0:
        return f"The queue '{row.queue}' is closed: it has no slots."
    if not ahead and len(running) < total:
        return "It starts at the next turn of the queue."
    count = ahead + len(running)
    verb = "job is" if count == 1 else "jobs are"
    used = ", ".join(running[:3]) + (" and others" if len(running) > 3 else "")
    place = f"{total} slot" + ("s" if total != 1 else "") + (f", used by {used}" if used else "")
    return f"{count} {verb} ahead of it in the queue '{row.queue}' ({place})."


def event(line: dict[str, Any]) -> Event:
    """A line of events.jsonl as an Event."""
    return Event.model_validate(line)


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


def _progress(stands: dict[str, Any]) -> Progress:
    try:
        return Progress.model_validate(stands)
    except ValidationError:  # a worker of another make wrote fields of other types
        return Progress()

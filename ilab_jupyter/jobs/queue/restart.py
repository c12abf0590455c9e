"""Selection of interrupted jobs that are queued again when their server starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ilab_jupyter.jobs.causes import RESTARTED
from ilab_jupyter.jobs.folder import JobFolder
from ilab_jupyter.jobs.logs import events
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store.rows import Row

MAX_CONSECUTIVE = 3


def choose(rows: Iterable[Row], progressed: Callable[[Row], bool]) -> list[tuple[Row, int]]:
    """Return the jobs to queue again, in the order of submission, each with its number of consecutive
    automatic retries.

    A job that was restarted `MAX_CONSECUTIVE` times without progress is left to its owner.
    """
    chosen = []
    for row in sorted(rows, key=lambda row: row.seq):
        if row.state is not JobState.INTERRUPTED or row.cause not in RESTARTED or row.stop_reason == "cancel":
            continue
        consecutive = 0 if row.retries and progressed(row) else row.retries
        if consecutive < MAX_CONSECUTIVE:
            chosen.append((row, consecutive + 1))
    return chosen


def progressed(row: Row, folder: JobFolder) -> bool:
    """Whether the newest attempt got further than the one before it, or served a model."""
    last: dict[int, tuple[str, int]] = {}
    for event in events.backwards(folder.events):
        attempt = event.get("attempt", row.attempt)
        if attempt < row.attempt - 1 or row.attempt - 1 in last:
            break
        if event["type"] == "endpoint" and attempt == row.attempt:
            return True
        if event["type"] == "progress":
            last.setdefault(attempt, (str(event.get("phase", "")), int(event.get("step") or 0)))
    now, before = last.get(row.attempt), last.get(row.attempt - 1)
    if now is None or before is None:
        return now is not None
    return now[0] != before[0] or now[1] > before[1]

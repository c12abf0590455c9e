"""User control of the queue: pause, unpause, reorder."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ilab_jupyter.display import TITLE
from ilab_jupyter.errors import Conflict, InvalidInput
from ilab_jupyter.jobs.queue import leases
from ilab_jupyter.jobs.queue.snapshot import Pause, read_snapshot
from ilab_jupyter.jobs.record import QueueState
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store.rows import Row, Store
from ilab_jupyter.jobs.store.schema import job as table

_MAX_REASON = 500


def state(store: Store, owner: str) -> QueueState:
    """Return the state of the queue, with the owner's waiting jobs in their order."""
    snapshot = read_snapshot(store)
    used = dict.fromkeys(snapshot.slots, 0)
    for job in snapshot.live:
        used[job.queue] = used.get(job.queue, 0) + 1
    paused = snapshot.paused
    return QueueState(
        paused=paused is not None,
        paused_by=None if paused is None else paused.by,
        paused_reason="" if paused is None else paused.reason,
        slots=dict(snapshot.slots),
        used=used,
        devices=list(leases.devices(snapshot.settings.get("devices", ""))),
        leases=snapshot.leases,
        waiting=[verdict.job.id for verdict in snapshot.verdicts if verdict.job.owner == owner],
    )


def pause(store: Store, actor: str, reason: str) -> None:
    """Start no more jobs. Pausing a paused queue replaces the reason."""
    if len(reason) > _MAX_REASON or re.search(TITLE, reason) is None or reason.endswith("\n"):
        raise InvalidInput(f"The reason is one line of at most {_MAX_REASON} characters.")
    paused = Pause(by=actor, reason=reason.strip(), at=time.time())
    store.put_setting("paused", json.dumps(asdict(paused)), actor=actor, action="pause")


def unpause(store: Store, actor: str) -> None:
    """Start jobs again."""
    store.put_setting("paused", "", actor=actor, action="unpause")


@dataclass(frozen=True)
class _Ranked:
    """A waiting job and its rank among its owner's jobs."""

    id: str
    rank: float


def reorder(store: Store, row: Row, before: str | None, actor: str) -> None:
    """Move a QUEUED job before another of the same owner, queue and priority; before all if None.

    It never passes another owner's job that was submitted before the first of these.
    """
    if row.state is not JobState.QUEUED:
        raise Conflict(f"{row.id} is {row.state}: only waiting jobs can be reordered.", "Check its state.")
    if before == row.id:
        raise InvalidInput(f"{row.id} cannot go before itself.", "Name another job.")
    with store.write() as connection:
        others = _siblings(connection, row)
        moved = next((job for job in others if job.id == row.id), None)
        if moved is None:
            raise Conflict(f"{row.id} has just started or ended.", "Check its state.")
        others.remove(moved)
        if not others:
            if before is not None:
                raise _no_sibling(row, before)
            return
        index = 0
        if before is not None:
            index = next((n for n, job in enumerate(others) if job.id == before), -1)
            if index < 0:
                raise _no_sibling(row, before)
        for id, rank in _new_ranks(others, moved, index).items():
            connection.execute(sa.update(table).where(table.c.id == id).values(rank=rank))
        store.audit(connection, actor, "reorder", row.id, {"before": before})


def _no_sibling(row: Row, before: str) -> Conflict:
    return Conflict(
        f"{before[:160]!r} does not wait with the owner, queue and priority of {row.id}.",
        "Name one of the queue's waiting jobs of the same priority.",
    )


def _siblings(connection: Connection, row: Row) -> list[_Ranked]:
    rank = sa.func.coalesce(table.c.rank, table.c.seq).label("position")
    same = (
        table.c.owner == row.owner,
        table.c.queue == row.queue,
        table.c.priority == row.priority,
        table.c.state == JobState.QUEUED,
    )
    found = connection.execute(sa.select(table.c.id, rank).where(*same).order_by(rank, table.c.seq))
    return [_Ranked(id, float(rank)) for id, rank in found]


def _new_ranks(others: list[_Ranked], moved: _Ranked, index: int) -> dict[str, float]:
    """Return the ranks to write so that `moved` comes before `others[index]`.

    The lowest rank stays the lowest, otherwise the owner would pass jobs of other owners.
    """
    target = others[index]
    if index > 0:
        changes = {moved.id: _between(others[index - 1].rank, target.rank)}
    elif moved.rank < target.rank:
        return {}
    else:
        end = others[1].rank if len(others) > 1 else math.inf
        changes = {moved.id: target.rank, target.id: _between(target.rank, min(end, moved.rank))}
    if not any(math.isnan(rank) for rank in changes.values()):
        return changes
    # No float is left between the two: reassign the same ranks in the new order.
    ranks = sorted(job.rank for job in [*others, moved])
    new = [*others[:index], moved, *others[index:]]
    return {job.id: rank for job, rank in zip(new, ranks, strict=True)}


def _between(low: float, high: float) -> float:
    middle = low + (high - low) / 2
    return middle if low < middle < high else math.nan

"""The queue as a table: what may run, what runs, what waits and why."""

from __future__ import annotations

from collections.abc import Sequence

from ilab_jupyter.client import render
from ilab_jupyter.client.table import Table
from ilab_jupyter.jobs.record import Attempt, Job, QueueState


def queue_table(state: QueueState, waiting: Sequence[Job]) -> Table:
    """`waiting` are the jobs that wait, the next one first."""
    status = "running"
    if state.paused:
        status = f"paused by {state.paused_by}" + (f": {state.paused_reason}" if state.paused_reason else "")
    rows: list[tuple[object, ...]] = [("the queue", status)]
    for name in sorted({*state.slots, *state.used}):
        rows.append((f"slots of {name}", f"{state.used.get(name, 0)} of {state.slots.get(name, 1)} used"))
    for device in state.devices:
        users = [lease.job for lease in state.leases if lease.device == device.uuid]
        name = f"{device.name or device.uuid}, {render.size(device.memory_total)}"
        rows.append((f"GPU {device.uuid}", f"{name}: {', '.join(users) or 'free'}"))
    rows += [(job.id, render.where(job)) for job in waiting]
    return Table(("", "status"), tuple(rows), "")


def attempts_table(attempts: Sequence[Attempt]) -> Table:
    """A job's attempts, the first one first."""
    return Table(
        ("attempt", "why", "state", "cause", "started (UTC)", "took", "log", "message"),
        tuple(
            (
                one.n,
                one.why,
                f"{render.BADGES[one.state][0]} {one.state.value}",
                one.cause or "",
                f"{one.started_at:%Y-%m-%d %H:%M:%S}" if one.started_at else "",
                render.duration((one.ended_at - one.started_at).total_seconds())
                if one.started_at and one.ended_at
                else "",
                "pruned" if one.log_pruned else render.size(one.log_size),
                one.message or "",
            )
            for one in attempts
        ),
        "It has no attempt.",
    )

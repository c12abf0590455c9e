"""A consistent snapshot of the queue: waiting and live jobs, leases, slots, the machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ilab_jupyter.jobs.attempt.process import boot_clock, boot_id
from ilab_jupyter.jobs.device import Lease
from ilab_jupyter.jobs.queue import leases as gpus
from ilab_jupyter.jobs.queue import order as queue
from ilab_jupyter.jobs.queue.order import Live, Machine, Verdict, Waiting
from ilab_jupyter.jobs.queue.retries import delay
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.row import parsed
from ilab_jupyter.jobs.store.rows import Store

_table = schema.job
_RUNS = 20
# The setting with the order in which owners were served: {queue: owners, the last served at the end}.
SERVED = "served"
_REMEMBERED = 100


@dataclass(frozen=True)
class Pause:
    """The setting `paused`: who paused the queue, why, and when in seconds since 1970."""

    by: str
    reason: str
    at: float

    @classmethod
    def read(cls, setting: str) -> Pause | None:
        """Parse the setting; None if the queue is not paused."""
        try:
            found = json.loads(setting) if setting else None
            return None if found is None else cls(found["by"], found.get("reason", ""), found["at"])
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class QueueSnapshot:
    """The queue at one moment."""

    waiting: list[Waiting]
    live: list[Live]
    leases: list[Lease]
    settings: Mapping[str, str]
    machine: Machine
    # How many jobs of each queue may be live at once; a queue that is not named has one slot.
    slots: Mapping[str, int]
    # The owners of each queue, the last served at the end.
    served: Mapping[str, list[str]]

    @cached_property
    def paused(self) -> Pause | None:
        """Who paused the queue; None if it is not paused."""
        return Pause.read(self.settings.get("paused", ""))

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The scheduling decision for each waiting job, as if the queue were not paused."""
        turns = {(name, owner): n for name, owners in self.served.items() for n, owner in enumerate(owners)}
        return queue.plan(self.waiting, self.live, self.leases, self.slots, self.machine, turns)

    @cached_property
    def preemption_candidates(self) -> dict[str, str]:
        """Deployments that should unload once idle, each with the waiting job that needs it."""
        if self.paused is not None:
            return {}
        return queue.preemption_candidates(
            self.verdicts, self.waiting, self.live, self.leases, self.slots, self.machine
        )


def remember_served(store: Store, snapshot: QueueSnapshot, started: Iterable[queue.QueueOwner]) -> None:
    """Store which owners' jobs were just started, in queues where several owners compete."""
    owners = {(job.queue, job.owner) for job in snapshot.waiting}
    contested = {name for name, count in Counter(name for name, _ in owners).items() if count > 1}
    mine = [owner_key for owner_key in started if owner_key[0] in contested]
    if mine:
        found = dict(snapshot.served)
        for name, owner in mine:
            left = [other for other in found.get(name, []) if other != owner]
            found[name] = [*left, owner][-_REMEMBERED:]
        store.put_setting(SERVED, json.dumps(found))


def read_snapshot(store: Store, *, startable: bool = False) -> QueueSnapshot:
    """Read the queue. NVML is queried only if a waiting job may use a GPU.

    `startable` omits jobs of queues without a free slot: they may be many and cannot start.
    """
    with store.read() as connection:
        settings = read_settings(connection)
        slots = {**schema.SLOTS, **parsed("slots", settings.get("slots", "{}"), int)}
        served = parsed(SERVED, settings.get(SERVED, "{}"), list)
        live = _live(connection)
        full = _full(live, slots) if startable else []
        waiting = _waiting(connection, full)
        held = read_leases(connection)
    wanted = any(job.need.gpus != 0 for job in waiting)
    devices = gpus.devices(settings.get("devices", "")) if wanted else ()
    # Most jobs request nothing else; then the machine need not be inspected.
    limited = any(job.need.cpus or job.need.memory or job.need.disk for job in waiting)
    machine = gpus.machine(store.state.path, devices) if limited else Machine(devices, 0, 0, 0, 0)
    return QueueSnapshot(waiting, live, held, settings, machine, slots, served)


def read_settings(connection: Connection) -> dict[str, str]:
    """All settings."""
    found = connection.execute(sa.select(schema.setting.c.name, schema.setting.c.value))
    return {row.name: row.value for row in found}


def read_leases(connection: Connection) -> list[Lease]:
    """All leases."""
    table = schema.lease
    found = connection.execute(sa.select(table.c.device, table.c.job, table.c.memory))
    return [Lease(device=device, job=job, memory=memory) for device, job, memory in found]


def _live(connection: Connection) -> list[Live]:
    c = _table.c
    query = sa.select(c.id, c.attempt, c.kind, c.owner, c.queue, c.spawned, c.boot_id, c.resources)
    found = connection.execute(query.where(c.state.in_(sorted(LIVE))).order_by(c.seq))
    clock, boot = boot_clock(), boot_id()
    return [
        Live(
            *(row.id, row.attempt, row.kind, row.owner, row.queue, queue.need(row.resources)),
            age=clock - row.spawned if row.spawned is not None and row.boot_id == boot else 0,
        )
        for row in found
    ]


def _full(live: list[Live], slots: Mapping[str, int]) -> list[str]:
    """Queues that no job can start in now."""
    used = Counter(job.queue for job in live)
    return [name for name in {*slots, *used} if used[name] >= slots.get(name, 1)]


def _waiting(connection: Connection, without: list[str]) -> list[Waiting]:
    c = _table.c
    columns = (c.id, c.seq, c.kind, c.owner, c.queue, c.priority, c.rank, c.retries, c.due, c.boot_id)
    query = sa.select(*columns, c.resources).where(c.state == JobState.QUEUED, c.queue.not_in(without))
    waiting = []
    for id, seq, kind, owner, name, priority, rank, retries, due, since, resources in connection.execute(
        query
    ):
        position = seq if rank is None else rank
        left = 0.0 if due is None else delay(due, since)
        waiting.append(
            Waiting(id, seq, kind, owner, name, priority, position, queue.need(resources), retries, left)
        )
    return waiting


def typical_seconds(store: Store, snapshot: QueueSnapshot) -> dict[str, float]:
    """Return the median duration of the last successful runs for each kind in the snapshot that has any."""
    c = _table.c
    found = {}
    with store.read() as connection:
        for kind in {job.kind for job in snapshot.waiting} | {job.kind for job in snapshot.live}:
            query = (
                sa.select(c.ended - c.started)
                .where(c.kind == kind, c.state == JobState.SUCCEEDED, c.started.is_not(None))
                .order_by(c.ended.desc())
                .limit(_RUNS)
            )
            lengths = sorted(max(0.0, seconds) for (seconds,) in connection.execute(query))
            if lengths:
                middle = len(lengths) // 2
                found[kind] = (lengths[middle] + lengths[-middle - 1]) / 2
    return found

"""Scheduling order: the order of waiting jobs, and which of them start now. Pure functions."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from ilab_jupyter.jobs.device import Device, Lease

# Queue and owner.
QueueOwner = tuple[str, str]
NO_TURNS: Mapping[QueueOwner, int] = MappingProxyType({})

GB = 10**9
# Queue of the deployments: they run until they are stopped, and may be preempted while idle.
SERVING = "serving"


class Need(NamedTuple):
    """Resources that a job requests, in bytes and processors; 0 means no particular amount.

    `gpus` None is one if the machine has any; `gpu_memory` 0 is whole devices.
    """

    gpus: int | None = None
    gpu_memory: int = 0
    cpus: float = 0
    memory: int = 0
    disk: int = 0

    @classmethod
    def of(cls, requested: Mapping[str, Any]) -> Need:
        """Convert the fields of `Resources`."""
        sizes = (requested.get(name) for name in ("gpu_memory_gb", "memory_gb", "disk_gb"))
        gpu_memory, memory, disk = (round((size or 0) * GB) for size in sizes)
        return cls(requested.get("gpus"), gpu_memory, requested.get("cpus") or 0, memory, disk)


@lru_cache(maxsize=1024)
def need(resources: str | None) -> Need:
    """Parse the JSON of `Resources` in a spec; None for a spec without resources."""
    return Need() if resources is None else Need.of(json.loads(resources))


class Waiting(NamedTuple):
    """A QUEUED job. `rank` is its rank, or its seq if it was never moved; `delay` is the seconds until it may
    start."""

    id: str
    seq: int
    kind: str
    owner: str
    queue: str
    priority: int
    rank: float
    need: Need
    retries: int = 0
    delay: float = 0

    @property
    def preempted(self) -> bool:
        """Whether it is a deployment that gave up its resources while idle; other jobs go first."""
        return self.queue == SERVING and self.retries > 0


class Live(NamedTuple):
    """A job that has started, and for how many seconds it has been running."""

    id: str
    attempt: int
    kind: str
    owner: str
    queue: str
    need: Need
    age: float = 0


@dataclass(frozen=True)
class Machine:
    """The total resources, memory and disk in bytes; `disk_free` is what is free now."""

    devices: tuple[Device, ...]
    cpus: float
    memory: int
    disk: int
    disk_free: int

    def gpus(self, need: Need) -> int:
        """Return how many devices the job gets on this machine."""
        return min(1, len(self.devices)) if need.gpus is None else need.gpus

    def impossible(self, need: Need) -> str:
        """Return why this machine can never satisfy the request, as a sentence; empty if it can."""
        gpus = self.gpus(need)
        if gpus > len(self.devices):
            has = f"this machine has {len(self.devices) or 'none'}"
            return f"It asks for {gpus} GPU{'s' * (gpus != 1)}; {has}."
        large = sum(device.memory_total >= need.gpu_memory for device in self.devices)
        if gpus > large:
            most = max(device.memory_total for device in self.devices)
            return (
                f"It asks for {gigabytes(need.gpu_memory)} of GPU memory; a GPU here has {gigabytes(most)}."
            )
        if need.memory > self.memory:
            return (
                f"It asks for {gigabytes(need.memory)} of memory; this machine has {gigabytes(self.memory)}."
            )
        if need.cpus > self.cpus:
            return f"It asks for {need.cpus:g} CPUs; this machine has {self.cpus:g}."
        if need.disk > self.disk:
            return f"It asks for {gigabytes(need.disk)} of disk; this one has {gigabytes(self.disk)}."
        return ""


def gigabytes(size: float) -> str:
    """Format a size: `8 GB`, `5.1 GB`."""
    return f"{round(max(0, size) / GB, 1):g} GB"


class BlockedBy(StrEnum):
    """What prevents a job from starting."""

    DELAY = "delay"
    IMPOSSIBLE = "impossible"
    CLOSED = "closed"
    SLOT = "slot"
    DISK = "disk"
    DEVICES = "devices"
    MEMORY = "memory"
    CPUS = "cpus"


class Verdict(NamedTuple):
    """The scheduling decision for a waiting job. `blocked_by` None: it starts, with `leases`.

    `position` is 1 for the next job of its queue, 0 for a delayed one; `free` is how much of the missing
    resource is neither used nor reserved, in devices, bytes or processors.
    """

    job: Waiting
    position: int
    blocked_by: BlockedBy | None
    leases: tuple[Lease, ...] = ()
    free: float = 0


def start_order(
    waiting: Iterable[Waiting], live: Iterable[Live], served: Mapping[QueueOwner, int] = NO_TURNS
) -> list[Waiting]:
    """Return the order in which jobs start, without delayed jobs.

    By priority, then by the owner with the fewest live and earlier jobs in the queue, then by the owner
    served least recently, then by rank. `served` has a number for each queue and owner: higher means served
    more recently.
    """
    ready = sorted(
        (job for job in waiting if job.delay <= 0),
        key=lambda job: (-job.priority, job.preempted, job.rank, job.seq),
    )
    before = Counter((job.queue, job.owner) for job in live)
    keyed = []
    for job in ready:
        owner_key = (job.queue, job.owner)
        turn = served.get(owner_key, -1)
        keyed.append((-job.priority, job.preempted, before[owner_key], turn, job.rank, job.seq, job))
        before[owner_key] += 1
    # seq is unique, so the jobs themselves are never compared
    keyed.sort()
    return [entry[-1] for entry in keyed]


def plan(
    waiting: Sequence[Waiting],
    live: Sequence[Live],
    leases: Sequence[Lease],
    slots: Mapping[str, int],
    machine: Machine,
    served: Mapping[QueueOwner, int] = NO_TURNS,
) -> list[Verdict]:
    """Return a verdict on each waiting job; those that may start now come in the order of starting.

    A job that is blocked by devices, memory or processors reserves what is available of them, and its slot,
    so that jobs after it pass only with resources that it does not need and it cannot starve. The slot is not
    reserved while a deployment holds the missing resource, because deployments run indefinitely.
    """
    capacity = _Capacity(live, leases, slots, machine)
    verdicts = []
    position: Counter[str] = Counter()
    for job in start_order(waiting, live, served):
        position[job.queue] += 1
        blocked_by, free = capacity.blocker(job)
        taken: tuple[Lease, ...] = ()
        if blocked_by is None:
            taken = capacity.allocate(job)
        elif blocked_by in (BlockedBy.DEVICES, BlockedBy.MEMORY, BlockedBy.CPUS):
            capacity.reserve(job, blocked_by)
        verdicts.append(Verdict(job, position[job.queue], blocked_by, taken, free))
    delayed = sorted((job for job in waiting if job.delay > 0), key=lambda job: job.delay)
    return verdicts + [Verdict(job, 0, BlockedBy.DELAY) for job in delayed]


class _Capacity:
    """The remaining resources, as jobs allocate or reserve them."""

    def __init__(
        self, live: Sequence[Live], leases: Sequence[Lease], slots: Mapping[str, int], machine: Machine
    ) -> None:
        self._machine = machine
        self._possible: dict[Need, bool] = {}
        self._total = slots
        self._used = Counter(job.queue for job in live)
        self._memory = machine.memory - sum(job.need.memory for job in live)
        self._cpus = machine.cpus - sum(job.need.cpus for job in live)
        self._disk = machine.disk_free
        serving = {job.id: job.need for job in live if job.queue == SERVING}
        self._endless = {
            BlockedBy.DEVICES: any(lease.job in serving for lease in leases),
            BlockedBy.MEMORY: any(need.memory for need in serving.values()),
            BlockedBy.CPUS: any(need.cpus for need in serving.values()),
        }
        self._free = {device.uuid: device.memory_total for device in machine.devices}
        self._total_memory = dict(self._free)
        self._touched: set[str] = set()
        for lease in leases:
            self._occupy(lease.device, lease.memory)

    def _occupy(self, device: str, memory: int | None) -> None:
        if device in self._free:
            self._touched.add(device)
            self._free[device] = 0 if memory is None else self._free[device] - memory

    def blocker(self, job: Waiting) -> tuple[BlockedBy | None, float]:
        """Return the first missing resource, and how much of it is free."""
        need = job.need
        if need not in self._possible:
            self._possible[need] = not self._machine.impossible(need)
        if not self._possible[need]:
            return BlockedBy.IMPOSSIBLE, 0
        total = self._total.get(job.queue, 1)
        if self._used[job.queue] >= total:
            return (BlockedBy.SLOT if total else BlockedBy.CLOSED), 0
        if need.disk and need.disk > self._disk:
            return BlockedBy.DISK, self._disk
        if (gpus := self._machine.gpus(need)) and len(found := self._fitting(need)) < gpus:
            return BlockedBy.DEVICES, max(self._free.values()) if need.gpu_memory else len(found)
        if need.memory and need.memory > self._memory:
            return BlockedBy.MEMORY, self._memory
        if need.cpus and need.cpus > self._cpus + 1e-9:
            return BlockedBy.CPUS, self._cpus
        return None, 0

    def _fitting(self, need: Need) -> list[str]:
        """Return devices that the job could use, the fullest first, so that others stay whole."""
        if not need.gpu_memory:
            return [uuid for uuid in self._free if uuid not in self._touched]
        fitting = [uuid for uuid, free in self._free.items() if free >= need.gpu_memory]
        return sorted(fitting, key=lambda uuid: (self._free[uuid], uuid not in self._touched))

    def allocate(self, job: Waiting) -> tuple[Lease, ...]:
        """Allocate the job's resources and return its leases."""
        gpus = self._machine.gpus(job.need)
        memory = job.need.gpu_memory or None
        chosen = self._fitting(job.need)[:gpus] if gpus else []
        for uuid in chosen:
            self._occupy(uuid, memory)
        self._used[job.queue] += 1
        self._spend(job.need)
        return tuple(Lease(device=uuid, job=job.id, memory=memory) for uuid in chosen)

    def reserve(self, job: Waiting, blocked_by: BlockedBy) -> None:
        """Reserve the job's resources, so that later jobs cannot use them.

        The devices with the most free memory are reserved: no other job gets them, so they only become freer.
        """
        need = job.need
        gpus = self._machine.gpus(need)
        large = [uuid for uuid, total in self._total_memory.items() if total >= need.gpu_memory]
        for uuid in sorted(large, key=lambda uuid: (uuid in self._touched, -self._free[uuid]))[:gpus]:
            self._occupy(uuid, need.gpu_memory or None)
        self._spend(need)
        if not self._endless[blocked_by]:
            self._used[job.queue] += 1

    def _spend(self, need: Need) -> None:
        self._memory -= need.memory
        self._cpus -= need.cpus
        self._disk -= need.disk


def preemption_candidates(
    verdicts: Sequence[Verdict],
    waiting: Sequence[Waiting],
    live: Sequence[Live],
    leases: Sequence[Lease],
    slots: Mapping[str, int],
    machine: Machine,
) -> dict[str, str]:
    """Return the deployments that should unload once they are idle, each with the waiting job that needs it.

    Only for jobs that would start if no deployment held resources, and not for preempted deployments.
    """
    serving = [job for job in live if job.queue == SERVING]
    blocked = {
        verdict.job.id: verdict.blocked_by
        for verdict in verdicts
        if verdict.blocked_by in (BlockedBy.DEVICES, BlockedBy.MEMORY, BlockedBy.CPUS)
        and not verdict.job.preempted
    }
    if not (serving and blocked):
        return {}
    names = {job.id for job in serving}
    others = [job for job in live if job.id not in names]
    left = [lease for lease in leases if lease.job not in names]
    has: dict[BlockedBy, set[str]] = defaultdict(set)
    has[BlockedBy.DEVICES] = names & {lease.job for lease in leases}
    has[BlockedBy.MEMORY] = {job.id for job in serving if job.need.memory}
    has[BlockedBy.CPUS] = {job.id for job in serving if job.need.cpus}
    wanted: dict[str, str] = {}
    for verdict in plan(waiting, others, left, slots, machine):
        blocked_by = blocked.get(verdict.job.id)
        if verdict.blocked_by is None and blocked_by is not None:
            for id in sorted(has[blocked_by]):
                wanted.setdefault(id, verdict.job.id)
    return wanted

"""Whose turn it is: the order of waiting jobs, and which of them start now. Pure."""

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

# A queue and an owner.
Whose = tuple[str, str]
NOBODY: Mapping[Whose, int] = MappingProxyType({})

GB = 10**9
# Deployments: they live until somebody ends them, and give back what they have while nobody asks them.
SERVING = "serving"


class Need(NamedTuple):
    """What a job asks for, in bytes and processors; 0 is nothing in particular.

    `gpus` None is one where the machine has any; `gpu_memory` 0 is whole devices.
    """

    gpus: int | None = None
    gpu_memory: int = 0
    cpus: float = 0
    memory: int = 0
    disk: int = 0

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> Need:
        """From what a spec says: the fields of `Resources`."""
        sizes = (asked.get(name) for name in ("gpu_memory_gb", "memory_gb", "disk_gb"))
        gpu_memory, memory, disk = (round((size or 0) * GB) for size in sizes)
        return cls(asked.get("gpus"), gpu_memory, asked.get("cpus") or 0, memory, disk)


@lru_cache(maxsize=1024)
def need(resources: str | None) -> Need:
    """From the JSON of `Resources` as a spec holds it; None from a spec that is older than resources."""
    return Need() if resources is None else Need.of(json.loads(resources))


class Waiting(NamedTuple):
    """A QUEUED job. `place` is its rank or else its seq; `delay` seconds are left until it may start."""

    id: str
    seq: int
    kind: str
    owner: str
    queue: str
    priority: int
    place: float
    need: Need
    retries: int = 0
    delay: float = 0

    @property
    def yielded(self) -> bool:
        """A deployment that has given up its place while nobody asked it; others go first."""
        return self.queue == SERVING and self.retries > 0


class Live(NamedTuple):
    """A job that has started, and for how many seconds it has run."""

    id: str
    attempt: int
    kind: str
    owner: str
    queue: str
    need: Need
    age: float = 0


@dataclass(frozen=True)
class Machine:
    """What there is for all jobs together, memory and disk in bytes; `disk_free` is what is free now."""

    devices: tuple[Device, ...]
    cpus: float
    memory: int
    disk: int
    disk_free: int

    def gpus(self, need: Need) -> int:
        """How many devices the job gets here."""
        return min(1, len(self.devices)) if need.gpus is None else need.gpus

    def impossible(self, need: Need) -> str:
        """What the job asks for and this machine does not have, in words; empty where it has it all."""
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
    """`8 GB`, `5.1 GB`."""
    return f"{round(max(0, size) / GB, 1):g} GB"


class Lack(StrEnum):
    """What keeps a job from starting."""

    DELAY = "delay"
    IMPOSSIBLE = "impossible"
    CLOSED = "closed"
    SLOT = "slot"
    DISK = "disk"
    DEVICES = "devices"
    MEMORY = "memory"
    CPUS = "cpus"


class Verdict(NamedTuple):
    """What becomes of a waiting job now. `lack` None: it starts, with `leases`.

    `position` is 1 for the next one of its queue, 0 for one that only waits for its time; `free` is how much
    of what it lacks nobody has and nobody is before it for, in devices, bytes or processors.
    """

    job: Waiting
    position: int
    lack: Lack | None
    leases: tuple[Lease, ...] = ()
    free: float = 0


def line(
    waiting: Iterable[Waiting], live: Iterable[Live], served: Mapping[Whose, int] = NOBODY
) -> list[Waiting]:
    """The order in which jobs start: priority, then the owner with the fewest live and earlier jobs of the
    queue, then the one whose last start is the longest ago, then the place. Jobs with a delay are left out.

    `served` holds a number for each queue and owner, the higher the later one of theirs was started.
    """
    ready = sorted(
        (job for job in waiting if job.delay <= 0),
        key=lambda job: (-job.priority, job.yielded, job.place, job.seq),
    )
    before = Counter((job.queue, job.owner) for job in live)
    keyed = []
    for job in ready:
        whose = (job.queue, job.owner)
        turn = served.get(whose, -1)
        keyed.append((-job.priority, job.yielded, before[whose], turn, job.place, job.seq, job))
        before[whose] += 1
    # seq is unique, so that jobs themselves are never compared
    keyed.sort()
    return [entry[-1] for entry in keyed]


def plan(
    waiting: Sequence[Waiting],
    live: Sequence[Live],
    leases: Sequence[Lease],
    slots: Mapping[str, int],
    machine: Machine,
    served: Mapping[Whose, int] = NOBODY,
) -> list[Verdict]:
    """A verdict on each waiting job, those that may start now in the order of starting.

    A job that lacks devices, memory or processors keeps what it can get of them, and its slot, from the jobs
    behind it: these pass it only with what it does not need, so that it is not kept waiting for ever. What it
    keeps of a slot it lets go while a deployment has what it lacks, as nobody knows how long that is.
    """
    room = _Room(live, leases, slots, machine)
    verdicts = []
    position: Counter[str] = Counter()
    for job in line(waiting, live, served):
        position[job.queue] += 1
        lack, free = room.lack(job)
        taken: tuple[Lease, ...] = ()
        if lack is None:
            taken = room.take(job)
        elif lack in (Lack.DEVICES, Lack.MEMORY, Lack.CPUS):
            room.keep(job, lack)
        verdicts.append(Verdict(job, position[job.queue], lack, taken, free))
    late = sorted((job for job in waiting if job.delay > 0), key=lambda job: job.delay)
    return verdicts + [Verdict(job, 0, Lack.DELAY) for job in late]


class _Room:
    """What is left, as jobs take it or keep it."""

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
            Lack.DEVICES: any(lease.job in serving for lease in leases),
            Lack.MEMORY: any(need.memory for need in serving.values()),
            Lack.CPUS: any(need.cpus for need in serving.values()),
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

    def lack(self, job: Waiting) -> tuple[Lack | None, float]:
        """The first thing that is missing, and how much of it there is."""
        need = job.need
        if need not in self._possible:
            self._possible[need] = not self._machine.impossible(need)
        if not self._possible[need]:
            return Lack.IMPOSSIBLE, 0
        total = self._total.get(job.queue, 1)
        if self._used[job.queue] >= total:
            return (Lack.SLOT if total else Lack.CLOSED), 0
        if need.disk and need.disk > self._disk:
            return Lack.DISK, self._disk
        if (gpus := self._machine.gpus(need)) and len(found := self._fitting(need)) < gpus:
            return Lack.DEVICES, max(self._free.values()) if need.gpu_memory else len(found)
        if need.memory and need.memory > self._memory:
            return Lack.MEMORY, self._memory
        if need.cpus and need.cpus > self._cpus + 1e-9:
            return Lack.CPUS, self._cpus
        return None, 0

    def _fitting(self, need: Need) -> list[str]:
        """Devices that the job could have, the fullest first, so that others stay whole."""
        if not need.gpu_memory:
            return [uuid for uuid in self._free if uuid not in self._touched]
        fitting = [uuid for uuid, free in self._free.items() if free >= need.gpu_memory]
        return sorted(fitting, key=lambda uuid: (self._free[uuid], uuid not in self._touched))

    def take(self, job: Waiting) -> tuple[Lease, ...]:
        """Start it."""
        gpus = self._machine.gpus(job.need)
        memory = job.need.gpu_memory or None
        chosen = self._fitting(job.need)[:gpus] if gpus else []
        for uuid in chosen:
            self._occupy(uuid, memory)
        self._used[job.queue] += 1
        self._spend(job.need)
        return tuple(Lease(device=uuid, job=job.id, memory=memory) for uuid in chosen)

    def keep(self, job: Waiting, lack: Lack) -> None:
        """Let nobody behind take what it needs. It collects the devices that are the most free, which
        nobody else gets now, so that they only become freer until it starts."""
        need = job.need
        gpus = self._machine.gpus(need)
        large = [uuid for uuid, total in self._total_memory.items() if total >= need.gpu_memory]
        for uuid in sorted(large, key=lambda uuid: (uuid in self._touched, -self._free[uuid]))[:gpus]:
            self._occupy(uuid, need.gpu_memory or None)
        self._spend(need)
        if not self._endless[lack]:
            self._used[job.queue] += 1

    def _spend(self, need: Need) -> None:
        self._memory -= need.memory
        self._cpus -= need.cpus
        self._disk -= need.disk


def askers(
    verdicts: Sequence[Verdict],
    waiting: Sequence[Waiting],
    live: Sequence[Live],
    leases: Sequence[Lease],
    slots: Mapping[str, int],
    machine: Machine,
) -> dict[str, str]:
    """Which deployments should unload once they are idle, and for which waiting job each.

    A job asks where it would start if no deployment had anything; one that has itself yielded does not.
    """
    serving = [job for job in live if job.queue == SERVING]
    blocked = {
        verdict.job.id: verdict.lack
        for verdict in verdicts
        if verdict.lack in (Lack.DEVICES, Lack.MEMORY, Lack.CPUS) and not verdict.job.yielded
    }
    if not (serving and blocked):
        return {}
    names = {job.id for job in serving}
    others = [job for job in live if job.id not in names]
    left = [lease for lease in leases if lease.job not in names]
    has: dict[Lack, set[str]] = defaultdict(set)
    has[Lack.DEVICES] = names & {lease.job for lease in leases}
    has[Lack.MEMORY] = {job.id for job in serving if job.need.memory}
    has[Lack.CPUS] = {job.id for job in serving if job.need.cpus}
    wanted: dict[str, str] = {}
    for verdict in plan(waiting, others, left, slots, machine):
        lack = blocked.get(verdict.job.id)
        if verdict.lack is None and lack is not None:
            for id in sorted(has[lack]):
                wanted.setdefault(id, verdict.job.id)
    return wanted

"""Why a job waits, in words, and about how long. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.queue.order import Lack, Verdict, Waiting, gigabytes
from ilab_jupyter.jobs.queue.snapshot import QueueSnapshot

NEXT_TURN = "It starts at the next turn of the queue."
_NAMED = 3


def reason(snapshot: QueueSnapshot, verdict: Verdict, cause: str | None = None) -> str:
    """One sentence. `cause` is what ended the last attempt of a job that is tried again."""
    job = verdict.job
    if snapshot.paused is not None:
        why = f": {snapshot.paused.reason}" if snapshot.paused.reason else ""
        return _sentence(f"The queue is paused by {snapshot.paused.by}{why}")
    if verdict.lack is None:
        return NEXT_TURN
    if verdict.lack is Lack.DELAY:
        return _retry(job, cause)
    if verdict.lack is Lack.IMPOSSIBLE:
        return snapshot.machine.impossible(job.need)
    if verdict.lack is Lack.CLOSED:
        return f"The queue '{job.queue}' is closed: it has no slots."
    if verdict.lack is Lack.SLOT:
        return _ahead(snapshot, verdict)
    asked = sorted(id for id, who in snapshot.askers.items() if who == job.id)
    hope = f" {_and(asked)} {_is(asked)} asked to unload when idle." if asked else ""
    return _lacking(snapshot, verdict) + hope


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _retry(job: Waiting, cause: str | None) -> str:
    policy = causes.retry(cause)
    most = f" of {policy.most}" if policy is not None and policy.most is not None else ""
    known = causes.CAUSES.get(cause or "")
    why = f": {known.title[:1].lower()}{known.title[1:]}" if known is not None else ""
    return _sentence(f"Retry {job.retries}{most} in {_seconds(job.delay)}{why}")


def _seconds(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 120 else f"{round(whole / 60)} min"


def _ahead(snapshot: QueueSnapshot, verdict: Verdict) -> str:
    name = verdict.job.queue
    running = [job.id for job in snapshot.live if job.queue == name]
    total = snapshot.slots.get(name, 1)
    count = verdict.position - 1 + len(running)
    verb = "job is" if count == 1 else "jobs are"
    used = ", ".join(running[:_NAMED]) + (" and others" if len(running) > _NAMED else "")
    place = f"{total} slot" + ("s" if total != 1 else "") + (f", used by {used}" if used else "")
    return f"{count} {verb} ahead of it in the queue '{name}' ({place})."


def _lacking(snapshot: QueueSnapshot, verdict: Verdict) -> str:
    need = verdict.job.need
    if verdict.lack is Lack.DISK:
        return f"It waits for {gigabytes(need.disk)} of disk; {gigabytes(verdict.free)} are free."
    if verdict.lack is Lack.MEMORY:
        return f"It waits for {gigabytes(need.memory)} of memory; {gigabytes(verdict.free)} are free."
    if verdict.lack is Lack.CPUS:
        return f"It waits for {need.cpus:g} CPUs; {max(0, verdict.free):g} are free."
    gpus = snapshot.machine.gpus(need)
    wanted = f"{gpus} GPU{'s' * (gpus != 1)}"
    if need.gpu_memory:
        wanted += f" with {gigabytes(need.gpu_memory)}"
        free = f"{gigabytes(verdict.free)} of one {'are' if verdict.free else 'is'} free"
    else:
        free = f"{verdict.free:g} {'is' if verdict.free == 1 else 'are'} free" if verdict.free else ""
    holders = list(dict.fromkeys(lease.job for lease in snapshot.leases))
    count = len(snapshot.machine.devices)
    which = "it is" if count == 1 else "both are" if count == 2 and not verdict.free else "others are"
    if holders and not need.gpu_memory:
        free = f"{free}, {which} used by {_and(holders)}" if free else f"{which} used by {_and(holders)}"
    elif holders:
        free = f"{free} beside {_and(holders)}"
    else:
        free = "they are kept for jobs before it" if count > 1 else "it is kept for a job before it"
    return f"It waits for {wanted}: {free}."


def _and(ids: Sequence[str]) -> str:
    if len(ids) > _NAMED:
        return ", ".join(ids[:_NAMED]) + " and others"
    return " and ".join(filter(None, [", ".join(ids[:-1]), ids[-1]]))


def _is(ids: Sequence[str]) -> str:
    return "is" if len(ids) == 1 else "are"


@dataclass(frozen=True)
class Pace:
    """What is known of how long things take: seconds left of live jobs by id, seconds of a run by kind."""

    left: Mapping[str, float | None]
    typical: Mapping[str, float]


def waits(snapshot: QueueSnapshot, pace: Pace) -> dict[str, float]:
    """About how many seconds until each waiting job starts; those of which nothing is known are left out.

    Slots and whole devices are followed in time; memory and processors are not, so that a job which waits
    for these is left out too.
    """
    free = _Free(snapshot, pace)
    found = {}
    if snapshot.paused is None:
        for verdict in snapshot.verdicts:
            job = verdict.job
            if verdict.lack in (Lack.IMPOSSIBLE, Lack.CLOSED, Lack.DISK, Lack.MEMORY, Lack.CPUS):
                continue
            start = job.delay if verdict.lack is Lack.DELAY else free.start(job, pace.typical.get(job.kind))
            if math.isfinite(start):
                found[job.id] = start
    return found


class _Free:
    """When slots and devices become free, in seconds from now; inf where nobody can tell."""

    def __init__(self, snapshot: QueueSnapshot, pace: Pace) -> None:
        self._machine = snapshot.machine
        self._devices = {device.uuid: 0.0 for device in snapshot.machine.devices}
        left = {id: math.inf if seconds is None else seconds for id, seconds in pace.left.items()}
        for lease in snapshot.leases:
            if lease.device in self._devices:
                until = left.get(lease.job, math.inf)
                self._devices[lease.device] = max(self._devices[lease.device], until)
        self._slots: dict[str, list[float]] = {}
        self._total = snapshot.slots
        for job in snapshot.live:
            self._slots.setdefault(job.queue, []).append(left.get(job.id, math.inf))
        for queue, ends in self._slots.items():
            self._fill(queue, ends)

    def _fill(self, queue: str, ends: list[float]) -> None:
        total = max(1, self._total.get(queue, 1))
        ends.sort()
        ends[:] = [0.0] * (total - len(ends)) + ends[-total:]

    def start(self, job: Waiting, length: float | None) -> float:
        """When it starts, given that all before it have been asked for in their order."""
        if job.queue not in self._slots:
            self._fill(job.queue, self._slots.setdefault(job.queue, []))
        slots = self._slots[job.queue]
        start = slots[0]
        chosen: list[str] = []
        if gpus := self._machine.gpus(job.need):
            chosen = sorted(self._devices, key=lambda uuid: self._devices[uuid])[:gpus]
            start = max([start, *(self._devices[uuid] for uuid in chosen)])
        end = math.inf if length is None else start + length
        heapq.heapreplace(slots, end)
        if not job.need.gpu_memory:
            self._devices.update(dict.fromkeys(chosen, end))
        return start

"""Explanations of why a job waits, and estimates of how long. Pure functions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.queue.order import BlockedBy, Verdict, Waiting, gigabytes
from ilab_jupyter.jobs.queue.snapshot import QueueSnapshot

NEXT_TURN = "It starts at the next turn of the queue."
_NAMED = 3


def reason(snapshot: QueueSnapshot, verdict: Verdict, cause: str | None = None) -> str:
    """Return one sentence on why the job waits. `cause` is what ended the last attempt of a retried job."""
    job = verdict.job
    if snapshot.paused is not None:
        why = f": {snapshot.paused.reason}" if snapshot.paused.reason else ""
        return _sentence(f"The queue is paused by {snapshot.paused.by}{why}")
    if verdict.blocked_by is None:
        return NEXT_TURN
    if verdict.blocked_by is BlockedBy.DELAY:
        return _retry(job, cause)
    if verdict.blocked_by is BlockedBy.IMPOSSIBLE:
        return snapshot.machine.impossible(job.need)
    if verdict.blocked_by is BlockedBy.CLOSED:
        return f"The queue '{job.queue}' is closed: it has no slots."
    if verdict.blocked_by is BlockedBy.SLOT:
        return _ahead(snapshot, verdict)
    candidates = sorted(id for id, job_id in snapshot.preemption_candidates.items() if job_id == job.id)
    preemption = f" {_and(candidates)} will unload when idle." if candidates else ""
    return _lacking(snapshot, verdict) + preemption


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _retry(job: Waiting, cause: str | None) -> str:
    policy = causes.retry(cause)
    most = f" of {policy.max_retries}" if policy is not None and policy.max_retries is not None else ""
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
    slots = f"{total} slot" + ("s" if total != 1 else "") + (f", used by {used}" if used else "")
    return f"{count} {verb} ahead of it in the queue '{name}' ({slots})."


def _lacking(snapshot: QueueSnapshot, verdict: Verdict) -> str:
    need = verdict.job.need
    if verdict.blocked_by is BlockedBy.DISK:
        return f"It waits for {gigabytes(need.disk)} of disk; {gigabytes(verdict.free)} are free."
    if verdict.blocked_by is BlockedBy.MEMORY:
        return f"It waits for {gigabytes(need.memory)} of memory; {gigabytes(verdict.free)} are free."
    if verdict.blocked_by is BlockedBy.CPUS:
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
        free = "they are reserved for jobs before it" if count > 1 else "it is reserved for a job before it"
    return f"It waits for {wanted}: {free}."


def _and(ids: Sequence[str]) -> str:
    if len(ids) > _NAMED:
        return ", ".join(ids[:_NAMED]) + " and others"
    return " and ".join(filter(None, [", ".join(ids[:-1]), ids[-1]]))


@dataclass(frozen=True)
class Durations:
    """Known durations: seconds left of live jobs by id, typical seconds of a run by kind."""

    left: Mapping[str, float | None]
    typical: Mapping[str, float]


def wait_estimates(snapshot: QueueSnapshot, durations: Durations) -> dict[str, float]:
    """Estimate the seconds until each waiting job starts; jobs that cannot be estimated are left out.

    Slots and whole devices are simulated; memory and processors are not, so jobs blocked by these are left
    out.
    """
    free = _Free(snapshot, durations)
    found = {}
    if snapshot.paused is None:
        for verdict in snapshot.verdicts:
            job = verdict.job
            if verdict.blocked_by in (
                BlockedBy.IMPOSSIBLE,
                BlockedBy.CLOSED,
                BlockedBy.DISK,
                BlockedBy.MEMORY,
                BlockedBy.CPUS,
            ):
                continue
            start = (
                job.delay
                if verdict.blocked_by is BlockedBy.DELAY
                else free.start(job, durations.typical.get(job.kind))
            )
            if math.isfinite(start):
                found[job.id] = start
    return found


class _Free:
    """When slots and devices become free, in seconds from now; inf if unknown."""

    def __init__(self, snapshot: QueueSnapshot, durations: Durations) -> None:
        self._machine = snapshot.machine
        self._devices = {device.uuid: 0.0 for device in snapshot.machine.devices}
        left = {id: math.inf if seconds is None else seconds for id, seconds in durations.left.items()}
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
        """Return the seconds until the job starts, if all jobs before it were passed here in their order."""
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

"""Background task: adopts jobs at start, runs the scheduler while jobs are live, reports changes.

While the server is idle it only checks whether the job database was written, and imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.distribution import Distribution

if TYPE_CHECKING:
    from ilab_jupyter.jobs.local import LocalJobs
    from ilab_jupyter.jobs.record import Job
    from ilab_jupyter.jobs.store.summaries import JobSummary
    from ilab_jupyter.server.audit import AuditTrail

TURN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
WATCHED = 200  # newest jobs whose changes are reported
SPACING_SECONDS = 0.25
MOST_TURNING = 20  # the scheduler takes at most a twentieth of the time

Listener = Callable[[list["Job"]], None]


class JobSource(Protocol):
    """The job service, opened when it is needed."""

    @property
    def opened(self) -> LocalJobs | None:
        """The service where it is open."""

    @property
    def audit(self) -> AuditTrail:
        """Where entries of the audit are sent."""

    @property
    def log(self) -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
        """The server's log."""

    def changed(self) -> bool:
        """Return whether the store may have been written since the last call."""

    async def needed(self) -> bool:
        """Return whether the store must be opened though no request needs it."""

    async def jobs(self) -> LocalJobs:
        """Open the service, or raise Unavailable."""


class JobMonitor:
    """Polls every second while jobs are live or listeners are registered, less often otherwise."""

    def __init__(
        self,
        services: JobSource,
        *,
        keep_alive: timedelta,
        on_active: Callable[[], None],
        on_state: Callable[[JobSummary], None],
        busy_seconds: float = 1.0,
        idle_seconds: float = 5.0,
    ) -> None:
        self._services = services
        self._keep_alive = keep_alive
        self._on_active = on_active
        self._on_state = on_state
        self._busy = busy_seconds
        self._idle = idle_seconds
        self._known: dict[str, JobSummary] = {}
        self._shown: dict[str, Job] = {}
        self._next_turn = 0.0
        self._listeners: set[Listener] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._first = True
        self._since = datetime.now(UTC)
        self.live: tuple[JobSummary, ...] = ()
        self.turns = Distribution(TURN_BUCKETS)

    def start(self) -> None:
        """Start polling in the running loop."""
        self._since = datetime.now(UTC)
        self._task = asyncio.create_task(self._run(), name="ilab job monitor")

    async def stop(self) -> None:
        """Stop polling. Jobs go on without this server."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Poll now: something was just changed here."""
        self._wake.set()

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the jobs that have changed, after each poll."""
        self._listeners.add(listener)
        self.wake()

    def unlisten(self, listener: Listener) -> None:
        """Remove a listener."""
        self._listeners.discard(listener)

    @property
    def active(self) -> tuple[JobSummary, ...]:
        """Live jobs that keep this server alive: those no older than the administrator's cap."""
        now = datetime.now(UTC)
        return tuple(job for job in self.live if now - (job.started_at or job.created_at) < self._keep_alive)

    async def _run(self) -> None:
        due = True  # stays so until a poll has succeeded
        while True:
            # Cleared before the poll, so that what happens during it leads to another one.
            self._wake.clear()
            try:
                due = self._services.changed() or due
                jobs = self._services.opened
                if jobs is None and due and await self._services.needed():
                    jobs = await self._services.jobs()
                if jobs is not None and (due or self._first or self.live):
                    await self._poll(jobs)
                due = False
                pause = self._busy if self.live or self._listeners else self._idle
            except Unavailable:
                pause = self._idle
            except Exception:
                self._services.log.exception("The scheduler failed")
                pause = self._idle
            began = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
                due = True
            # Changes within so short a time lead to one poll, which leaves the processor to requests.
            await asyncio.sleep(began + SPACING_SECONDS - time.monotonic())

    async def _poll(self, jobs: LocalJobs) -> None:
        if self._first or (self.live and time.monotonic() >= self._next_turn):
            began = time.monotonic()
            await asyncio.to_thread(jobs.turn)
            taken = time.monotonic() - began
            self.turns.add(taken)
            self._next_turn = began + max(self._busy, MOST_TURNING * taken)
        marks = await asyncio.to_thread(jobs.summaries, WATCHED)
        self.live = tuple(mark for mark in marks if not mark.state.ended)
        if self.active:
            self._on_active()
        await self._tell(jobs, {mark.id: mark for mark in marks})
        await self._services.audit.tell(jobs)

    async def _tell(self, jobs: LocalJobs, seen: dict[str, JobSummary]) -> None:
        known, first = self._known, self._first
        self._known, self._first = seen, False
        for mark in seen.values():
            before = known.get(mark.id)
            if before == mark or (before is None and first and mark.created_at < self._since):
                continue
            if before is None or (before.state, before.attempt) != (mark.state, mark.attempt):
                self._on_state(mark)
                await asyncio.sleep(0)  # a burst of jobs does not keep requests waiting
        if not self._listeners:
            self._shown = {}
            return
        # The row of a live job has more than its mark: progress, position in the queue.
        ids = [mark.id for mark in seen.values() if known.get(mark.id) != mark or not mark.state.ended]
        shown = await asyncio.to_thread(jobs.get_many, ids)
        changed = [job for job in shown if self._shown.get(job.id) != job]
        self._shown = {job.id: job for job in shown if not job.state.ended}
        if changed:
            for listener in tuple(self._listeners):
                listener(changed)


def state_event(job: JobSummary) -> dict[str, Any]:
    """The event of a state change, for every listener on this server: no title, argument or log."""
    return {
        "job": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "attempt": job.attempt,
        "cause": job.cause or "",
    }

"""The server's heartbeat: adopts jobs at start, moves the queue while jobs are live, tells what changed.

While nothing happens it only looks whether the job database was written, and nothing heavy is imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.glance import PENDING

if TYPE_CHECKING:
    from ilab_jupyter.jobs.local import LocalJobs
    from ilab_jupyter.jobs.record import Job
    from ilab_jupyter.server.services import Services

WATCHED = 200  # newest jobs whose changes are told

Listener = Callable[[list["Job"]], None]


class Pulse:
    """Beats every second while jobs are live or somebody listens, more slowly otherwise."""

    def __init__(
        self,
        services: Services,
        *,
        keep_alive: timedelta,
        on_active: Callable[[], None],
        on_state: Callable[[Job], None],
        busy_seconds: float = 1.0,
        idle_seconds: float = 5.0,
    ) -> None:
        self._services = services
        self._keep_alive = keep_alive
        self._on_active = on_active
        self._on_state = on_state
        self._busy = busy_seconds
        self._idle = idle_seconds
        self._known: dict[str, Job] = {}
        self._listeners: set[Listener] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._first = True
        self._since = datetime.now(UTC)
        self.live: tuple[Job, ...] = ()

    def start(self) -> None:
        """Beat from now on, in the running loop."""
        self._since = datetime.now(UTC)
        self._task = asyncio.create_task(self._run(), name="ilab pulse")

    async def stop(self) -> None:
        """Beat no more. Jobs go on without this server."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Beat now: something was just changed here."""
        self._wake.set()

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the jobs that have changed, after each beat."""
        self._listeners.add(listener)
        self.wake()

    def unlisten(self, listener: Listener) -> None:
        """No longer."""
        self._listeners.discard(listener)

    @property
    def active(self) -> tuple[Job, ...]:
        """Live jobs that keep this server alive: those no older than the administrator's cap."""
        now = datetime.now(UTC)
        return tuple(job for job in self.live if now - (job.started_at or job.created_at) < self._keep_alive)

    async def _run(self) -> None:
        due = True  # stays so until a beat has succeeded
        while True:
            # Cleared before the beat, so that what happens during it leads to another one.
            self._wake.clear()
            try:
                due = self._services.changed() or due
                jobs = self._services.opened
                if jobs is None and due and await self._services.needed():
                    jobs = await self._services.jobs()
                if jobs is not None and (due or self._first or self.live):
                    await self._beat(jobs)
                due = False
                pause = self._busy if self.live or self._listeners else self._idle
            except Unavailable:
                pause = self._idle
            except Exception:
                self._services.log.exception("The job queue could not be moved")
                pause = self._idle
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
                due = True

    async def _beat(self, jobs: LocalJobs) -> None:
        from ilab_jupyter.jobs.record import JobFilter

        if self._first or self.live:
            await asyncio.to_thread(jobs.turn)
        newest = (await jobs.list(limit=WATCHED)).jobs
        live = (await jobs.list(JobFilter(states=PENDING), limit=500)).jobs
        self.live = tuple(live)
        if self.active:
            self._on_active()
        self._tell({job.id: job for job in [*live, *newest]})

    def _tell(self, seen: dict[str, Job]) -> None:
        changed = [job for job in seen.values() if self._known.get(job.id) != job]
        for job in changed:
            before = self._known.get(job.id)
            if before is None and self._first and job.created_at < self._since:
                continue
            if before is None or (before.state, before.attempt) != (job.state, job.attempt):
                self._on_state(job)
        self._known = seen
        self._first = False
        if changed:
            for listener in tuple(self._listeners):
                listener(changed)


def state_event(job: Job) -> dict[str, Any]:
    """What everybody on this server may hear of a job: no title, no argument, no log."""
    return {
        "job": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "attempt": job.attempt,
        "cause": job.cause or "",
    }

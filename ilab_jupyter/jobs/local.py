"""The job service on a state folder. Works without a server, and beside any number of other processes."""

from __future__ import annotations

import asyncio
import builtins
import getpass
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path

from ilab_jupyter import paths
from ilab_jupyter.durable import disk_advice
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, PublicError
from ilab_jupyter.jobs import view
from ilab_jupyter.jobs.actor import acting
from ilab_jupyter.jobs.attempt import shutdown
from ilab_jupyter.jobs.attempt.launch import check_secrets, interpreter, launch
from ilab_jupyter.jobs.attempt.lock import is_held, locked
from ilab_jupyter.jobs.attempt.process import kill_all
from ilab_jupyter.jobs.causes import RESTARTED
from ilab_jupyter.jobs.device import Device
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.health import Finding, examine
from ilab_jupyter.jobs.logs import output, retention, watch
from ilab_jupyter.jobs.logs.events import EventTail
from ilab_jupyter.jobs.logs.masking import mask_of
from ilab_jupyter.jobs.queue import control, leases, restart, scheduler
from ilab_jupyter.jobs.queue.background import BackgroundScheduler
from ilab_jupyter.jobs.queue.retries import due_in
from ilab_jupyter.jobs.record import (
    EVERY,
    Attempt,
    AuditEntry,
    Event,
    Job,
    JobFilter,
    JobPage,
    JobSpec,
    LogChunk,
    LogMatches,
    Pruned,
    QueueState,
    RemovedJob,
)
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.statistics import Figures, Statistics
from ilab_jupyter.jobs.store import brief, history, removal, settings, summaries
from ilab_jupyter.jobs.store.integrity import mark_acknowledged
from ilab_jupyter.jobs.store.pages import MAX_KINDS
from ilab_jupyter.jobs.store.rows import AUTOMATIC, Row, Store
from ilab_jupyter.jobs.store.schema import job as table
from ilab_jupyter.jobs.store.submission import Submissions
from ilab_jupyter.jobs.store.summaries import JobSummary

log = logging.getLogger(__name__)

# Resolves and checks a new job before it is queued, by its spec, its secrets and a function that gives the
# specs of the owner's queued and live jobs that contain a text. Raises PublicError where the job cannot
# succeed; returns the spec with its arguments resolved, and warnings on what could not be checked.
Admission = Callable[
    [JobSpec, Mapping[str, str], Callable[[str], Sequence[JobSpec]]], tuple[JobSpec, Sequence[str]]
]

MAX_QUEUED = 100_000
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}-[a-z2-7]{8}")


class LocalJobs:
    """`JobService` on a state folder, `paths.state_dir()` if None. Unavailable if that cannot be used.

    `owner` is the operating system's user if None; jobs of another owner are not found. `worker_python` is
    the interpreter of the jobs, one for all or one per kind. `database_url` is the PostgreSQL database for
    the rows, ILAB_JUPYTER_DATABASE_URL if None, and SQLite if that is not set. Changes are audited as done by
    `actor`, the owner if None. `admit` checks each new job. `max_queued` is how many of the owner's jobs may
    be QUEUED: a further one is TooMany.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        owner: str | None = None,
        worker_python: str | Mapping[str, str] | None = None,
        worker_module: str = "ilab_jupyter.kinds",
        database_url: str | None = None,
        actor: str | None = None,
        admit: Admission | None = None,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self.state = StateFolder((state_dir or paths.state_dir()).absolute())
        self.owner = owner or getpass.getuser()
        self._actor = actor or self.owner
        self._python = worker_python
        self._module = worker_module
        self._admit = admit
        self._store = Store(self.state, database_url, thorough=True)
        self._adopting = threading.Lock()
        self._adopted = False
        self._submissions = Submissions(self._store, max_queued)
        self._background = BackgroundScheduler(self)
        self._statistics = Statistics(self._store)

    # For hosts of the service, besides the protocol. These methods block.

    def turn(self) -> None:
        """Determine the outcome of live jobs and start waiting ones. Call it periodically."""
        with disk_advice(self.state.path):
            scheduler.turn(self._store)
        if self.active():
            self._background.start()

    def summaries(self, newest: int) -> builtins.list[JobSummary]:
        """Return summaries of the owner's newest jobs and of those that are queued or live."""
        return summaries.read(self._store, self.owner, newest)

    def get_many(self, ids: Collection[str]) -> builtins.list[Job]:
        """Return those of the owner's jobs, as in a list."""
        rows = self._store.select(table.c.id.in_(ids), table.c.owner == self.owner) if ids else []
        shorter = {row.id: brief.brief(row) for row in rows}
        omitted = {id: names for id, (_, names) in shorter.items() if names}
        return view.jobs(self._store, [row for row, _ in shorter.values()], omitted)

    @property
    def advice(self) -> builtins.list[str]:
        """Sentences for an administrator about the storage of the jobs; usually none."""
        return self._store.advice

    def active(self) -> int:
        """Return how many jobs are queued or live, of all owners."""
        return self._store.count(LIVE | {JobState.QUEUED})

    def due_in(self) -> float | None:
        """Return the seconds until the next retry may start; None if no retry is waiting."""
        return due_in(self._store)

    @property
    def actor(self) -> str:
        """The actor for the audit: the user set for this request, or the actor of this object."""
        return acting(self._actor)

    def interpreter(self, kind: str) -> str:
        """Return the Python that runs jobs of this kind."""
        return interpreter(self._python, kind)

    def health(self) -> builtins.list[Finding]:
        """Run the health checks; writes once to the store."""
        return examine(self._store)

    def statistics(self) -> Figures:
        """Return statistics for monitoring; waits and durations count from the opening on."""
        return self._statistics.read()

    async def last_audit_seq(self, before: float) -> int:
        """Return the seq of the last audit entry before this time, in seconds; 0 if there is none."""
        return await asyncio.to_thread(history.last, self._store, before)

    def restart_interrupted(self) -> builtins.list[Job]:
        """Queue the owner's jobs again that were interrupted by their machine or server. For a server that
        starts.

        A job without progress in three such attempts is left to its owner. Jobs that are still ending are
        waited for, ten seconds at most.
        """
        self._adopt()
        left, again = {row.id for row in self._store.in_states(LIVE)}, []
        deadline = time.monotonic() + 10
        while True:
            found, conflicts = self._restart_once()
            again += found
            left = {id for id in left if scheduler.is_ending(self._store, id)}
            if not (left or conflicts) or time.monotonic() >= deadline:
                break
            time.sleep(0.2)
        return [self._view(self._find(id)) for id in again]

    def _restart_once(self) -> tuple[builtins.list[str], int]:
        """Return the jobs that were queued again, and how many could not be queued yet."""
        rows = self._store.select(
            table.c.owner == self.owner,
            table.c.state == JobState.INTERRUPTED,
            table.c.cause.in_(sorted(RESTARTED)),
        )
        again, conflicts = [], 0
        for row, retries in restart.choose(rows, lambda row: restart.progressed(row, self.state.job(row.id))):
            try:
                self._requeue(row, "restart", AUTOMATIC, retries)
                again.append(row.id)
            except PublicError as error:
                conflicts += 1
                log.warning("%s was not queued again: %s", row.id, error)
        self._turn_if_possible()
        return again, conflicts

    def interrupt(
        self, ids: Collection[str] | None = None, *, timeout: float | None = None
    ) -> builtins.list[Job]:
        """Let live jobs of the owner (all if None) save their work and end as INTERRUPTED, and wait for that.

        Waits for the grace period plus a margin if `timeout` is None. Returns the signalled jobs as they are
        then. With None, this service stops its background scheduler.
        """
        if ids is None:
            self._background.stop()
        else:
            self._background.flush()
        signalled = shutdown.interrupt(self._store, self.owner, ids, timeout)
        return view.jobs(self._store, signalled)

    def folder(self, id: str) -> Path:
        """Return the folder of a job; NotFound as in `get`."""
        return self.state.job(self._find(id).id).path

    def configure(
        self,
        *,
        slots: Mapping[str, int] | None = None,
        grace_seconds: float | None = None,
        devices: Sequence[Device] | None = None,
        retries: bool | None = None,
    ) -> None:
        """Set what is not None for every process on this state folder.

        `slots`: how many jobs of a queue run at once; `grace_seconds`: how long a worker may take to save its
        work when it is stopped; `devices`: the GPUs that jobs may use (an empty list for none; those that
        NVML reports if it was never set); `retries`: whether jobs are retried automatically after causes
        where that helps.
        """
        settings.configure(
            self._store,
            slots=slots,
            grace_seconds=grace_seconds,
            devices=devices,
            retries=retries,
            actor=self.actor,
        )

    def close(self) -> None:
        """Close the database. Jobs continue."""
        self._background.stop()
        self._background.join()
        self._store.close()

    # The protocol.

    async def submit(
        self, spec: JobSpec, *, key: str | None = None, secrets: Mapping[str, str] | None = None
    ) -> Job:
        """See JobService."""
        return await asyncio.to_thread(self._submit, spec, key, secrets)

    async def get(self, id: str) -> Job:
        """See JobService."""
        return await asyncio.to_thread(lambda: self._view(self._find(id)))

    async def list(self, filter: JobFilter = EVERY, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """See JobService."""
        return await asyncio.to_thread(self._list, filter, cursor, limit)

    async def cancel(self, id: str) -> Job:
        """See JobService."""
        return await asyncio.to_thread(self._cancel, id)

    async def resume(self, id: str) -> Job:
        """See JobService."""
        return await asyncio.to_thread(self._resume, id)

    async def logs(
        self, id: str, *, offset: int = 0, limit: int = 65536, attempt: int | None = None
    ) -> LogChunk:
        """See JobService."""
        return await asyncio.to_thread(
            lambda: output.chunk(self._store, self._find(id), offset, limit, attempt)
        )

    async def search(
        self,
        id: str,
        pattern: str,
        *,
        regex: bool = False,
        offset: int = 0,
        limit: int = 100,
        attempt: int | None = None,
    ) -> LogMatches:
        """See JobService."""

        def find() -> LogMatches:
            row = self._find(id)
            return output.matches(
                self._store, row, pattern, regex=regex, offset=offset, limit=limit, attempt=attempt
            )

        return await asyncio.to_thread(find)

    async def prune(
        self, *, days: float | None = None, keep_bytes: int | None = None, dry_run: bool = False
    ) -> Pruned:
        """See JobService."""
        return await asyncio.to_thread(
            retention.prune,
            self._store,
            self.owner,
            self.actor,
            days=days,
            keep_bytes=keep_bytes,
            dry_run=dry_run,
        )

    async def orphans(self) -> builtins.list[str]:
        """Return job folders of any owner without a row, for an administrator to inspect."""
        return await asyncio.to_thread(retention.orphans, self._store)

    async def events(self, id: str, *, after: int = 0, limit: int = 1000) -> builtins.list[Event]:
        """See JobService."""
        _positive(limit, 100_000)
        return await asyncio.to_thread(self._events, id, after, limit)

    def watch(
        self, id: str, *, after: int = 0, log_offset: int | None = None, log_attempt: int | None = None
    ) -> AsyncIterator[Event]:
        """See JobService."""
        cursor = {"log_offset": log_offset, "log_attempt": log_attempt}
        return watch.watch(self._store, lambda: self._find(id), after=max(0, after), **cursor)

    async def remove(self, id: str) -> RemovedJob:
        """See JobService."""
        return await asyncio.to_thread(lambda: removal.remove(self._store, self._find(id), self.actor))

    async def queue(self) -> QueueState:
        """See JobService."""
        return await asyncio.to_thread(control.state, self._store, self.owner)

    async def attempts(self, id: str) -> builtins.list[Attempt]:
        """See JobService."""
        return await asyncio.to_thread(lambda: history.attempts(self._store, self._find(id)))

    async def audit(self, *, after: int = 0, limit: int = 100) -> builtins.list[AuditEntry]:
        """See JobService."""
        return await asyncio.to_thread(history.audit, self._store, self.owner, after, limit)

    async def pause(self, reason: str = "") -> QueueState:
        """See JobService."""
        await asyncio.to_thread(control.pause, self._store, self.actor, reason)
        return await self.queue()

    async def unpause(self) -> QueueState:
        """See JobService."""
        await asyncio.to_thread(control.unpause, self._store, self.actor)
        await asyncio.to_thread(self._turn_if_possible)
        return await self.queue()

    async def reorder(self, id: str, *, before: str | None = None) -> Job:
        """See JobService."""
        return await asyncio.to_thread(self._reorder, id, before)

    # Blocking implementations.

    def _submit(self, spec: JobSpec, key: str | None, secrets: Mapping[str, str] | None) -> Job:
        if key is not None and not 0 < len(key) <= 255:
            raise InvalidInput("A key has 1 to 255 characters.")
        given = check_secrets(secrets or {})
        spec = spec.model_copy(update={"resources": leases.effective_resources(spec.resources)})
        leases.check_satisfiable(self._store, spec.resources)
        resolved, warnings = self._admitted(spec, key, given)
        launched = launch(interpreter(self._python, spec.kind), self._module)
        row = self._submissions.add(
            self.owner, resolved, launched, key=key, secrets=given, actor=self.actor, requested=spec
        )
        self._background.wake()
        waiting = view.JUST_QUEUED if row.state is JobState.QUEUED else None
        job = view.job(self._store, row, pending_reason=waiting)
        return job.model_copy(update={"warnings": warnings}) if warnings else job

    def _admitted(
        self, spec: JobSpec, key: str | None, secrets: Mapping[str, str]
    ) -> tuple[JobSpec, builtins.list[str]]:
        """The resolved spec and the warnings of the admission; a known key repeats an admitted submission."""
        if self._admit is None:
            return spec, []
        with self._store.read() as connection:
            if key is not None and self._store.by_key(connection, self.owner, key) is not None:
                return spec, []
        resolved, warnings = self._admit(spec, secrets, self._unended)
        return resolved, [*warnings]

    def _unended(self, text: str) -> builtins.list[JobSpec]:
        """Return the specs of the owner's queued and live jobs that contain `text`."""
        states = table.c.state.in_(sorted(LIVE | {JobState.QUEUED}))
        found = table.c.spec.contains(text, autoescape=True)
        rows = self._store.select(table.c.owner == self.owner, states, found)
        return [JobSpec.model_validate(row.spec) for row in rows]

    def _list(self, filter: JobFilter, cursor: str | None, limit: int) -> JobPage:
        _positive(limit, 500)
        if len(filter.kinds) > MAX_KINDS:
            raise InvalidInput(f"A list takes at most {MAX_KINDS} kinds.", "Request fewer, or all.")
        before = None if cursor is None else view.read_cursor(cursor)
        self._adopt()
        page = self._store.page(self.owner, filter, before=before, limit=limit)
        return JobPage(
            jobs=view.jobs(self._store, page.rows, page.omitted),
            cursor=view.cursor(page.rows[-1]) if page.more else None,
        )

    def _cancel(self, id: str) -> Job:
        row = self._find(id)
        while not row.state.ended and row.state is not JobState.STOPPING:
            if row.state is JobState.QUEUED:
                moved = self._store.move(
                    row,
                    JobState.CANCELLED,
                    ended=time.time(),
                    stop_reason="cancel",
                    cause="cancelled",
                    message="Cancelled before it started.",
                    hint="Resume it to put it into the queue again.",
                    actor=self.actor,
                )
                if moved is not None:
                    mark_acknowledged(self.state.job(id), moved.attempt, moved.state)
            else:
                self._store.move(row, JobState.STOPPING, stop_reason="cancel", actor=self.actor)
            row = self._find(id)
        if row.state is JobState.STOPPING:
            scheduler.request_stop(self._store, row)
        self._turn_if_possible()
        return self._view(self._find(id))

    def _resume(self, id: str) -> Job:
        row = self._find(id)
        if not row.state.ended:
            raise Conflict(f"{id} is {row.state}: it has not ended.", "Cancel it first, or wait.")
        if not row.state.resumable:
            raise Conflict(f"{id} has succeeded.", "Submit a new job instead.")
        self._requeue(row, "resumed", self.actor)
        self._turn_if_possible()
        return self._view(self._find(id))

    def _requeue(self, row: Row, why: str, actor: str, retries: int = 0) -> None:
        """Queue an ended job's next attempt; Conflict if processes of its last one are left."""
        id = row.id
        launched = launch(interpreter(self._python, row.kind), self._module, row.launch["cwd"])
        with disk_advice(self.state.path), locked(self.state.turn_lock, 30) as got:
            # Attempt n+1 must not run beside attempt n: wait for its supervisor and kill its processes.
            attempt = self.state.job(id).attempt(row.attempt)
            deadline = time.monotonic() + 5
            while is_held(attempt.lock) and time.monotonic() < deadline:
                time.sleep(0.02)
            if not got or is_held(attempt.lock) or (row.token is not None and not kill_all(row.token, 5)):
                raise Conflict(f"The last attempt of {id} is still ending.", "Try again in a minute.")
            queued = self._store.requeue(row, launched, why=why, actor=actor, retries=retries)
            if queued is None:
                raise Conflict(f"{id} was resumed by another request.", "Check its state.")
            mark_acknowledged(self.state.job(id), queued.attempt, queued.state)

    def _reorder(self, id: str, before: str | None) -> Job:
        with disk_advice(self.state.path):
            control.reorder(self._store, self._find(id), before, self.actor)
        return self._view(self._find(id))

    def _events(self, id: str, after: int, limit: int) -> builtins.list[Event]:
        row = self._find(id)
        folder = self.state.job(row.id)
        mask = mask_of(folder)
        return [view.event(mask.event(line)) for line in EventTail(folder.events, max(0, after)).read(limit)]

    def _find(self, id: str) -> Row:
        self._adopt()
        row = self._store.get(id) if _ID.fullmatch(id) else None
        if row is None or row.owner != self.owner:
            raise NotFound(f"There is no job {id[:160]!r}.", "List the jobs to see their ids.")
        return row

    def _view(self, row: Row) -> Job:
        return view.jobs(self._store, [row])[0]

    def _adopt(self) -> None:
        """Reconcile before the first response: live rows may belong to a machine that was switched off."""
        if not self._adopted:
            with self._adopting:
                if not self._adopted:
                    self._adopted = True
                    self._turn_if_possible()

    def _turn_if_possible(self) -> None:
        """Run a turn. A failure is only logged, because the request itself is stored."""
        self._adopted = True
        try:
            self.turn()
        except (PublicError, OSError) as error:
            log.warning("The scheduler turn failed: %s", error)


def _positive(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise InvalidInput(f"The limit is 1 to {most}, not {limit}.")

"""The interface to jobs, implemented by `LocalJobs` on the state folder and `client.RemoteJobs` over HTTP."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

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


class JobService(Protocol):
    """Async is the implementation; `jobs.sync.SyncJobs` derives the blocking form. Errors are PublicError."""

    async def submit(
        self, spec: JobSpec, *, key: str | None = None, secrets: Mapping[str, str] | None = None
    ) -> Job:
        """Store the job durably, then run a scheduler turn.

        The same `key` of the same owner returns the same job again; with a different spec it is a Conflict.
        `secrets` become environment variables of the worker: they are stored in a file with mode 0600 and in
        no row, log or response.
        """

    async def get(self, id: str) -> Job:
        """Return the job. NotFound for an id that does not exist or belongs to another owner."""

    async def list(self, filter: JobFilter = EVERY, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """List jobs, newest first. `limit` is 1 to 500; a cursor of another service is InvalidInput."""

    async def cancel(self, id: str) -> Job:
        """Stop a job: a queued one ends at once, a running one may save its work first. Idempotent."""

    async def resume(self, id: str) -> Job:
        """Queue a new attempt of an ended job, from its last checkpoint. Conflict if live or succeeded."""

    async def logs(
        self, id: str, *, offset: int = 0, limit: int = 65536, attempt: int | None = None
    ) -> LogChunk:
        """Return part of an attempt's log, the newest attempt's if None. A negative offset counts from the
        end."""

    async def events(self, id: str, *, after: int = 0, limit: int = 1000) -> builtins.list[Event]:
        """Return events with seq > `after`, oldest first, of all attempts."""

    def watch(
        self, id: str, *, after: int = 0, log_offset: int | None = None, log_attempt: int | None = None
    ) -> AsyncIterator[Event]:
        """Stream events as they occur, starting with `state`. Only the last one, `end`, means that the job
        has ended.

        With `log_offset` the log is included as `log` events {attempt, offset, next_offset, text}: of attempt
        `log_attempt` from that offset on, the newest attempt if None, and of all later attempts.
        """

    async def attempts(self, id: str) -> builtins.list[Attempt]:
        """Return a job's attempts, the first one first."""

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
        """Return lines of an attempt's log that contain `pattern`, ignoring case.

        Regular expressions use RE2 syntax; an invalid one is InvalidInput. A call searches for at most two
        seconds and returns where to continue.
        """

    async def remove(self, id: str) -> RemovedJob:
        """Remove an ended job with its folder: logs, events, artifacts. Conflict while it is live."""

    async def queue(self) -> QueueState:
        """Return the state of the queue."""

    async def pause(self, reason: str = "") -> QueueState:
        """Start no more jobs, in every process on this store, until `unpause`. Live jobs continue."""

    async def unpause(self) -> QueueState:
        """Start jobs again."""

    async def reorder(self, id: str, *, before: str | None = None) -> Job:
        """Move a QUEUED job before another of the same owner, queue and priority; before all if None."""

    async def prune(
        self, *, days: float | None = None, keep_bytes: int | None = None, dry_run: bool = False
    ) -> Pruned:
        """Remove logs of ended attempts: those older than `days`, then the oldest above `keep_bytes` in
        total."""

    async def audit(self, *, after: int = 0, limit: int = 100) -> builtins.list[AuditEntry]:
        """Return audit entries after entry `after`, oldest first: the owner's own jobs and the queue."""

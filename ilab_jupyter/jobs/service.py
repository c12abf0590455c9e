"""The one door to jobs: `LocalJobs` opens it on the state folder, `client.RemoteJobs` over HTTP."""

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
        """Store the job durably, then give the queue a turn.

        The same `key` of the same owner gives the same job again; with a different spec it is a Conflict.
        `secrets` become environment variables of the worker: kept in a 0600 file, in no row, log or answer.
        """

    async def get(self, id: str) -> Job:
        """The job; NotFound for an id that does not exist or is another owner's."""

    async def list(self, filter: JobFilter = EVERY, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """Newest first. `limit` is 1 to 500; a cursor that this service did not give is InvalidInput."""

    async def cancel(self, id: str) -> Job:
        """Ask a job to stop: a queued one ends at once, a running one may save its work first. Idempotent."""

    async def resume(self, id: str) -> Job:
        """A new attempt of an ended job, from its last checkpoint. Conflict where live or succeeded."""

    async def logs(
        self, id: str, *, offset: int = 0, limit: int = 65536, attempt: int | None = None
    ) -> LogChunk:
        """Part of an attempt's log, the newest's where None. A negative offset counts from the end."""

    async def events(self, id: str, *, after: int = 0, limit: int = 1000) -> builtins.list[Event]:
        """Events with seq > `after`, oldest first, over all attempts."""

    def watch(
        self, id: str, *, after: int = 0, log_offset: int | None = None, log_attempt: int | None = None
    ) -> AsyncIterator[Event]:
        """Events as they come, starting with `state`; only the last one, `end`, means that it has ended.

        With `log_offset` the log comes too, as `log` events {attempt, offset, next_offset, text}: of the
        attempt `log_attempt` from there on, the newest where None, and of all later ones.
        """

    async def attempts(self, id: str) -> builtins.list[Attempt]:
        """A job's attempts, the first one first."""

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
        """Lines of an attempt's log that hold `pattern`, whatever the case of letters.

        Regular expressions are RE2's; one that is none is InvalidInput. A call looks for at most two seconds,
        and says where to go on.
        """

    async def remove(self, id: str) -> RemovedJob:
        """Remove an ended job with its folder: logs, events, artifacts. Conflict while it is live."""

    async def queue(self) -> QueueState:
        """What moves and what waits."""

    async def pause(self, reason: str = "") -> QueueState:
        """Start nothing more, for every process on this store, until `unpause`. Live jobs go on."""

    async def unpause(self) -> QueueState:
        """Start jobs again."""

    async def reorder(self, id: str, *, before: str | None = None) -> Job:
        """Put a QUEUED job before another of the same owner, queue and priority; before all where None."""

    async def prune(
        self, *, days: float | None = None, keep_bytes: int | None = None, dry_run: bool = False
    ) -> Pruned:
        """Remove logs of ended attempts: older than `days`, then the oldest over `keep_bytes` in all."""

    async def audit(self, *, after: int = 0, limit: int = 100) -> builtins.list[AuditEntry]:
        """Who did what, oldest first, from behind the entry `after`; the owner's own jobs and the queue."""

"""The one door to jobs: `LocalJobs` opens it on the state folder, `client.RemoteJobs` over HTTP."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from ilab_jupyter.jobs.record import EVERY, Event, Job, JobFilter, JobPage, JobSpec, LogChunk


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

    def watch(self, id: str, *, after: int = 0, log_offset: int | None = None) -> AsyncIterator[Event]:
        """Events as they come, starting with `state`; only the last one, `end`, means that it has ended.

        With `log_offset` the log comes too, as `log` events {attempt, offset, next_offset, text}.
        """

"""Blocking form of a JobService that also works in a notebook, whose event loop is already running."""

from __future__ import annotations

import asyncio
import builtins
import os
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

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
from ilab_jupyter.jobs.service import JobService

T = TypeVar("T")


class _Loop:
    """One event loop in a daemon thread, started at the first use; a forked process starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                self._loop.set_exception_handler(_handle_exception)
                threading.Thread(target=self._loop.run_forever, name="ilab-jobs", daemon=True).start()
            return self._loop


def _handle_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report as usual, except errors that occur because the interpreter is shutting down."""
    if threading.main_thread().is_alive():
        loop.default_exception_handler(context)


_loop = _Loop()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the coroutine's result, with or without a running loop. Ctrl-C cancels the coroutine."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop.get())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class SyncJobs:
    """`service` with blocking methods of the same names; see JobService for their behaviour."""

    def __init__(self, service: JobService) -> None:
        self.service = service

    def submit(
        self, spec: JobSpec, *, key: str | None = None, secrets: Mapping[str, str] | None = None
    ) -> Job:
        """See JobService."""
        return run(self.service.submit(spec, key=key, secrets=secrets))

    def get(self, id: str) -> Job:
        """See JobService."""
        return run(self.service.get(id))

    def list(self, filter: JobFilter = EVERY, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """See JobService."""
        return run(self.service.list(filter, cursor=cursor, limit=limit))

    def cancel(self, id: str) -> Job:
        """See JobService."""
        return run(self.service.cancel(id))

    def resume(self, id: str) -> Job:
        """See JobService."""
        return run(self.service.resume(id))

    def logs(self, id: str, *, offset: int = 0, limit: int = 65536, attempt: int | None = None) -> LogChunk:
        """See JobService."""
        return run(self.service.logs(id, offset=offset, limit=limit, attempt=attempt))

    def events(self, id: str, *, after: int = 0, limit: int = 1000) -> builtins.list[Event]:
        """See JobService."""
        return run(self.service.events(id, after=after, limit=limit))

    def attempts(self, id: str) -> builtins.list[Attempt]:
        """See JobService."""
        return run(self.service.attempts(id))

    def search(
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
        return run(self.service.search(id, pattern, regex=regex, offset=offset, limit=limit, attempt=attempt))

    def remove(self, id: str) -> RemovedJob:
        """See JobService."""
        return run(self.service.remove(id))

    def queue(self) -> QueueState:
        """See JobService."""
        return run(self.service.queue())

    def pause(self, reason: str = "") -> QueueState:
        """See JobService."""
        return run(self.service.pause(reason))

    def unpause(self) -> QueueState:
        """See JobService."""
        return run(self.service.unpause())

    def reorder(self, id: str, *, before: str | None = None) -> Job:
        """See JobService."""
        return run(self.service.reorder(id, before=before))

    def prune(
        self, *, days: float | None = None, keep_bytes: int | None = None, dry_run: bool = False
    ) -> Pruned:
        """See JobService."""
        return run(self.service.prune(days=days, keep_bytes=keep_bytes, dry_run=dry_run))

    def audit(self, *, after: int = 0, limit: int = 100) -> builtins.list[AuditEntry]:
        """See JobService."""
        return run(self.service.audit(after=after, limit=limit))

    def watch(
        self, id: str, *, after: int = 0, log_offset: int | None = None, log_attempt: int | None = None
    ) -> Iterator[Event]:
        """See JobService. Closing the generator, or Ctrl-C, only stops watching; the job goes on."""
        stream = self.service.watch(id, after=after, log_offset=log_offset, log_attempt=log_attempt)

        async def following() -> Event | None:
            return await anext(stream, None)

        async def close() -> None:
            if isinstance(stream, AsyncGenerator):
                with suppress(RuntimeError):  # an interrupted step is still running and closes it itself
                    await stream.aclose()

        try:
            while (event := run(following())) is not None:
                yield event
        finally:
            if not sys.is_finalizing():  # the loop's thread is gone by then
                run(close())

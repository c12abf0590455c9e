"""A job's live events in batches, for a thread that draws them; outlives a lost connection."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from ilab_jupyter.errors import NotFound, PublicError
from ilab_jupyter.jobs.record import Event

if TYPE_CHECKING:
    from ilab_jupyter.jobs.sync import SyncJobs

RETRY_SECONDS = 2.0


class EventStream:
    """Follows `watch` of the job's service in a daemon thread until the job's `end` event, or until closed.

    A stream that breaks off is taken up again where it stopped: only `end` means that the job has ended.
    `error` holds the reason of a break while it lasts; a job that is gone ends the stream.
    """

    def __init__(
        self,
        jobs: SyncJobs,
        id: str,
        *,
        after: int = 0,
        log_offset: int | None = None,
        log_attempt: int | None = None,
    ) -> None:
        self.error: PublicError | None = None
        self._service, self._id = jobs.service, id
        self._after = after
        self._log = {"log_offset": log_offset, "log_attempt": log_attempt}
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._following: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        threading.Thread(target=self._pump, name=f"ilab-watch-{id}", daemon=True).start()

    def batch(self, timeout: float) -> tuple[list[Event], bool]:
        """What comes within `timeout` seconds, and whether the stream goes on."""
        found: list[Event] = []
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if event is not None:
                found.append(event)
            if event is None or event.type == "end":
                return found, False
        return found, not self._closed.is_set()

    def close(self) -> None:
        """Let go of the job; what was not read yet is dropped."""
        self._closed.set()
        if self._following is not None:
            loop, task = self._following
            loop.call_soon_threadsafe(task.cancel)
        self._queue.put(None)

    def _pump(self) -> None:
        from ilab_jupyter.jobs.sync import run

        while not self._closed.is_set():
            try:
                if run(self._follow()):
                    return
            except NotFound as error:
                self.error = error
                self._queue.put(None)
                return
            except PublicError as error:
                self.error = error
            except (CancelledError, asyncio.CancelledError):
                return
            except Exception as error:
                # The view must show the error; the next attempt may succeed.
                self.error = PublicError(f"The job cannot be followed just now: {error}.")
            self._closed.wait(RETRY_SECONDS)

    async def _follow(self) -> bool:
        """True once the end was delivered."""
        task = asyncio.current_task()
        assert task is not None
        self._following = asyncio.get_running_loop(), task
        async for event in self._service.watch(self._id, after=self._after, **self._log):
            self.error = None
            self._after = max(self._after, event.seq)
            if event.type == "log":
                fields = event.fields
                self._log = {"log_offset": fields["next_offset"], "log_attempt": fields["attempt"]}
            self._queue.put(event)
            if event.type == "end" or self._closed.is_set():
                return True
        return False

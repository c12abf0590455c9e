"""A job's live events in batches, for a thread that draws them; outlives a lost connection."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from ilab_jupyter.errors import NotFound, PublicError
from ilab_jupyter.jobs.record import Event

if TYPE_CHECKING:
    from ilab_jupyter.jobs.sync import SyncJobs

RETRY_SECONDS = 2.0


class EventStream:
    """Follows `jobs.watch` in a daemon thread until the job's `end` event, or until closed.

    A stream that breaks off is taken up again where it stopped: only `end` means that the job has ended.
    `error` holds the newest reason of a break, None while all is well; a job that is gone ends the stream.
    """

    def __init__(self, jobs: SyncJobs, id: str, *, after: int = 0, log_offset: int | None = None) -> None:
        self.error: PublicError | None = None
        self._jobs, self._id = jobs, id
        self._after, self._log_offset = after, log_offset
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        threading.Thread(target=self._pump, name=f"ilab-watch-{id}", daemon=True).start()

    def batch(self, timeout: float) -> tuple[list[Event], bool]:
        """What has come within `timeout` seconds of now, and whether the stream goes on."""
        found: list[Event] = []
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if event is None:
                return found, False
            found.append(event)
            if event.type == "end":
                return found, False
        return found, not self._closed.is_set()

    def close(self) -> None:
        """Let go of the job; what was not read yet is dropped."""
        self._closed.set()
        self._queue.put(None)

    def _pump(self) -> None:
        while not self._closed.is_set():
            try:
                for event in self._jobs.watch(self._id, after=self._after, log_offset=self._log_offset):
                    self._queue.put(event)
                    self._remember(event)
                    if event.type == "end":
                        return
                    if self._closed.is_set():
                        return
            except NotFound as error:
                self.error = error
                self._queue.put(None)
                return
            except PublicError as error:
                self.error = error
            self._closed.wait(RETRY_SECONDS)

    def _remember(self, event: Event) -> None:
        self.error = None
        self._after = max(self._after, event.seq)
        if event.type == "log" and self._log_offset is not None:
            self._log_offset = event.fields["next_offset"]

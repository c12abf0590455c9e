"""What keeps the queue moving in a process that only waits, such as a kernel that follows a job."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

from ilab_jupyter.errors import PublicError

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0


class Turning(Protocol):
    """What can give the queue a turn."""

    def turn(self) -> None:
        """One turn."""

    def active(self) -> int:
        """How many jobs are not ended."""


class Heart:
    """Gives the queue a turn every few seconds as long as a job is active and its owner is in use."""

    def __init__(self, owner: Turning) -> None:
        self._owner = weakref.ref(owner)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Beat from now on; harmless when it does."""
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._beat, name="ilab-heart", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Never beat again."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            owner = self._owner()
            if owner is None:
                return
            try:
                owner.turn()
                with self._lock:
                    if owner.active() == 0:
                        self._thread = None  # so that who submits next starts another
                        return
            except (PublicError, OSError) as error:
                log.warning("The queue was not moved: %s", error)
            del owner

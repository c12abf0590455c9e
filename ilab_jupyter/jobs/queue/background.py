"""Background threads that run the scheduler: soon after a request, and periodically while jobs are active."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Protocol

from ilab_jupyter.errors import PublicError

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
# Pause between two turns in a burst, in seconds and as a multiple of the first turn's duration: callers
# need the processor too.
_MIN_PAUSE, _MAX_PAUSE = 0.1, 1.0
PAUSE_FACTOR = 4.0
_MIN_INTERVAL = 0.1
_LONGEST_TURN = 15.0


class Schedulable(Protocol):
    """An owner of the queue whose scheduler can be run."""

    def turn(self) -> None:
        """Run the scheduler once."""

    def active(self) -> int:
        """Return how many jobs have not ended."""

    def due_in(self) -> float | None:
        """Return the seconds until the next retry may start; None if no retry is waiting."""


class BackgroundScheduler:
    """Runs a scheduler turn soon after `wake`, and every few seconds while a job is active.

    Any number of calls of `wake` during a turn lead to one more turn. A requested turn runs in a non-daemon
    thread, so the process does not exit before it.
    """

    def __init__(self, owner: Schedulable) -> None:
        self._owner = weakref.ref(owner)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._flushing = threading.Event()
        self._woken = False
        self._burst: threading.Thread | None = None
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Request a turn; returns at once."""
        owner = self._owner()
        assert owner is not None
        with self._lock:
            self._woken = True
            if self._burst is not None and self._burst.is_alive():
                return
            # It keeps a reference to the owner, which callers may drop right after their request.
            self._burst = threading.Thread(target=self._turn, args=(owner,), name="ilab-turn", daemon=False)
            try:
                self._burst.start()
                return
            except RuntimeError:  # the interpreter is ending and starts no more threads
                self._burst = None
        self._turn(owner)

    def flush(self) -> None:
        """Wait until every requested turn is finished."""
        self._flushing.set()
        burst = self._burst
        if burst is not None and burst is not threading.current_thread():
            burst.join()
        self._flushing.clear()

    def start(self) -> None:
        """Start the periodic thread if it is not running."""
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="ilab-scheduler", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop the periodic thread for good."""
        self._stopped.set()
        self.flush()

    def join(self) -> None:
        """After `stop`: wait for a turn in progress, for as long as a turn may wait for another process."""
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LONGEST_TURN)

    def _turn(self, owner: Schedulable) -> None:
        while True:
            with self._lock:
                if not self._woken:
                    self._burst = None
                    return
                self._woken = False
            began = time.monotonic()
            _turn(owner)
            if threading.main_thread().is_alive():
                self._flushing.wait(
                    min(_MAX_PAUSE, max(_MIN_PAUSE, PAUSE_FACTOR * (time.monotonic() - began)))
                )

    def _run(self) -> None:
        pause = INTERVAL_SECONDS
        while not self._stopped.wait(pause):
            owner = self._owner()
            if owner is None:
                return
            if _turn(owner):
                try:
                    with self._lock:
                        if owner.active() == 0:
                            self._thread = None  # so that the next submission starts another
                            return
                    due = owner.due_in()
                    pause = (
                        INTERVAL_SECONDS if due is None else min(INTERVAL_SECONDS, max(due, _MIN_INTERVAL))
                    )
                except (PublicError, OSError) as error:
                    log.warning("The state of the queue cannot be read: %s", error)
            del owner


def _turn(owner: Schedulable) -> bool:
    """Run one turn and return whether it succeeded. Failures are only logged."""
    try:
        owner.turn()
        return True
    except (PublicError, OSError) as error:
        log.warning("The scheduler turn failed: %s", error)
    except Exception:
        log.exception("The scheduler turn failed")
    return False

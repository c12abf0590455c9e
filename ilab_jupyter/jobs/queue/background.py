"""What moves the queue behind the callers' backs: at once when something was asked for, and now and then."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Protocol

from ilab_jupyter.errors import PublicError

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
# Between two turns in a burst, in seconds and of the time that the first one took: callers need the
# processor too.
_MIN_PAUSE, _MAX_PAUSE = 0.1, 1.0
PAUSE_FACTOR = 4.0
_MIN_INTERVAL = 0.1
_LONGEST_TURN = 15.0


class Schedulable(Protocol):
    """What can give the queue a turn."""

    def turn(self) -> None:
        """One turn."""

    def active(self) -> int:
        """How many jobs are not ended."""

    def due_in(self) -> float | None:
        """Seconds until a job that is tried again may start; None where none waits for its time."""


class BackgroundScheduler:
    """Gives the queue a turn soon after `wake`, and every few seconds while a job is active and it is in use.

    Any number of wakes while a turn runs lead to one more. The process does not end before a turn that was
    asked for: it runs in a thread that the interpreter waits for.
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
        """Turn soon; returns at once."""
        owner = self._owner()
        assert owner is not None
        with self._lock:
            self._woken = True
            if self._burst is not None and self._burst.is_alive():
                return
            # It holds the owner, which may be dropped as soon as it was told what to do.
            self._burst = threading.Thread(target=self._turn, args=(owner,), name="ilab-turn", daemon=False)
            try:
                self._burst.start()
                return
            except RuntimeError:  # the interpreter is ending and starts no more threads
                self._burst = None
        self._turn(owner)

    def flush(self) -> None:
        """Wait until every turn that was asked for is over."""
        self._flushing.set()
        burst = self._burst
        if burst is not None and burst is not threading.current_thread():
            burst.join()
        self._flushing.clear()

    def start(self) -> None:
        """Beat from now on; harmless when it does."""
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="ilab-scheduler", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Never beat again."""
        self._stopped.set()
        self.flush()

    def join(self) -> None:
        """After `stop`: wait for a beat under way, for as long as a turn may wait for another's."""
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
                            self._thread = None  # so that who submits next starts another
                            return
                    due = owner.due_in()
                    pause = (
                        INTERVAL_SECONDS if due is None else min(INTERVAL_SECONDS, max(due, _MIN_INTERVAL))
                    )
                except (PublicError, OSError) as error:
                    log.warning("The queue was not moved: %s", error)
            del owner


def _turn(owner: Schedulable) -> bool:
    """One turn. What was asked for is stored; that the queue cannot be moved now is for the log alone."""
    try:
        owner.turn()
        return True
    except (PublicError, OSError) as error:
        log.warning("The queue was not moved: %s", error)
    except Exception:
        log.exception("The queue was not moved")
    return False

"""Limits of time and memory for a chat template, which is a program that a model brings."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

_PAGE = resource.getpagesize()


@contextmanager
def limited(seconds: float, memory_bytes: int) -> Iterator[None]:
    """Run the block with limits.

    Raises TimeoutError after `seconds`, in the main thread only, as signals arrive there, and MemoryError
    where the block needs more than `memory_bytes` beyond what the process has.
    """
    with _memory(memory_bytes), _time(seconds):
        yield


@contextmanager
def _memory(memory_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * _PAGE
    wanted = used + memory_bytes
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(*_: Any) -> NoReturn:
        raise TimeoutError(f"timed out after {seconds:g} s")

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, expire)
    before, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if before:
            # A timer of the caller goes on; one that has expired meanwhile fires at once.
            signal.setitimer(signal.ITIMER_REAL, max(before - (time.monotonic() - started), 0.001), interval)

"""File locks that the kernel releases when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ilab_jupyter.errors import Unavailable

_POLL = 0.02


class FileLock:
    """An flock on a file. Programs that the holder starts do not inherit it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, timeout: float) -> bool:
        """Return True once the lock is acquired, False if another process still holds it after `timeout`
        seconds."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + timeout
        try:
            while not _try(descriptor, fcntl.LOCK_EX, self.path):
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(_POLL)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock. Does nothing if it is not held."""
        if self._descriptor is not None:
            _give_back(self._descriptor)
            self._descriptor = None


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[bool]:
    """Hold the lock inside the block. Yields whether it was acquired within `timeout` seconds."""
    lock = FileLock(path)
    got = lock.acquire(timeout)
    try:
        yield got
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether any process holds the lock now. Never creates the file and never waits."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH, path)
    finally:
        _give_back(descriptor)


def _give_back(descriptor: int) -> None:
    """Unlock before closing: a process forked meanwhile shares the descriptor and keeps it open."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise Unavailable(
                f"The file system of {path.parent} has no file locks, which jobs need.",
                "Set ILAB_JUPYTER_STATE to a folder on a local disk.",
                cause="state_folder",
            ) from error
        raise
    return True

"""Kernel notifications of changes in folders, instead of polling."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_MODIFY, _MOVED_TO, _CREATE, _ONESHOT = 0x2, 0x80, 0x100, 0x80000000
_IGNORED = 0x8000
_HEAD = struct.Struct("iIII")


class Inotify:
    """Watches folders, each until its first change, so that a writer triggers one notification and not one a
    line."""

    def __init__(self) -> None:
        """Raises OSError if the system has no inotify or no instances left."""
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self.descriptor = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError:
            raise OSError("inotify is available on Linux only") from None
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def watch(self, folder: Path) -> int | None:
        """Return a number that `read` yields once a file in the folder is written or created; None on
        failure."""
        mask = ctypes.c_uint32(_MODIFY | _CREATE | _MOVED_TO | _ONESHOT)
        number = int(self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask))
        return number if number >= 0 else None

    def unwatch(self, number: int) -> None:
        """Cancel a watch. Does nothing if it has already fired."""
        self._libc.inotify_rm_watch(self.descriptor, number)

    def read(self) -> set[int]:
        """Return the numbers of the folders that have changed."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return set()
        found, at = set(), 0
        while at < len(data):
            number, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size + length
            if not mask & _IGNORED:
                found.add(number)
        return found

    def close(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)

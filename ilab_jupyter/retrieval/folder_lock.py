"""Lock on an output folder, held by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ilab_jupyter.errors import Conflict, Unavailable, is_disk_full


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Create `folder` and lock it; yield an empty folder for temporary files below it.

    Raises Conflict if another process holds the lock. Inside the with block, an OSError becomes Unavailable
    with the folder's name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"Another process works in {folder.parent} just now.", "Wait for it, then try again."
            ) from None
        work = folder / "work"
        try:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            yield work
        except OSError as error:
            raise _unusable(folder, error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(lock)


def _unusable(folder: Path, error: OSError) -> Unavailable:
    if is_disk_full(error):
        return Unavailable(
            f"The disk of {folder.parent} is full.",
            "Free some space and run it again; what is done stays.",
            cause="disk_full",
        )
    return Unavailable(
        f"{folder.parent} cannot be written: {error.strerror or error}.",
        "Make it a folder that you may write to, or choose another one.",
    )

"""Small file systems that tests fill up."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

MOUNT = ("mount", "-t", "tmpfs", "-o")


@cache
def may_mount() -> bool:
    """Whether this user may mount a file system."""
    probe = ["unshare", "-m", *MOUNT, "size=1m", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True).returncode == 0


@contextmanager
def small_disk(folder: Path, size: str = "1m") -> Iterator[Path]:
    """Mount a file system of this size at the folder; skip if this user may not mount."""
    if not may_mount():
        pytest.skip("this user may not mount a file system")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([*MOUNT, f"size={size},mode=700", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(folder)], capture_output=True).returncode:
            if time.monotonic() > deadline:
                subprocess.run(["umount", "--lazy", str(folder)], check=True)
                break
            time.sleep(0.1)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Write a file that takes the folder's disk except about `leave` bytes, and return it."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize) > leave:
            file.write(bytes(min(free - leave, 1_000_000)))
        while not leave:  # the rest of the last page
            file.write(bytes(1024))
    return filler

"""How much memory a worker has with all that it started, and whether the kernel kills for want of it."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

# A kill is counted at once, and the death of a process with much memory is seen seconds later.
_KEPT = 8
_VMSTAT = Path("/proc/vmstat")
_ESCAPED = re.compile(r"\\([0-7]{3})")


class KillCount:
    """The kernel's count of processes killed for want of memory in the cgroup of one process; Linux only.

    `look` is to be called every few seconds while it lives: only kills since the last few looks are its.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: dict[Path, deque[int]] = {}
        self.look()

    def look(self) -> None:
        """Take the count. A process may change its cgroup, and one that is dying may seem to have."""
        if (file := counter(self._pid)) is not None:
            self._seen.setdefault(file, deque(maxlen=_KEPT))
        for known, counts in self._seen.items():
            if (count := _count(known)) is not None:
                counts.append(count)

    def lately(self) -> int:
        """How many were killed since the oldest look that is kept; 0 where the kernel does not tell."""
        found = [(_count(file), counts) for file, counts in self._seen.items()]
        return max((now - counts[0] for now, counts in found if now is not None and counts), default=0)


def _count(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeError):
        return None
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None


def counter(pid: int) -> Path | None:
    """The file whose `oom_kill` line counts for the memory cgroup of a process.

    The machine's own count where the cgroup has none, as the topmost one of version 2.
    """
    try:
        own, mounts = (
            Path(name).read_text(encoding="utf-8", errors="surrogateescape")
            for name in (f"/proc/{pid}/cgroup", "/proc/self/mountinfo")
        )
    except OSError:
        return None
    return locate(own, mounts) or (_VMSTAT if _VMSTAT.is_file() else None)


def locate(cgroups: str, mounts: str) -> Path | None:
    """The counting file of version 1 or 2 by a process's cgroups and the mounts, both as the kernel lists
    them; None where it does not exist.
    """
    paths = {kinds: path for _, kinds, path in (line.split(":", 2) for line in cgroups.splitlines())}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = (_plain(field) for field in before.split(" ")[3:5])
        type, _, options = after.split(" ", 2)
        if type == "cgroup" and "memory" in options.split(","):
            kinds = next((kinds for kinds in paths if "memory" in kinds.split(",")), None)
            name = "memory.oom_control"
        elif type == "cgroup2":
            kinds, name = "", "memory.events"
        else:
            continue
        if kinds is None or kinds not in paths:
            continue
        # A container sees its own part of the tree mounted, under a path that begins further up.
        below = os.path.relpath(paths[kinds], root) if paths[kinds].startswith(root) else "."
        file = Path(point) / below / name
        if file.is_file():
            return file
    return None


def resident(pids: Iterable[int], at_most: int) -> int:
    """Bytes of main memory that the processes have together, shared pages counted once.

    That count is slow, so where the simple sum is within `at_most`, which it can only overstate, that is it.
    """
    known = list(pids)
    total = sum(_resident(pid) for pid in known)
    return total if total <= at_most else min(total, sum(_share(pid) for pid in known))


def _resident(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _share(pid: int) -> int:
    """Its own pages, and of each that it shares its part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _resident(pid)
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else _resident(pid)


def _plain(field: str) -> str:
    """A path of mountinfo, in which blanks are written as octal numbers."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), field)

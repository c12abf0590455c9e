"""Memory use of a worker with all its child processes, and the kernel's count of out-of-memory kills."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

# A kill is counted immediately, but the exit of a process with much memory is seen seconds later.
_KEPT = 8
_VMSTAT = Path("/proc/vmstat")
_ESCAPED = re.compile(r"\\([0-7]{3})")


class KillCount:
    """The kernel's count of out-of-memory kills in the cgroup of one process. Linux only.

    Call `sample` every few seconds while the process lives: only kills since the last few samples are
    attributed to it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: dict[Path, deque[int]] = {}
        self.sample()

    def sample(self) -> None:
        """Read the counter. The cgroup is looked up each time because a process may change it."""
        if (file := counter(self._pid)) is not None:
            self._seen.setdefault(file, deque(maxlen=_KEPT))
        for known, counts in self._seen.items():
            if (count := _count(known)) is not None:
                counts.append(count)

    def recent(self) -> int:
        """Return how many processes were killed since the oldest sample kept; 0 if the kernel does not report
        it."""
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
    """Return the file whose `oom_kill` line counts for the memory cgroup of a process.

    Falls back to the machine's counter if the cgroup has none, such as the root cgroup of version 2.
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
    """Return the counter file of cgroup version 1 or 2, given the contents of /proc/PID/cgroup and mountinfo.

    None if it does not exist.
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
        # In a container only a subtree is mounted, while the path starts at the host's root.
        below = os.path.relpath(paths[kinds], root) if paths[kinds].startswith(root) else "."
        file = Path(point) / below / name
        if file.is_file():
            return file
    return None


def resident(pids: Iterable[int], at_most: int) -> int:
    """Return the bytes of main memory that the processes use together, counting shared pages once.

    The exact count is slow. The simple sum, which can only overestimate, is returned if it is within
    `at_most`.
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
    """Return the process's proportional set size in bytes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _resident(pid)
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else _resident(pid)


def _plain(field: str) -> str:
    """Unescape a path of mountinfo, in which blanks are written as octal numbers."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), field)

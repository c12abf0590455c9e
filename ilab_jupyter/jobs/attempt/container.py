"""Detection of containers in which every process ends together with this one."""

from __future__ import annotations

import os
from pathlib import Path

# Init systems: processes below them outlive their parent. Any other PID 1 is a container's program.
_INITS = frozenset({"systemd", "init", "launchd", "upstart", "runit", "openrc-init"})


def ends_with_us() -> bool:
    """Return whether processes that this one leaves running are killed when it ends.

    True for PID 1 of a PID namespace, for a child of a PID 1 that is not a system's init process, and in a
    pod whose containers share a PID namespace.
    """
    if os.getpid() == 1:
        return True
    first = _first_process()
    if not first or first in _INITS:
        return False
    return os.getppid() == 1 or (os.getppid() == 0 and first == "pause")


def _first_process() -> str:
    try:
        return Path("/proc/1/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

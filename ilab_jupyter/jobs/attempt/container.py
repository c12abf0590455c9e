"""Whether this process is what a container lives by, so that all else in there ends with it."""

from __future__ import annotations

import os
from pathlib import Path

# Their children outlive whoever started them: a PID 1 of any other name is the program of a container.
_INITS = frozenset({"systemd", "init", "launchd", "upstart", "runit", "openrc-init"})


def ends_with_us() -> bool:
    """Whether what this process leaves running is killed when it ends, as in a container of its own.

    So it is for PID 1 of a PID namespace, for a child of a PID 1 that is no init of a whole system, and in a
    pod whose containers share one namespace.
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

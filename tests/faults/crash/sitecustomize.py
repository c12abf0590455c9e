"""Kills its own process at a chosen step of what it writes, without a hook in the product.

Python imports this file by itself where its folder is on PYTHONPATH; so supervisors, guardians and workers
do, and others call `install`. Environment: ILAB_CRASH_UNDER, the state folder whose writes count;
ILAB_CRASH_TRACE, a file that gets the name of each step; ILAB_CRASH_AT, the name of the step before which the
process is killed; ILAB_CRASH_DONE, a file that records this, so that no process is killed there again.

A step's name is role:step:ordinal, such as `supervisor:replace(exit.json):1`.
"""

from __future__ import annotations

import fcntl
import importlib.abc
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from typing import Any

_open, _write, _close = os.open, os.write, os.close
_lock = threading.Lock()
_RANDOM = re.compile(r"^\.(.+)\.[0-9a-f]{8}$")


class Steps:
    """Counts this process's steps."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.at = os.environ.get("ILAB_CRASH_AT", "")
        self.under = os.environ["ILAB_CRASH_UNDER"]
        self._trace = os.environ.get("ILAB_CRASH_TRACE")
        self._done = os.environ.get("ILAB_CRASH_DONE", "")
        self._seen: Counter[str] = Counter()

    def reach(self, step: str) -> None:
        """A step is about to be done."""
        with _lock:
            self._seen[step] += 1
            name = f"{self.role}:{step}:{self._seen[step]}"
        if self._trace:
            _append(self._trace, name)
        if name == self.at:
            try:
                _close(_open(self._done, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    def file(self, step: str, path: Any) -> None:
        """The same, of a file; nothing where it is not in the state folder."""
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return
        path = os.path.abspath(os.fsdecode(path))
        if not path.startswith(self.under):
            return
        name = os.path.basename(path)
        folder = os.path.basename(os.path.dirname(path))
        found = _RANDOM.match(name)
        if found:
            name = f"{found[1]}~"
        elif path == self.under:
            name = "state"
        elif folder == "jobs":
            name = "job"
        elif folder == "attempts":
            name = "attempt"
        self.reach(f"{step}({name})")


def _append(path: str, line: str) -> None:
    descriptor = _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    _write(descriptor, line.encode() + b"\n")
    _close(descriptor)


def install(role: str) -> None:
    """From now on this process's steps count, and those of what it forks as another role."""
    steps = Steps(role)

    def before(module: Any, name: str, step: str, which: int = 0) -> None:
        original = getattr(module, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            steps.file(step, arguments[which])
            return original(*arguments, **named)

        setattr(module, name, wrapped)

    before(os, "fsync", "fsync")
    before(os, "replace", "replace", 1)
    before(os, "rename", "rename", 1)
    before(os, "mkdir", "mkdir")
    before(os, "unlink", "unlink")
    before(os, "remove", "unlink")
    before(os, "write", "write")

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            steps.file("create", path)
        return _open(path, flags, *more, **named)

    os.open = opened

    flock = fcntl.flock

    def locked(descriptor: int, kind: int) -> None:
        flock(descriptor, kind)
        if kind & fcntl.LOCK_EX:
            steps.file("locked", descriptor)

    fcntl.flock = locked

    start = subprocess.Popen.__init__

    def spawn(self: Any, *arguments: Any, **named: Any) -> None:
        steps.reach("spawn")
        start(self, *arguments, **named)
        steps.reach("spawned")

    subprocess.Popen.__init__ = spawn  # type: ignore[method-assign]

    def forked() -> None:
        if steps.role == "guardian":
            steps.role = "supervisor"
            steps._seen.clear()

    fork = os.fork

    def forking() -> int:
        steps.reach("fork")
        pid = fork()
        if pid == 0:
            forked()
        return pid

    os.fork = forking
    if "sqlalchemy" in sys.modules:
        _listen(steps)
    else:
        sys.meta_path.insert(0, _Finder(steps))


def _listen(steps: Steps) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def writes(connection: Any) -> bool:
        return bool(connection.get_execution_options().get("immediate", False))

    event.listen(Engine, "begin", lambda connection: writes(connection) and steps.reach("begin"))
    event.listen(Engine, "commit", lambda connection: writes(connection) and steps.reach("commit"))


class _Finder(importlib.abc.MetaPathFinder):
    """Listens to the database as soon as its library is there."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "sqlalchemy":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def run_and_listen(module: Any) -> None:
            run(module)
            _listen(self._steps)

        spec.loader.exec_module = run_and_listen  # type: ignore[method-assign]
        return spec


def _own_role() -> str:
    if "ilab_jupyter.jobs.attempt.supervisor" in sys.orig_argv:
        return "guardian"
    if any(os.path.basename(part) == "trainer" for part in sys.orig_argv[:3]):
        return "worker"
    return ""


if __name__ == "sitecustomize" and "ILAB_CRASH_UNDER" in os.environ and _own_role():
    install(_own_role())

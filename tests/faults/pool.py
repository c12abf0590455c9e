"""Processes that start fast because their imports are preloaded, so that killing one costs little."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["pytest", "httpx", "jupyter_server.serverapp", "jupyter_server.gateway.managers", "tests.faults.actions"]
)


class Pool:
    """Starts processes with the current environment, and leaves none behind."""

    def __init__(self) -> None:
        self._started: list[ForkServerProcess] = []

    def start(self, act: Callable[..., None], *arguments: Any, **environment: str) -> ForkServerProcess:
        """Start a process that runs the module-level function `act` in its own session."""
        process = _context.Process(target=_do, args=(act, arguments, {**os.environ, **environment}))
        process.start()
        self._started.append(process)
        return process

    def kill(self, process: ForkServerProcess) -> None:
        """Send SIGKILL and wait until the process is gone."""
        process.kill()
        process.join()
        self._started.remove(process)

    def clean(self) -> None:
        """Kill the remaining processes."""
        for process in list(self._started):
            self.kill(process)


def _do(act: Callable[..., None], arguments: tuple[Any, ...], environment: Mapping[str, str]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    for number in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    time.tzset()
    act(*arguments)

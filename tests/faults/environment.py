"""Environment of a fault: state folder, histories of clients, and what workers did."""

from __future__ import annotations

import os
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import LIVE, JobState
from tests.faults import actions
from tests.faults.checker import Violation, World, check, read_world
from tests.faults.pool import Pool
from tests.faults.rest_client import address
from tests.support.interpreter import make_interpreter

TRAINER = Path(__file__).with_name("trainer.py")


def limit() -> float:
    """Return ten seconds on an idle machine, proportionally more on a busy one."""
    return 10.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class FaultEnvironment:
    """A separate state folder with a number of slots."""

    def __init__(self, folder: Path, pool: Pool, slots: int = actions.CONCURRENT) -> None:
        self.folder = folder
        self._pool = pool
        for name in ("world", "histories", "runtime"):
            (folder / name).mkdir(parents=True)
        make_interpreter(folder / "trainer", TRAINER, "-S")
        self.local = LocalJobs(folder / "state", worker_python=str(folder / "trainer"))
        self.local.configure(slots={"batch": slots}, grace_seconds=5)

    def jupyter(self) -> ForkServerProcess:
        """Start a Jupyter server."""
        positions = {
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "JUPYTER_CONFIG_DIR": str(self.folder),
        }
        return self._pool.start(actions.jupyter, self.folder, **positions)

    def address(self, server: ForkServerProcess) -> str:
        """Return its URL once it is reachable."""
        return address(self.folder / "runtime", server.pid)

    def settle(self, number: int) -> tuple[float, list[str]]:
        """Restart a last time; return the seconds until all jobs have ended, and the jobs that had not in
        time."""
        restarted, allowed = time.monotonic(), limit()
        server = self._pool.start(actions.recover, self.folder, number)
        while self.local.active() and time.monotonic() - restarted < allowed:
            time.sleep(0.02)
        took = time.monotonic() - restarted
        late = [row.id for row in self.local._store.in_states(LIVE | {JobState.QUEUED})]
        self._pool.kill(server)
        return took, late

    def close(self, **more: Any) -> tuple[World, list[Violation]]:
        """Return what is known at the end, and the violations."""
        world = read_world(self.local._store, self.folder / "histories", self.folder / "world", **more)
        self.local.close()
        return world, check(world)

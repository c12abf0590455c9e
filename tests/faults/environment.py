"""Where servers and fake trainers of a fault do their work: state, histories, and what workers truly did."""

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
    """Ten seconds, on a machine that has nothing else to do; longer where others want its processors too."""
    return 10.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class FaultEnvironment:
    """A state folder of its own, with so many slots."""

    def __init__(self, folder: Path, pool: Pool, slots: int = actions.CONCURRENT) -> None:
        self.folder = folder
        self._pool = pool
        for name in ("world", "histories", "runtime"):
            (folder / name).mkdir(parents=True)
        make_interpreter(folder / "trainer", TRAINER, "-S")
        self.local = LocalJobs(folder / "state", worker_python=str(folder / "trainer"))
        self.local.configure(slots={"batch": slots}, grace_seconds=5)

    def jupyter(self) -> ForkServerProcess:
        """A Jupyter server that starts."""
        places = {"JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"), "JUPYTER_CONFIG_DIR": str(self.folder)}
        return self._pool.start(actions.jupyter, self.folder, **places)

    def address(self, server: ForkServerProcess) -> str:
        """Its URL, once it is there."""
        return address(self.folder / "runtime", server.pid)

    def settle(self, number: int) -> tuple[float, list[str]]:
        """The last restart: how many seconds until all jobs have ended, and which had not in time."""
        restarted, allowed = time.monotonic(), limit()
        server = self._pool.start(actions.recover, self.folder, number)
        while self.local.active() and time.monotonic() - restarted < allowed:
            time.sleep(0.02)
        took = time.monotonic() - restarted
        late = [row.id for row in self.local._store.in_states(LIVE | {JobState.QUEUED})]
        self._pool.kill(server)
        return took, late

    def close(self, **more: Any) -> tuple[World, list[Violation]]:
        """What is known in the end, and what was broken."""
        world = read_world(self.local._store, self.folder / "histories", self.folder / "world", **more)
        self.local.close()
        return world, check(world)

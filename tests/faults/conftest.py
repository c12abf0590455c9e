"""The bench of tests/jobs, and processes beside it that can be killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.process import Identity, with_argument

_spec = importlib.util.spec_from_file_location(
    "jobs_bench", Path(__file__).parent.parent / "jobs/conftest.py"
)
assert _spec is not None and _spec.loader is not None
_bench = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_bench)
until, bench, state = _bench.until, _bench.bench, _bench.state

SERVER = """
import sys, time
from pathlib import Path
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.sync import SyncJobs
local = LocalJobs(Path(sys.argv[1]), worker_module="scripted")
jobs = SyncJobs(local)
def submit(*do, **spec):
    job = jobs.submit(JobSpec(kind="train", arguments={"do": list(do)}, **spec))
    print(job.id, flush=True)
"""


class Servers:
    """Processes that hold a service of their own on the state folder and run a piece of code."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER + code, str(self._state)], stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def servers(bench: Any, state: Path) -> Iterator[Servers]:
    servers = Servers(state)
    yield servers
    servers.end()


@pytest.fixture
def wait() -> Callable[..., Any]:
    return until  # type: ignore[no-any-return]


@pytest.fixture
def running(bench: Any, tmp_path: Path) -> Callable[..., Any]:
    """Submit a job and give it back once its worker has done all steps before a long sleep."""

    def start(*do: Any) -> Any:
        ready = tmp_path / f"ready-{time.monotonic_ns()}"
        job = bench.submit(*do, ["print", "ready"], ["write", str(ready), "x"], ["sleep", 60])
        until(ready.exists)
        return bench.jobs.get(job.id)

    return start


@pytest.fixture
def abandon(bench: Any) -> Callable[[str], None]:
    """Kill a job's supervisor and guardian at one stroke, so that nobody is left to clear up."""

    def kill(id: str) -> None:
        pids = with_argument(bench.local._store.get(id).token)
        assert len(pids) == 2
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)
        until(lambda: not any(Identity.of(pid) for pid in pids))

    return kill

"""A local job service on a separate state folder; its jobs are real processes of the scripted worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.process import Identity
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job, JobSpec
from ilab_jupyter.jobs.state import LIVE, JobState
from ilab_jupyter.jobs.store.row import Row
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.waiting import until

# On the PYTHONPATH of a worker, for `worker_module="scripted"`.
WORKER = Path(__file__).parent / "worker"


class JobHarness:
    """The service with shortcuts for tests."""

    def __init__(self, state: Path, **options: Any) -> None:
        self.local = LocalJobs(state, worker_module="scripted", **options)
        self.jobs = SyncJobs(self.local)

    def submit(
        self, *do: Any, kind: str = "train", key: str | None = None, secrets: Any = None, **spec: Any
    ) -> Job:
        wanted = JobSpec(kind=kind, arguments={"do": list(do)}, **spec)
        return self.jobs.submit(wanted, key=key, secrets=secrets)

    def reach(self, id: str, *states: JobState, seconds: float = 20) -> Job:
        until(lambda: self.jobs.get(id).state in states, seconds, what=f"{id} in {states}")
        return self.jobs.get(id)

    def end(self, id: str, seconds: float = 20) -> Job:
        until(lambda: self.jobs.get(id).state.ended, seconds, what=f"the end of {id}")
        return self.jobs.get(id)

    def log(self, id: str) -> str:
        return self.jobs.logs(id, limit=1_000_000).text

    def clean(self) -> None:
        """Leave no process behind, nor anything that starts one."""
        self.jobs.pause("The test is over.")
        self.local.configure(grace_seconds=0)
        deadline = time.monotonic() + 15
        for row in self._live():
            self.jobs.cancel(row.id)
        while self._live() and time.monotonic() < deadline:
            time.sleep(0.05)
            self.local.turn()

    def _live(self) -> list[Row]:
        """The rows of this owner's jobs that have not ended; a job of another owner is never started here."""
        return [row for row in self.local._store.in_states(LIVE) if row.owner == self.local.owner]


def alive(pid_file: Path) -> bool:
    """Whether the process whose pid is in the file runs."""
    return Identity.of(int(pid_file.read_text())) is not None


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def harness(state: Path, database_url: str | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobHarness]:
    monkeypatch.setenv("PYTHONPATH", str(WORKER))
    harness = JobHarness(state, database_url=database_url)
    yield harness
    harness.clean()
    harness.local.close()

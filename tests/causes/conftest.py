"""Jobs of the real worker that fail: with a tiny model, a teacher on a socket, a small disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job, JobSpec, Resources
from ilab_jupyter.jobs.state import LIVE
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec
from tests.support.jobs import WORKER
from tests.support.training import pairs, tiny
from tests.support.waiting import until

__all__ = ["pairs", "tiny"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not Path("/dev/nvidiactl").exists():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="this machine has no NVIDIA GPU"))


class Works:
    """A service whose jobs run in the real worker; `code` submits one whose work is Python code."""

    def __init__(self, folder: Path) -> None:
        self.local = LocalJobs(folder, worker_module="code_worker")
        self.jobs = SyncJobs(self.local)

    def submit(self, kind: str, **arguments: Any) -> Job:
        return self.jobs.submit(job_spec(kind, arguments))

    def code(self, code: str, **resources: Any) -> Job:
        spec = JobSpec(kind="code", arguments={"code": code}, resources=Resources(**resources))
        return self.jobs.submit(spec)

    def end(self, job: Job, seconds: float = 240) -> Job:
        until(lambda: self.jobs.get(job.id).state.ended, seconds)
        return self.jobs.get(job.id)

    def ended(self, kind: str, **arguments: Any) -> Job:
        return self.end(self.submit(kind, **arguments))

    def log(self, job: Job) -> str:
        return str(self.jobs.logs(job.id, limit=1_000_000).text)

    def clean(self) -> None:
        self.local.configure(grace_seconds=0)
        for job in self.jobs.list(limit=500).jobs:
            if not job.state.ended:
                self.jobs.cancel(job.id)
        until(lambda: self.local.turn() or not self.local._store.count(LIVE))


@pytest.fixture
def works(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(WORKER), str(tmp_path)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    works = Works(state)
    yield works
    works.clean()

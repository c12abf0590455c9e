"""A job service on a folder of the test, with a worker that needs no model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.sync import SyncJobs

HERE = Path(__file__).parent


@pytest.fixture
def scripted_jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncJobs]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent.parent), str(HERE)]))
    service = LocalJobs(worker_module="scripted_worker")
    service.configure(slots={"batch": 4, "serving": 4}, grace_seconds=5)
    jobs = SyncJobs(service)
    yield jobs
    for job in jobs.list(limit=100).jobs:
        if not job.state.ended:
            jobs.cancel(job.id)
    service.close()

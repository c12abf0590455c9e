"""Every test has its own home, state, data and cache folders; nothing reads or writes the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

from ilab_jupyter.engine import hide_unfit_torchvision
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.folders import use_home

pytest_plugins = [
    "tests.support.jobs",
    "tests.support.models",
    "tests.support.postgres",
    "tests.support.teacher",
]

HERE = Path(__file__).parent
# Folders whose tests run real models, browsers, builds or faults.
SLOW = {"causes", "e2e", "evaluation", "faults", "packaging"}


class FileOrGroupScheduling(LoadGroupScheduling):
    """Tests with the same `xdist_group` run in one process, and so do the other tests of a file."""

    def _split_scope(self, nodeid: str) -> str:
        scope = str(super()._split_scope(nodeid))
        return nodeid.split("::", 1)[0] if scope == nodeid else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileOrGroupScheduling:
    return FileOrGroupScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the folders of slow tests, and start slow tests first: none runs alone at the end."""
    for item in items:
        if SLOW.intersection(item.path.relative_to(HERE).parts):
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


# Tests make tiny models with transformers themselves, in this process.
hide_unfit_torchvision()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME, XDG and the job engine's state below a folder of this test alone."""
    home = tmp_path / "home"
    use_home(home, monkeypatch)
    return home


@pytest.fixture
def scripted_jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncJobs]:
    """A job service on a folder of the test, whose jobs are the scenarios of the scripted worker."""
    from tests.support.jobs import WORKER

    monkeypatch.setenv("PYTHONPATH", str(WORKER))
    service = LocalJobs(worker_module="scripted")
    service.configure(slots={"batch": 4, "serving": 4}, grace_seconds=5)
    jobs = SyncJobs(service)
    yield jobs
    for job in jobs.list(limit=100).jobs:
        if not job.state.ended:
            jobs.cancel(job.id)
    service.close()

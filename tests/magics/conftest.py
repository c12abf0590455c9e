"""A real IPython shell with the magics, working on a job service of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.magics.ilab import IlabMagics

WORKER = Path(__file__).parent.parent / "client"


@pytest.fixture
def scripted_jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncJobs]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(WORKER.parent.parent), str(WORKER)]))
    service = LocalJobs(worker_module="scripted_worker")
    service.configure(slots={"batch": 4, "serving": 4}, grace_seconds=5)
    jobs = SyncJobs(service)
    yield jobs
    for job in jobs.list(limit=100).jobs:
        if not job.state.ended:
            jobs.cancel(job.id)
    service.close()


@pytest.fixture
def bare_shell() -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(
        config=Config(HistoryManager={"enabled": False}, InteractiveShell={"colors": "nocolor"})
    )
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(
    bare_shell: InteractiveShell, scripted_jobs: SyncJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> InteractiveShell:
    work = tmp_path / "work"
    work.mkdir()
    (work / "data.jsonl").write_text("{}\n")
    (work / "taxonomy").mkdir()
    monkeypatch.chdir(work)
    bare_shell.run_line_magic("load_ext", "ilab_jupyter")
    magics = bare_shell.magics_manager.registry["IlabMagics"]
    assert isinstance(magics, IlabMagics)
    magics.jobs = scripted_jobs
    return bare_shell

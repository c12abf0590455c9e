"""A real IPython shell with the magics and a job service for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.magics.ilab import IlabMagics


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

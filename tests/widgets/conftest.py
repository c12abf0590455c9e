"""Notebooks run by a real kernel, with jobs whose worker needs no model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from ilab_jupyter import paths
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.jobs import WORKER

SETUP = """
%load_ext ilab_jupyter
import os
from pathlib import Path
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.sync import SyncJobs
service = LocalJobs(Path({state!r}), worker_module="scripted")
get_ipython().magics_manager.registry["IlabMagics"].jobs = SyncJobs(service)
os.chdir({folder!r})
Path("data.jsonl").write_text("{{}}")
"""

Run = Callable[..., list[NotebookNode]]


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelManager]:
    """One kernel for all notebooks that need no other, with a home of its own."""
    home = str(tmp_path_factory.mktemp("kernel"))
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "HOME": home, "IPYTHONDIR": home, "PYTHONPATH": str(WORKER)})
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.fixture
def run_cells(scripted_jobs: SyncJobs, kernel: KernelManager, tmp_path: Path) -> Run:
    """Run cells and give them as a notebook file would keep them; `fresh` in a kernel that ends with them."""

    def run(*sources: str, fresh: bool = False) -> list[NotebookNode]:
        setup = SETUP.format(state=str(paths.state_dir()), folder=str(tmp_path))
        cells = [nbformat.v4.new_code_cell(source) for source in (setup, *sources)]
        notebook = nbformat.v4.new_notebook(cells=cells)
        manager = None if fresh else kernel
        NotebookClient(notebook, km=manager, timeout=60, kernel_name="python3", allow_errors=True).execute()
        nbformat.validate(notebook)
        return list(notebook.cells[1:])

    return run

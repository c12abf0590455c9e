"""Notebooks whose kernels run jobs in a worker that needs no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.interpreter import make_interpreter

SETUP = """%load_ext ilab_jupyter
from pathlib import Path
Path("data.jsonl").write_text("{}");"""


@pytest.fixture(scope="module")
def lab_variables(own_folders: Path) -> dict[str, str]:
    """Kernels run jobs in a worker that needs no engine."""
    python = make_interpreter(own_folders.with_name("worker-python"))
    return {"ILAB_JUPYTER_WORKER_PYTHON": str(python)}


def notebook(folder: Path, name: str, *sources: str) -> Path:
    """A notebook whose first cell loads the magics, in the root folder."""
    cells = [nbformat.v4.new_code_cell(source) for source in (SETUP, *sources)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def open_with_magics(lab_page: Any, name: str) -> None:
    """Open the notebook and run its first cell."""
    lab_page.open_notebook(name)
    lab_page.run_cell(0)

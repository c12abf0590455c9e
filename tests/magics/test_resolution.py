"""What config.yaml sets reaches the jobs of the commands, and the commands show it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter.client.connect import connect
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.jobs.sync import SyncJobs

ROW = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Berta."}]}


@pytest.fixture
def queued(shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """A shell whose jobs stay queued."""
    service = connect()
    jobs = SyncJobs(service)
    jobs.pause("test")
    shell.magics_manager.registry["IlabMagics"].jobs = jobs
    Path("rows.jsonl").write_text(json.dumps(ROW) + "\n")
    yield shell
    service.close()  # type: ignore[attr-defined]


def run(shell: InteractiveShell, cell: str) -> object:
    """The value of a cell that must succeed."""
    outcome = shell.run_cell(cell, store_history=False)
    outcome.raise_error()
    return outcome.result


def test_config_set_reaches_training_and_source_is_shown(
    queued: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(queued, "%ilab config init")
    run(queued, "%ilab config set train.num_epochs 1")
    handle = run(queued, "%ilab train rows.jsonl")
    assert isinstance(handle, JobHandle)
    spec = handle.job.spec
    assert (spec.arguments["epochs"], spec.sources["epochs"]) == (1.0, "config.yaml")
    assert "epochs 1, config.yaml" in capsys.readouterr().out
    run(queued, f"%ilab attach {handle.id}")
    assert "Resolved: epochs 1, config.yaml" in capsys.readouterr().out
    page = handle._repr_html_()
    assert "learning_rate" in page and "model profile" in page


def test_config_init_runs_twice(queued: InteractiveShell) -> None:
    first = run(queued, "%ilab config init")
    run(queued, "%ilab config set train.num_epochs 1")
    assert str(run(queued, "%ilab config init")) == str(first).replace("num_epochs: 8", "num_epochs: 1", 1)

"""`%ilab remove` confirms, refuses what is in use, and removes models, datasets and ended jobs."""

from __future__ import annotations

import json
import shutil

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter import paths, starter
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.jobs.sync import SyncJobs
from tests.magics.test_commands import run
from tests.magics.test_starting import refused


@pytest.fixture(autouse=True)
def registry() -> None:
    """A model and a dataset of the name `bread`."""
    shutil.copytree(starter.FOLDER, paths.models_dir() / "bread")
    folder = paths.datasets_dir() / "bread"
    folder.mkdir(parents=True)
    (folder / "messages_bread.jsonl").write_text(json.dumps({"messages": []}) + "\n")


def test_removal_is_confirmed(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["n", "y"])
    questions: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: questions.append(text) or next(answers))
    run(shell, "%ilab remove model bread")
    assert "Nothing was removed." in capsys.readouterr().out and (paths.models_dir() / "bread").exists()
    run(shell, "%ilab remove model bread")
    assert "Removed model bread:" in capsys.readouterr().out and not (paths.models_dir() / "bread").exists()
    assert questions == ["Remove model bread? This cannot be undone. [y/N] "] * 2
    assert (paths.datasets_dir() / "bread").exists()


def test_removal_without_terminal_needs_yes(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", no_terminal)
    assert refused(shell, "%ilab remove dataset bread").hint == "Add --yes."
    assert (paths.datasets_dir() / "bread").exists()
    run(shell, "%ilab remove dataset bread --yes")
    assert not (paths.datasets_dir() / "bread").exists()


@pytest.mark.parametrize(
    "command",
    [
        "%ilab train bread --max-steps 200",
        "%ilab train data.jsonl --model bread --max-steps 200",
        "%ilab serve bread --wait",
    ],
)
def test_removal_is_refused_while_a_job_uses_it(
    shell: InteractiveShell, scripted_jobs: SyncJobs, command: str
) -> None:
    job = run(shell, command)
    assert isinstance(job, JobHandle)
    kind = "dataset" if command.startswith("%ilab train bread") else "model"
    error = refused(shell, f"%ilab remove {kind} bread --yes")
    assert f"in use by job {job.id}" in error.message and f"%ilab cancel {job.id}" in error.hint
    assert f"{job.id} is" in refused(shell, f"%ilab remove job {job.id} --yes").message
    job.cancel().wait()
    run(shell, f"%ilab remove {kind} bread --yes")
    run(shell, f"%ilab remove job {job.id} --yes")
    assert scripted_jobs.list().jobs == []


def test_unknown_kind_is_refused(shell: InteractiveShell) -> None:
    assert "model" in refused(shell, "%ilab remove cake bread --yes").message

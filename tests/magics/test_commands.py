"""The commands in a real IPython shell with real jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.client.table import JobList
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs


def run(shell: InteractiveShell, cell: str) -> object:
    """Run a cell that must succeed and return its value."""
    outcome = shell.run_cell(cell, store_history=False)
    outcome.raise_error()
    return outcome.result


def test_generate_train_serve_and_chat_accept_names(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(shell, "%ilab generate taxonomy --wait")
    assert isinstance(made, JobHandle)
    assert made.result["dataset"] == "made"
    trained = run(shell, "%ilab train --name mine --max-steps 2 --method lora --wait")
    assert isinstance(trained, JobHandle)
    assert "Data: made (the newest)" in capsys.readouterr().out
    assert trained.job.spec.arguments["data"] == ["made"]
    assert trained.job.spec.arguments["method"] == "lora"
    server = run(shell, f"%ilab serve {trained.id} --name mine --wait")
    assert isinstance(server, JobHandle)
    assert server.job.spec.arguments["model"] == "mine"
    assert server.state is JobState.RUNNING
    capsys.readouterr()
    assert run(shell, "%ilab chat mine What's your name?") is None
    assert capsys.readouterr().out == "<i>1</i> What's your name?]0;title end\n"
    run(shell, "who = 'Orlin'\nif who:\n    %ilab chat mine Is {who} here?")
    assert "Is Orlin here?" in capsys.readouterr().out


def test_chat_history_is_used_only_with_keep(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%ilab serve starter --wait")
    capsys.readouterr()
    turns = []
    for line in (
        "%ilab chat --keep starter One",
        "%ilab chat --keep starter Two",
        "%ilab chat starter Alone",
        "%%ilab chat --system 'Be brief.' -o answer\nThree\nlines",
    ):
        run(shell, line)
        turns.append(capsys.readouterr().out)
    assert [turn.split("</i>")[0] for turn in turns] == ["<i>1", "<i>3", "<i>1", "<i>2"]
    assert "Three\nlines" in shell.user_ns["answer"]


def test_command_returns_immediately_and_stores_its_job(
    shell: InteractiveShell, scripted_jobs: SyncJobs
) -> None:
    run(shell, "steps = 300")
    handle = run(shell, "%ilab train data.jsonl --name slow --max-steps {steps} -o job")
    assert isinstance(handle, JobHandle) and not handle.state.ended
    assert shell.user_ns["job"] is handle
    assert handle.job.spec.arguments["max_steps"] == 300
    assert handle.job.spec.arguments["data"] == [str(Path.cwd() / "data.jsonl")]
    run(shell, "%ilab cancel {job.id}")
    again = run(shell, f"%ilab attach {handle.id.split('-')[1][:6]}")
    assert isinstance(again, JobHandle)
    again.cancel().wait(timeout=30)
    assert again.state is JobState.CANCELLED


def test_wait_prints_the_log_in_a_terminal(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%ilab train data.jsonl --max-steps 3 --wait")
    assert "step 3/3" in capsys.readouterr().out
    run(shell, "%ilab logs --tail 1")
    assert capsys.readouterr().out == "step 3/3 loss 1.0000 <b>&amp;</b>\n"


def test_line_overrides_arguments_in_the_cell(shell: InteractiveShell) -> None:
    handle = run(
        shell,
        "%%ilab train --max-steps 2\ndata: [data.jsonl]\nmax_steps: 9\nlearning_rate: 1.0e-3\nname: body\n",
    )
    assert isinstance(handle, JobHandle)
    arguments = handle.job.spec.arguments
    assert (arguments["max_steps"], arguments["learning_rate"], arguments["name"]) == (2, 0.001, "body")
    handle.wait(timeout=30)
    made = run(shell, "%%ilab generate\ntaxonomy_path: taxonomy\nteacher: http://127.0.0.1:9/v1\nscale: 3\n")
    assert isinstance(made, JobHandle)
    assert made.job.spec.arguments["teacher"]["url"] == "http://127.0.0.1:9/v1"
    assert made.job.spec.arguments["taxonomy_path"] == str(Path.cwd() / "taxonomy")


def test_teacher_key_reaches_only_the_worker(
    shell: InteractiveShell,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    own_folders: Path,
) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("MY_API_KEY", key)
    handle = run(
        shell,
        "%ilab generate taxonomy --teacher http://127.0.0.1:9/v1 --teacher-model big --teacher_max_retries=1 "
        "--api-key-env MY_API_KEY --wait",
    )
    assert isinstance(handle, JobHandle)
    assert f"key in MY_API_KEY: {len(key)} letters" in handle.logs()
    assert handle.job.spec.arguments["teacher"]["model"] == "big"
    assert handle.job.spec.arguments["teacher"]["max_retries"] == 1
    assert key not in capsys.readouterr().out + handle._repr_html_() + repr(handle.job)
    stored = [path for path in own_folders.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert stored == []


def test_failed_job_can_be_resumed_and_listed(shell: InteractiveShell) -> None:
    failed = run(shell, "%ilab train data.jsonl --name fails --max-steps 4")
    assert isinstance(failed, JobHandle)
    with pytest.raises(Exception, match="Row 7"):
        failed.wait(timeout=30)
    done = run(shell, f"%ilab resume {failed.id} --wait")
    assert isinstance(done, JobHandle) and done.state is JobState.SUCCEEDED
    listed = run(shell, "%ilab jobs --state SUCCEEDED --kind train")
    assert isinstance(listed, JobList) and [job.id for job in listed] == [failed.id]
    assert run(shell, "%ilab jobs --state FAILED") == []
    assert failed.id in repr(run(shell, "%ilab jobs fails"))


def test_models_data_and_system_are_listed(shell: InteractiveShell) -> None:
    run(shell, "%ilab generate taxonomy --name mydata --wait")
    assert "mydata" in repr(run(shell, "%ilab data"))
    assert "assistant: Orlin." in repr(run(shell, "%ilab data mydata"))
    assert "starter" in repr(run(shell, "%ilab models"))
    assert "processors" in repr(run(shell, "%ilab system"))


def test_magics_use_the_state_folder_by_default(bare_shell: InteractiveShell, own_folders: Path) -> None:
    run(bare_shell, "%load_ext ilab_jupyter")
    assert run(bare_shell, "%ilab jobs") == []
    assert (own_folders / "state").is_dir()

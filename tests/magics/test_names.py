"""Commands accept a job's id, a unique prefix of it, or its name."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.magics import chat, parsers
from tests.magics.test_commands import run
from tests.magics.test_starting import refused


def test_job_is_found_by_its_name_in_every_command(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    job = run(shell, "%ilab train data.jsonl --name long-run --max-steps 200")
    assert isinstance(job, JobHandle)
    attached = run(shell, "%ilab attach long-run")
    assert isinstance(attached, JobHandle) and attached.id == job.id
    cancelled = run(shell, "%ilab cancel long-run")
    assert isinstance(cancelled, JobHandle) and cancelled.id == job.id
    with pytest.raises(Exception, match="ancelled"):
        job.wait()
    capsys.readouterr()
    run(shell, "%ilab logs long-run --tail 1")
    assert f"Job {job.id} has not printed" in (printed := capsys.readouterr().out) or "step" in printed
    assert len(run(shell, "%ilab attempts long-run").rows) == 1  # type: ignore[attr-defined]
    resumed = run(shell, "%ilab resume long-run")
    assert isinstance(resumed, JobHandle) and resumed.id == job.id and resumed.job.attempt == 2
    # A queued job may refer to a model that does not exist yet.
    later = run(shell, "%ilab evaluate mmlu long-run")
    assert isinstance(later, JobHandle) and later.job.spec.arguments["model"] == "long-run"


def test_ambiguous_name_lists_the_ids(shell: InteractiveShell, scripted_jobs: SyncJobs) -> None:
    ids = [
        run(shell, "%ilab train data.jsonl --name twice --max-steps 1 --wait").id  # type: ignore[attr-defined]
        for _ in range(2)
    ]
    run(shell, "%ilab train data.jsonl --name twice-more --max-steps 1 --wait")
    error = refused(shell, "%ilab attach twice")
    assert error.message.startswith("2 jobs are named 'twice': ")
    assert all(f"{id} (SUCCEEDED)" in error.message for id in ids) and error.hint == "Give the id of one."
    assert "There is no job 'twice-'" in refused(shell, "%ilab attach twice-").message


def test_chat_accepts_the_id_of_the_serve_job(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    server = run(shell, "%ilab serve starter --name mine --wait")
    assert isinstance(server, JobHandle) and server.state is JobState.RUNNING
    capsys.readouterr()
    run(shell, f"%ilab chat {server.id} Who are you?")
    assert "Who are you?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "options", "model", "question"),
    [
        ("mine What milk? --temperature 0.1", ["--temperature", "0.1"], "mine", "What milk?"),
        ("mine --max_tokens=9 What  milk?", ["--max_tokens=9"], "mine", "What  milk?"),
        ("--keep mine What's up?", ["--keep"], "mine", "What's up?"),
        ("mine Say --keep on --system 'Be brief.'", ["--keep", "--system", "Be brief."], "mine", "Say on"),
        ("mine -- What does --keep do?", [], "mine", "What does --keep do?"),
        ('mine "What does --keep do?"', [], "mine", '"What does --keep do?"'),
        ("mine Is it -5 or --5?", [], "mine", "Is it -5 or --5?"),
        ("mine Why? -o answer", ["-o", "answer"], "mine", "Why?"),
        ("--help", ["--help"], None, ""),
    ],
)
def test_chat_options_are_read_anywhere(
    line: str, options: list[str], model: str | None, question: str
) -> None:
    assert chat.split(parsers.build_parser("chat"), line) == (options, model, question)

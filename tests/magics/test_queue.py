"""The commands for the queue, attempts, log search and pruning."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.client.table import Table
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.sync import SyncJobs


def run(shell: InteractiveShell, cell: str) -> object:
    outcome = shell.run_cell(cell, store_history=False)
    outcome.raise_error()
    return outcome.result


def submit(jobs: SyncJobs) -> str:
    return jobs.submit(JobSpec(kind="train", arguments={"data": ["x"], "name": "m"})).id


def test_queue_can_be_paused_reordered_and_resumed(shell: InteractiveShell, scripted_jobs: SyncJobs) -> None:
    paused = run(shell, "%ilab queue pause the disk is exchanged")
    assert isinstance(paused, Table) and "the disk is exchanged" in repr(paused)
    first, second = submit(scripted_jobs), submit(scripted_jobs)
    listed = repr(run(shell, "%ilab jobs"))
    assert "the disk is exchanged" in listed and "number 2 in its queue" in listed
    shown = repr(run(shell, "%ilab queue"))
    assert shown.index(first) < shown.index(second)
    moved = run(shell, f"%ilab queue first {second}")
    assert isinstance(moved, JobHandle) and moved.id == second
    shown = repr(run(shell, "%ilab queue"))
    assert shown.index(second) < shown.index(first)
    run(shell, f"%ilab queue first {first} --before {second}")
    assert scripted_jobs.queue().waiting == [first, second]
    assert "running" in repr(run(shell, "%ilab queue resume"))
    for id in (first, second):
        JobHandle(scripted_jobs, id).wait(follow=False)
    assert "SUCCEEDED" in repr(run(shell, f"%ilab attempts {first}"))


def test_log_search_reaches_the_end(
    shell: InteractiveShell, scripted_jobs: SyncJobs, capsys: pytest.CaptureFixture[str]
) -> None:
    id = submit(scripted_jobs)
    JobHandle(scripted_jobs, id).wait(follow=False)
    text = scripted_jobs.logs(id).text
    line = next(line for line in text.splitlines() if line.strip())
    capsys.readouterr()
    run(shell, f"%ilab logs {id} --search {line.split()[0].upper()!r}")
    assert line in capsys.readouterr().out
    run(shell, f"%ilab logs {id} --search 'no line has this'")
    assert "No line in the log" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["queue first", "queue resume now", "queue pause --before x", "queue stop"])
def test_invalid_queue_command_has_no_traceback(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    outcome = shell.run_cell(f"%ilab {wrong}", store_history=False)
    assert outcome.error_in_exec is not None
    assert "Traceback" not in capsys.readouterr().out


def test_prune_supports_dry_run_and_removes_logs(shell: InteractiveShell, scripted_jobs: SyncJobs) -> None:
    id = submit(scripted_jobs)
    JobHandle(scripted_jobs, id).wait(follow=False)
    assert "1 would be removed" in repr(run(shell, "%ilab prune --days 0 --dry-run"))
    assert scripted_jobs.logs(id).text
    assert "1 removed" in repr(run(shell, "%ilab prune --keep-bytes 0"))
    assert "pruned" in repr(run(shell, f"%ilab attempts {id}"))

"""Pruning: old logs are removed on request, live ones never, and a removed log is reported as such."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ilab_jupyter.errors import InvalidInput, NotFound
from ilab_jupyter.jobs.attempt.lock import FileLock
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import schema


def ended(harness: Any, size: int, *, days_ago: float = 0) -> str:
    job = harness.submit(["print", "x" * (size - 1)], ["exit", 1])
    harness.end(job.id)
    with harness.local._store.write() as connection:
        table = schema.attempt
        connection.execute(
            sa.update(table).where(table.c.job == job.id).values(ended=time.time() - days_ago * 86_400)
        )
    lock = harness.local.state.job(job.id).attempt(1).lock
    held = FileLock(lock)
    assert held.acquire(20), "its supervisor is still running"
    held.release()
    return str(job.id)


def has_log(harness: Any, id: str) -> bool:
    return bool(harness.local.state.job(id).attempt(1).log.exists())


def test_old_logs_are_pruned_and_jobs_kept(harness: Any) -> None:
    old, new = ended(harness, 1000, days_ago=40), ended(harness, 500)
    would = harness.jobs.prune(days=30, dry_run=True)
    assert (would.attempts, would.bytes) == (1, 1000) and has_log(harness, old)
    assert harness.jobs.prune(days=30) == would
    assert not has_log(harness, old) and has_log(harness, new)
    with pytest.raises(NotFound) as gone:
        harness.jobs.logs(old)
    assert gone.value.cause == "log_pruned" and "was removed on 20" in gone.value.message
    with pytest.raises(NotFound):
        harness.jobs.search(old, "x")
    assert harness.jobs.get(old).state == JobState.FAILED
    assert harness.jobs.attempts(old)[0].log_pruned and not harness.jobs.attempts(new)[0].log_pruned
    (entry,) = [one for one in harness.jobs.audit() if one.action == "prune"]
    assert (entry.target, entry.detail) == (old, {"attempt": 1, "bytes": 1000})
    assert harness.jobs.prune(days=30).attempts == 0
    assert [event.type for event in harness.jobs.watch(old, log_offset=0)] == ["state", "end"]


def test_oldest_logs_are_pruned_first(harness: Any) -> None:
    ids = [ended(harness, 1000, days_ago=10 - n) for n in range(4)]
    assert harness.jobs.prune(keep_bytes=2500).attempts == 2
    assert [has_log(harness, id) for id in ids] == [False, False, True, True]
    assert harness.jobs.prune(days=1, keep_bytes=10**9).attempts == 2


def test_logs_of_live_or_locked_jobs_are_kept(harness: Any, tmp_path: Path) -> None:
    held = ended(harness, 1000, days_ago=50)
    live = harness.submit([["exit", 1]], [["print", "y"], ["wait_for", str(tmp_path / "go")]])
    harness.end(live.id)
    harness.jobs.resume(live.id)
    harness.reach(live.id, JobState.RUNNING)
    lock = FileLock(harness.local.state.job(held).attempt(1).lock)
    assert lock.acquire(5)
    assert harness.jobs.prune(days=0).attempts == 0
    lock.release()
    assert harness.jobs.prune(days=0).attempts == 1
    (tmp_path / "go").touch()
    harness.end(live.id)


def test_interrupted_pruning_is_finished_by_the_next(harness: Any) -> None:
    id = ended(harness, 1000, days_ago=2)
    log = harness.local.state.job(id).attempt(1).log
    kept = log.read_bytes()
    harness.jobs.prune(days=1)
    log.write_bytes(kept)
    assert harness.jobs.prune(days=1).attempts == 0 and not log.exists()


def test_prune_requires_a_limit(harness: Any) -> None:
    for wrong in ({}, {"days": -1.0}, {"keep_bytes": -1}, {"days": float("nan")}):
        with pytest.raises(InvalidInput):
            harness.jobs.prune(**wrong)


def test_folders_without_row_are_reported_and_kept(harness: Any) -> None:
    job = harness.submit(["exit", 1])
    harness.end(job.id)
    stray = harness.local.state.jobs / "train-aaaaaaaa"
    stray.mkdir()
    from ilab_jupyter.jobs.sync import run

    assert run(harness.local.orphans()) == [], "a job may not be stored yet"
    for folder in harness.local.state.jobs.iterdir():
        os.utime(folder, (1, 1))
    assert run(harness.local.orphans()) == ["train-aaaaaaaa"]
    harness.jobs.prune(days=0)
    assert stray.is_dir()


def test_prune_command_removes_what_its_dry_run_lists(
    harness: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ilab_jupyter.__main__ import main

    monkeypatch.setenv("ILAB_JUPYTER_STATE", str(harness.local.state.path))
    old = ended(harness, 2_000_000, days_ago=3)
    assert main(["prune", "--days", "2", "--dry-run"]) == 0
    assert capsys.readouterr().out == "1 logs, 2.0 MB, would be removed\n" and has_log(harness, old)
    assert main(["prune", "--keep", "1.5MB"]) == 0
    assert capsys.readouterr().out == "1 logs, 2.0 MB, removed\n" and not has_log(harness, old)
    assert main(["prune"]) == 1
    with pytest.raises(SystemExit):
        main(["prune", "--keep", "much"])

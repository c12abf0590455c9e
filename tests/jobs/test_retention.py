"""Pruning: old logs go when asked to, live ones never, and a log that is gone says so."""

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


def ended(bench: Any, size: int, *, days_ago: float = 0) -> str:
    job = bench.submit(["print", "x" * (size - 1)], ["exit", 1])
    bench.end(job.id)
    with bench.local._store.write() as connection:
        table = schema.attempt
        connection.execute(
            sa.update(table).where(table.c.job == job.id).values(ended=time.time() - days_ago * 86_400)
        )
    lock = bench.local.state.job(job.id).attempt(1).lock
    held = FileLock(lock)
    assert held.acquire(20), "its supervisor is still at work"
    held.release()
    return str(job.id)


def has_log(bench: Any, id: str) -> bool:
    return bool(bench.local.state.job(id).attempt(1).log.exists())


def test_logs_older_than_so_many_days_go_and_the_rest_of_the_job_stays(bench: Any) -> None:
    old, new = ended(bench, 1000, days_ago=40), ended(bench, 500)
    would = bench.jobs.prune(days=30, dry_run=True)
    assert (would.attempts, would.bytes) == (1, 1000) and has_log(bench, old)
    assert bench.jobs.prune(days=30) == would
    assert not has_log(bench, old) and has_log(bench, new)
    with pytest.raises(NotFound) as gone:
        bench.jobs.logs(old)
    assert gone.value.cause == "log_pruned" and "was removed on 20" in gone.value.message
    with pytest.raises(NotFound):
        bench.jobs.search(old, "x")
    assert bench.jobs.get(old).state == JobState.FAILED
    assert bench.jobs.attempts(old)[0].log_pruned and not bench.jobs.attempts(new)[0].log_pruned
    (entry,) = [one for one in bench.jobs.audit() if one.action == "prune"]
    assert (entry.target, entry.detail) == (old, {"attempt": 1, "bytes": 1000})
    assert bench.jobs.prune(days=30).attempts == 0
    assert [event.type for event in bench.jobs.watch(old, log_offset=0)] == ["state", "end"]


def test_the_oldest_go_first_until_the_rest_fits(bench: Any) -> None:
    ids = [ended(bench, 1000, days_ago=10 - n) for n in range(4)]
    assert bench.jobs.prune(keep_bytes=2500).attempts == 2
    assert [has_log(bench, id) for id in ids] == [False, False, True, True]
    assert bench.jobs.prune(days=1, keep_bytes=10**9).attempts == 2


def test_a_live_job_and_one_whose_lock_is_held_keep_their_logs(bench: Any, tmp_path: Path) -> None:
    held = ended(bench, 1000, days_ago=50)
    live = bench.submit([["exit", 1]], [["print", "y"], ["wait_for", str(tmp_path / "go")]])
    bench.end(live.id)
    bench.jobs.resume(live.id)
    bench.reach(live.id, JobState.RUNNING)
    lock = FileLock(bench.local.state.job(held).attempt(1).lock)
    assert lock.acquire(5)
    assert bench.jobs.prune(days=0).attempts == 0
    lock.release()
    assert bench.jobs.prune(days=0).attempts == 1
    (tmp_path / "go").touch()
    bench.end(live.id)


def test_a_pruning_that_was_cut_off_is_finished_by_the_next(bench: Any) -> None:
    id = ended(bench, 1000, days_ago=2)
    log = bench.local.state.job(id).attempt(1).log
    kept = log.read_bytes()
    bench.jobs.prune(days=1)
    log.write_bytes(kept)
    assert bench.jobs.prune(days=1).attempts == 0 and not log.exists()


def test_what_to_prune_must_be_said(bench: Any) -> None:
    for wrong in ({}, {"days": -1.0}, {"keep_bytes": -1}, {"days": float("nan")}):
        with pytest.raises(InvalidInput):
            bench.jobs.prune(**wrong)


def test_folders_without_a_row_are_reported_and_left(bench: Any) -> None:
    job = bench.submit(["exit", 1])
    bench.end(job.id)
    stray = bench.local.state.jobs / "train-aaaaaaaa"
    stray.mkdir()
    from ilab_jupyter.jobs.sync import run

    assert run(bench.local.orphans()) == [], "a job may be on its way"
    for folder in bench.local.state.jobs.iterdir():
        os.utime(folder, (1, 1))
    assert run(bench.local.orphans()) == ["train-aaaaaaaa"]
    bench.jobs.prune(days=0)
    assert stray.is_dir()


def test_the_command_removes_what_it_said_that_it_would(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ilab_jupyter.__main__ import main

    monkeypatch.setenv("ILAB_JUPYTER_STATE", str(bench.local.state.path))
    old = ended(bench, 2_000_000, days_ago=3)
    assert main(["prune", "--days", "2", "--dry-run"]) == 0
    assert capsys.readouterr().out == "1 logs, 2.0 MB, would be removed\n" and has_log(bench, old)
    assert main(["prune", "--keep", "1.5MB"]) == 0
    assert capsys.readouterr().out == "1 logs, 2.0 MB, removed\n" and not has_log(bench, old)
    assert main(["prune"]) == 1
    with pytest.raises(SystemExit):
        main(["prune", "--keep", "much"])

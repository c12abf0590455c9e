"""What ended with its machine is queued again when a server starts, three times in a row without progress."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.state import JobState


def supervisor(bench: Any, id: str) -> int:
    attempt = bench.jobs.get(id).attempt
    record = bench.local.folder(id) / "attempts" / str(attempt) / "supervisor.json"
    return int(json.loads(record.read_text())["pid"])


def interrupted(bench: Any, id: str) -> None:
    bench.reach(id, JobState.RUNNING)
    bench.local.interrupt([id])
    assert bench.jobs.get(id).state is JobState.INTERRUPTED


def test_an_interrupted_job_is_queued_again_and_the_audit_says_that_nobody_asked(bench: Any) -> None:
    job = bench.submit([["sleep", 60]], [["print", "second"]])
    interrupted(bench, job.id)
    assert [again.id for again in bench.local.restart_interrupted()] == [job.id]
    ended = bench.end(job.id)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
    assert [attempt.why for attempt in bench.jobs.attempts(job.id)] == ["submitted", "restart"]
    entries = [entry for entry in bench.jobs.audit() if entry.target == job.id]
    assert [(entry.actor, entry.detail.get("why")) for entry in entries] == [
        (bench.local.owner, None),
        ("ilab-jupyter", "restart"),
    ]


def test_a_killed_supervisor_counts_as_a_machine_that_stopped(bench: Any) -> None:
    job = bench.submit([["sleep", 60]], [["print", "second"]])
    bench.reach(job.id, JobState.RUNNING)
    os.kill(supervisor(bench, job.id), signal.SIGKILL)
    assert bench.end(job.id).cause == "supervisor_lost"
    assert len(bench.local.restart_interrupted()) == 1


def test_a_job_that_comes_no_further_waits_for_a_person_after_three_times(bench: Any) -> None:
    job = bench.submit(["sleep", 60])
    for _ in range(3):
        interrupted(bench, job.id)
        assert len(bench.local.restart_interrupted()) == 1
    interrupted(bench, job.id)
    assert bench.local.restart_interrupted() == []
    bench.jobs.resume(job.id)
    interrupted(bench, job.id)
    assert len(bench.local.restart_interrupted()) == 1, "a person has asked for it again"


def test_a_job_that_comes_further_each_time_is_always_queued_again(bench: Any, tmp_path: Path) -> None:
    def come_to(step: int) -> list[list[Any]]:
        progress = ["event", "progress", {"phase": "train", "step": step}]
        return [progress, ["write", str(tmp_path / f"at-{step}"), "x"], ["sleep", 60]]

    steps = [come_to(step) for step in range(1, 7)]
    job = bench.submit(*steps)
    for n in range(1, 6):
        while not (tmp_path / f"at-{n}").exists():
            bench.reach(job.id, JobState.QUEUED, JobState.STARTING, JobState.RUNNING)
        interrupted(bench, job.id)
        assert len(bench.local.restart_interrupted()) == 1, n


def test_what_a_person_or_the_work_itself_ended_stays_ended(bench: Any) -> None:
    bench.local.configure(slots={"batch": 3})
    cancelled = bench.submit(["sleep", 60])
    failed = bench.submit(["exit", 3])
    done = bench.submit(["print", "x"])
    bench.reach(cancelled.id, JobState.RUNNING)
    bench.jobs.cancel(cancelled.id)
    for job in (cancelled, failed, done):
        bench.end(job.id)
    assert bench.local.restart_interrupted() == []

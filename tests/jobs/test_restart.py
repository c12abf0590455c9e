"""Interrupted jobs are queued again when a server starts, three times in a row without progress."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.state import JobState


def supervisor(harness: Any, id: str) -> int:
    attempt = harness.jobs.get(id).attempt
    record = harness.local.folder(id) / "attempts" / str(attempt) / "supervisor.json"
    return int(json.loads(record.read_text())["pid"])


def interrupted(harness: Any, id: str) -> None:
    harness.reach(id, JobState.RUNNING)
    harness.local.interrupt([id])
    assert harness.jobs.get(id).state is JobState.INTERRUPTED


def test_interrupted_job_is_queued_again_and_audited_as_automatic(harness: Any) -> None:
    job = harness.submit([["sleep", 60]], [["print", "second"]])
    interrupted(harness, job.id)
    assert [again.id for again in harness.local.restart_interrupted()] == [job.id]
    ended = harness.end(job.id)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
    assert [attempt.why for attempt in harness.jobs.attempts(job.id)] == ["submitted", "restart"]
    entries = [entry for entry in harness.jobs.audit() if entry.target == job.id]
    assert [(entry.actor, entry.detail.get("why")) for entry in entries] == [
        (harness.local.owner, None),
        ("ilab-jupyter", "restart"),
    ]


def test_killed_supervisor_counts_as_interruption(harness: Any) -> None:
    job = harness.submit([["sleep", 60]], [["print", "second"]])
    harness.reach(job.id, JobState.RUNNING)
    os.kill(supervisor(harness, job.id), signal.SIGKILL)
    assert harness.end(job.id).cause == "supervisor_lost"
    assert len(harness.local.restart_interrupted()) == 1


def test_job_without_progress_is_restarted_three_times(harness: Any) -> None:
    job = harness.submit(["sleep", 60])
    for _ in range(3):
        interrupted(harness, job.id)
        assert len(harness.local.restart_interrupted()) == 1
    interrupted(harness, job.id)
    assert harness.local.restart_interrupted() == []
    harness.jobs.resume(job.id)
    interrupted(harness, job.id)
    assert len(harness.local.restart_interrupted()) == 1, "its owner has resumed it"


def test_job_with_progress_is_always_restarted(harness: Any, tmp_path: Path) -> None:
    def come_to(step: int) -> list[list[Any]]:
        progress = ["event", "progress", {"phase": "train", "step": step}]
        return [progress, ["write", str(tmp_path / f"at-{step}"), "x"], ["sleep", 60]]

    steps = [come_to(step) for step in range(1, 7)]
    job = harness.submit(*steps)
    for n in range(1, 6):
        while not (tmp_path / f"at-{n}").exists():
            harness.reach(job.id, JobState.QUEUED, JobState.STARTING, JobState.RUNNING)
        interrupted(harness, job.id)
        assert len(harness.local.restart_interrupted()) == 1, n


def test_cancelled_failed_and_succeeded_jobs_are_not_restarted(harness: Any) -> None:
    harness.local.configure(slots={"batch": 3})
    cancelled = harness.submit(["sleep", 60])
    failed = harness.submit(["exit", 3])
    done = harness.submit(["print", "x"])
    harness.reach(cancelled.id, JobState.RUNNING)
    harness.jobs.cancel(cancelled.id)
    for job in (cancelled, failed, done):
        harness.end(job.id)
    assert harness.local.restart_interrupted() == []

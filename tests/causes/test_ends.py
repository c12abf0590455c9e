"""Ends of jobs without an error of the work itself: the cause, and what to run next. See also F3 and F4."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.queue.scheduler import alive_supervisor
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState
from tests.support.waiting import until


def outcome(job: Job) -> tuple[JobState, str | None, int | None]:
    return job.state, job.cause, job.exit_code


@pytest.mark.parametrize(
    ("do", "cause", "code", "said", "remedy"),
    [
        (["exit", 139], "crashed", 139, "SIGSEGV", "logs {} --tail 100"),
        (["exit", 74], "disk_full", 74, "not even its result", "resume {}"),
    ],
)
def test_exit_code_of_launcher_has_cause_and_remedy(
    harness: Any, do: list[Any], cause: str, code: int, said: str, remedy: str
) -> None:
    job = harness.end(harness.submit(["print", "before"], do).id)
    assert outcome(job) == (JobState.FAILED, cause, code)
    assert said in job.message and job.hint and job.remedy == remedy.format(job.id)
    assert harness.log(job.id) == "before\n"


def test_cancelled_before_it_started(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    job = harness.submit(["print"])
    ended = harness.jobs.cancel(job.id)
    assert outcome(ended) == (JobState.CANCELLED, "cancelled", None)
    assert ended.remedy == f"resume {job.id}"


def supervisor(harness: Any, job: Job) -> Any:
    row = harness.local._store.get(job.id)
    return alive_supervisor(harness.local.state.job(job.id).attempt(row.attempt), row.token)


def test_shutdown_lets_the_worker_save_and_interrupts_the_job(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(["save_on_term", str(tmp_path / "saved")], ["print", "ready"], ["sleep", 60])
    until(lambda: "ready" in harness.log(job.id), what="the worker")
    assert supervisor(harness, job).signal(signal.SIGTERM)
    ended = harness.end(job.id)
    assert outcome(ended) == (JobState.INTERRUPTED, "shutdown", 143)
    assert ended.remedy == f"resume {job.id}"
    assert (tmp_path / "saved").read_text() == "saved"


def test_job_whose_supervisor_never_starts_is_interrupted_after_three_attempts(harness: Any) -> None:
    os.environ["PYTHONHOME"] = "/nowhere"
    try:
        job = harness.submit(["print"])
        until(lambda: harness.local.turn() or harness.jobs.get(job.id).state.ended, 60, what="the end")
    finally:
        del os.environ["PYTHONHOME"]
    now = harness.jobs.get(job.id)
    assert (now.state, now.attempt, now.cause) == (JobState.INTERRUPTED, 3, "lost")
    assert "supervisor.log" in now.message and now.remedy == f"resume {job.id}"
    harness.jobs.resume(job.id)
    assert harness.end(job.id).state is JobState.SUCCEEDED


@pytest.mark.parametrize("cause", ["bad_data", "cause_of_a_later_version"])
def test_error_event_of_worker_ends_its_job(harness: Any, cause: str) -> None:
    """But a remedy of several lines, which could be more than a command, does not."""
    error = {"cause": cause, "message": "Row 3 has no messages.", "hint": "Remove it."}
    job = harness.end(
        harness.submit(["event", "error", {**error, "remedy": "jobs\nimport os"}], ["exit", 1]).id
    )
    assert (job.state, job.cause, job.message, job.hint) == (JobState.FAILED, *error.values())
    assert job.remedy == f"logs {job.id} --tail 100"

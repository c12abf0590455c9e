"""How a process can end without a word of its own: the cause, and what to run next."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from ilab_jupyter.jobs.queue.scheduler import alive_supervisor
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState


def outcome(job: Job) -> tuple[JobState, str | None, int | None]:
    return job.state, job.cause, job.exit_code


@pytest.mark.parametrize(
    ("do", "cause", "code", "said", "remedy"),
    [
        (["exit", 1], "crashed", 1, "exit code 1", "logs {} --tail 100"),
        (["die", signal.SIGSEGV], "crashed", -11, "SIGSEGV", "logs {} --tail 100"),
        (["exit", 139], "crashed", 139, "SIGSEGV", "logs {} --tail 100"),
        (["die", signal.SIGKILL], "killed", -9, "possibly because memory ran out", "resume {}"),
        (["exit", 137], "killed", 137, "possibly because memory ran out", "resume {}"),
        (["exit", 74], "disk_full", 74, "not even its end", "resume {}"),
    ],
)
def test_a_process_that_dies_without_a_word(
    harness: Any, do: list[Any], cause: str, code: int, said: str, remedy: str
) -> None:
    job = harness.end(harness.submit(["print", "before"], do).id)
    assert outcome(job) == (JobState.FAILED, cause, code)
    assert said in job.message and job.next_step and job.remedy == remedy.format(job.id)
    assert harness.log(job.id) == "before\n"


def running(harness: Any) -> Job:
    job = harness.submit(["print", "ready"], ["sleep", 60])
    while "ready" not in harness.log(job.id):
        time.sleep(0.02)
    return Job.model_validate(harness.jobs.get(job.id))


def test_cancelled_by_somebody(harness: Any) -> None:
    job = running(harness)
    harness.jobs.cancel(job.id)
    ended = harness.end(job.id)
    assert outcome(ended) == (JobState.CANCELLED, "cancelled", -signal.SIGTERM)
    assert ended.remedy == f"resume {job.id}"


def test_cancelled_before_it_started(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    job = harness.submit(["print"])
    ended = harness.jobs.cancel(job.id)
    assert outcome(ended) == (JobState.CANCELLED, "cancelled", None)
    assert ended.remedy == f"resume {job.id}"


def test_told_to_end_from_outside(harness: Any) -> None:
    job = harness.submit(["die", signal.SIGTERM])
    ended = harness.end(job.id)
    assert outcome(ended) == (JobState.INTERRUPTED, "terminated", -signal.SIGTERM)
    assert ended.remedy == f"resume {job.id}"


def supervisor(harness: Any, job: Job) -> Any:
    row = harness.local._store.get(job.id)
    return alive_supervisor(harness.local.state.job(job.id).attempt(row.attempt), row.token)


def test_ended_with_its_machine(harness: Any) -> None:
    job = running(harness)
    assert supervisor(harness, job).signal(signal.SIGTERM)
    ended = harness.end(job.id)
    assert (ended.state, ended.cause) == (JobState.INTERRUPTED, "shutdown")
    assert ended.remedy == f"resume {job.id}"


def test_its_supervisor_was_killed(harness: Any) -> None:
    job = running(harness)
    assert supervisor(harness, job).signal(signal.SIGKILL)
    ended = harness.end(job.id)
    assert outcome(ended) == (JobState.INTERRUPTED, "supervisor_lost", None)
    assert ended.remedy == f"resume {job.id}"


def test_it_never_began(harness: Any) -> None:
    """Its supervisor cannot even be loaded, three times."""
    os.environ["PYTHONHOME"] = "/nowhere"
    try:
        job = harness.submit(["print"])
        deadline = time.monotonic() + 60
        while not (now := harness.jobs.get(job.id)).state.ended:
            assert time.monotonic() < deadline
            time.sleep(0.2)
            harness.local.turn()
    finally:
        del os.environ["PYTHONHOME"]
    assert (now.state, now.cause) == (JobState.INTERRUPTED, "lost")
    assert now.remedy == f"resume {job.id}"
    harness.jobs.resume(job.id)
    assert harness.end(job.id).state is JobState.SUCCEEDED


def test_who_makes_room_for_another_job_has_not_failed_and_comes_back(harness: Any) -> None:
    made_room = {"cause": "preempted", "message": "It made room.", "next_step": "It comes back."}
    job = harness.submit([["event", "error", made_room], ["exit", 1]], [["print", "again"]])
    while harness.jobs.get(job.id).attempt == 1:
        time.sleep(0.05)
    first = harness.local._store.attempts(job.id)[0]
    assert (first.state, first.cause) == (JobState.INTERRUPTED, "preempted")
    assert harness.end(job.id, seconds=60).state is JobState.SUCCEEDED


def test_a_worker_of_another_make_may_name_any_cause_and_no_command_of_many_lines(harness: Any) -> None:
    word = {"cause": "moonshine", "message": "m", "next_step": "n", "remedy": "jobs\nimport os"}
    job = harness.end(harness.submit(["event", "error", word], ["exit", 1]).id)
    assert (job.state, job.cause, job.remedy) == (JobState.FAILED, "moonshine", f"logs {job.id} --tail 100")

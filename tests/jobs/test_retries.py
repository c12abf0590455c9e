"""Jobs are retried if that can help: delayed, as a new attempt with its own log, and limited."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ilab_jupyter.jobs.attempt.process import boot_clock
from ilab_jupyter.jobs.queue import retries
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import schema
from tests.support.postgres import ON_BOTH
from tests.support.waiting import until

pytestmark = pytest.mark.slow


def fails(cause: str) -> list[Any]:
    """Return steps of an attempt that prints its cause and ends with it."""
    return [
        ["print", f"ended by {cause}"],
        ["event", "error", {"cause": cause, "message": f"It was {cause}.", "hint": ""}],
        ["exit", 1],
    ]


def second(harness: Any, id: str) -> Job:
    """Return the job once its second attempt waits."""
    until(lambda: harness.jobs.get(id).attempt == 2)
    return harness.jobs.get(id)


def change(harness: Any, id: str, **columns: Any) -> None:
    with harness.local._store.write() as connection:
        connection.execute(sa.update(schema.job).where(schema.job.c.id == id).values(**columns))


@ON_BOTH
def test_preempted_job_starts_again_with_separate_log(harness: Any) -> None:
    job = harness.submit(fails("preempted"), [["print", "second"]])
    waits = second(harness, job.id)
    assert waits.state is JobState.QUEUED
    assert waits.pending_reason.startswith("Retry 1 in ")
    assert waits.position is None and 0 < waits.wait_seconds <= 5
    ended = harness.end(job.id, 40)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
    assert harness.jobs.logs(job.id, attempt=1).text == "ended by preempted\n"
    assert harness.jobs.logs(job.id, attempt=2).text == "second\n"
    first, again = harness.jobs.attempts(job.id)
    assert (first.state, first.cause) == (JobState.INTERRUPTED, "preempted")
    assert (again.why, again.state) == ("retry", JobState.SUCCEEDED)
    assert (again.started_at - first.ended_at).total_seconds() >= 4.5


def test_retried_job_is_never_seen_as_ended(harness: Any) -> None:
    job = harness.submit(fails("preempted"), [["print"]])
    stream = harness.jobs.watch(job.id)
    events = [next(stream)]
    second(harness, job.id)
    change(harness, job.id, due=boot_clock())
    harness.local.turn()
    events += stream
    states = [event.fields["job"]["state"] for event in events if event.type == "state"]
    assert not {"FAILED", "INTERRUPTED"} & set(states)
    assert harness.jobs.get(job.id).state is JobState.SUCCEEDED


def test_rate_limit_retries_back_off(harness: Any) -> None:
    job = harness.submit(fails("teacher_rate_limited"), fails("teacher_rate_limited"), [["print"]])
    waits = second(harness, job.id)
    assert 10 < waits.wait_seconds <= 15
    assert waits.pending_reason.startswith("Retry 1 of 5 in 1")
    assert waits.pending_reason.endswith(" s: the teacher had too many requests.")
    change(harness, job.id, due=boot_clock())
    harness.local.turn()
    until(lambda: harness.jobs.get(job.id).attempt == 3)
    waits = harness.jobs.get(job.id)
    assert 25 < waits.wait_seconds <= 30
    assert waits.pending_reason.startswith("Retry 2 of 5 in ")


def test_resume_after_last_retry_resets_the_count(
    harness: Any,
) -> None:
    harness.local.configure(slots={"batch": 0})
    job = harness.submit(fails("teacher_rate_limited"), fails("teacher_rate_limited"))
    change(harness, job.id, retries=5)
    harness.local.configure(slots={"batch": 1})
    harness.local.turn()
    ended = harness.end(job.id)
    assert (ended.state, ended.attempt, ended.cause) == (JobState.FAILED, 1, "teacher_rate_limited")
    harness.jobs.resume(job.id)
    until(lambda: harness.jobs.get(job.id).attempt == 3)
    assert harness.jobs.get(job.id).pending_reason.startswith("Retry 1 of 5 in ")


def test_permanent_failure_is_not_retried(harness: Any) -> None:
    for cause in ("bad_data", "crashed", "teacher_unreachable"):
        job = harness.submit(fails(cause), [["print"]])
        assert harness.end(job.id).state is JobState.FAILED
        assert harness.jobs.get(job.id).attempt == 1


def test_administrator_can_disable_retries(harness: Any) -> None:
    harness.local.configure(retries=False)
    job = harness.submit(fails("teacher_rate_limited"), [["print"]])
    assert harness.end(job.id).cause == "teacher_rate_limited"
    assert len(harness.jobs.attempts(job.id)) == 1
    preempted = harness.submit(fails("preempted"), [["print"]])
    assert second(harness, preempted.id).state is JobState.QUEUED, "it was only preempted"


def test_waiting_retry_can_be_cancelled(harness: Any) -> None:
    job = harness.submit(fails("preempted"), [["print"]])
    second(harness, job.id)
    assert harness.jobs.cancel(job.id).state is JobState.CANCELLED
    change(harness, job.id, due=boot_clock())
    for _ in range(3):
        harness.local.turn()
        time.sleep(0.3)
    assert harness.jobs.get(job.id).state is JobState.CANCELLED
    assert harness.jobs.logs(job.id).size == 0


def test_cancelled_job_is_not_retried(harness: Any, state: Path) -> None:
    job = harness.submit([["wait_for", str(state / "go")], *fails("preempted")], [["print"]])
    harness.reach(job.id, JobState.RUNNING)
    harness.jobs.cancel(job.id)
    assert harness.end(job.id).state is JobState.CANCELLED


def test_waiting_retry_does_not_block_other_jobs(harness: Any) -> None:
    job = harness.submit(fails("teacher_rate_limited"), [["print"]])
    second(harness, job.id)
    other = harness.submit(["print"])
    assert harness.end(other.id).state is JobState.SUCCEEDED
    assert harness.jobs.get(job.id).state is JobState.QUEUED


def test_retry_starts_without_server_or_kernel(harness: Any, state: Path) -> None:
    job = harness.submit(fails("preempted"), [["write", str(state / "again"), "x"]])
    second(harness, job.id)
    harness.local.close()
    until((state / "again").exists)
    type(harness)(state).end(job.id)


def test_retry_is_due_after_reboot(harness: Any) -> None:
    job = harness.submit(fails("teacher_rate_limited"), [["print"]])
    second(harness, job.id)
    version = harness.jobs.get(job.id).version + 1
    change(harness, job.id, boot_id="another boot", due=boot_clock() + 1e9, version=version)
    harness.local.turn()
    assert harness.end(job.id).state is JobState.SUCCEEDED


def test_long_attempt_resets_the_retry_count(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    store = harness.local._store
    row = store.get(harness.submit(["print"]).id)._replace(retries=5, boot_id=retries.boot_id())
    columns = {"cause": "teacher_rate_limited", "progress": {"step": 7}}
    for spawned, expected in ((boot_clock() - 700, 1), (boot_clock() - 60, None)):
        found = retries.next_attempt(store, row._replace(spawned=spawned), JobState.FAILED, columns)
        assert (found and found["retries"]) == expected
    stuck = row._replace(spawned=boot_clock() - 700)
    assert retries.next_attempt(store, stuck, JobState.FAILED, {**columns, "progress": {}}) is None


@pytest.mark.parametrize("count", [3])
def test_due_in_is_the_time_until_the_next_retry(harness: Any, count: int) -> None:
    assert harness.local.due_in() is None
    jobs = [harness.submit(fails("preempted"), [["print"]]) for _ in range(count)]
    for job in jobs:
        second(harness, job.id)
    assert 0 < harness.local.due_in() <= 5
    for job in jobs:
        assert harness.end(job.id, 40).state is JobState.SUCCEEDED
    assert harness.local.due_in() is None

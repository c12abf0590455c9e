"""Shutdown with the machine: live jobs save their work, nothing starts meanwhile, no job is cancelled."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.container import ends_with_us
from ilab_jupyter.jobs.state import JobState


def test_shutdown_interrupts_live_jobs_only(harness: Any, tmp_path: Path) -> None:
    harness.local.configure(slots={"batch": 2}, grace_seconds=10)
    saves = [tmp_path / f"saved-{number}" for number in range(2)]
    live = [harness.submit(["save_on_term", str(path)], ["print", "on"], ["sleep", 60]) for path in saves]
    waiting = harness.submit(["print", "later"])
    for job in live:
        harness.reach(job.id, JobState.RUNNING)
    while any("on" not in harness.log(job.id) for job in live):
        time.sleep(0.02)
    ended = harness.local.interrupt()
    assert {(job.state, job.cause) for job in ended} == {(JobState.INTERRUPTED, "shutdown")}
    assert {job.id for job in ended} == {job.id for job in live}
    assert all(path.read_text() == "saved" for path in saves)
    time.sleep(1)
    assert harness.local._store.get(waiting.id).state is JobState.QUEUED, (
        "no job starts on a machine that ends"
    )
    harness.local.turn()
    assert harness.end(waiting.id).state is JobState.SUCCEEDED


def test_starting_job_is_interrupted_before_it_works(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(["write", str(tmp_path / "worked"), "x"], ["sleep", 60])
    (ended,) = harness.local.interrupt()
    assert (ended.id, ended.state, ended.cause) == (job.id, JobState.INTERRUPTED, "shutdown")


def test_unresponsive_worker_is_killed_after_grace_period(harness: Any) -> None:
    harness.local.configure(grace_seconds=0.5)
    harness.submit(["ignore_term"], ["print", "deaf"], ["sleep", 60])
    job = harness.jobs.list().jobs[0]
    while "deaf" not in harness.log(job.id):
        time.sleep(0.02)
    began = time.monotonic()
    (ended,) = harness.local.interrupt()
    assert ended.state is JobState.INTERRUPTED and time.monotonic() - began < 5


def test_only_named_jobs_of_the_owner_are_interrupted(harness: Any, state: Path) -> None:
    from ilab_jupyter.jobs.local import LocalJobs

    harness.local.configure(slots={"batch": 2})
    first, second = (harness.submit(["sleep", 60]) for _ in range(2))
    for job in (first, second):
        harness.reach(job.id, JobState.RUNNING)
    other = LocalJobs(state, owner="another-user")
    assert other.interrupt() == []
    other.close()
    assert [job.id for job in harness.local.interrupt([first.id])] == [first.id]
    assert harness.jobs.get(second.id).state is JobState.RUNNING


def test_child_of_a_program_is_not_a_container() -> None:
    assert not ends_with_us()
    script = "from ilab_jupyter.jobs.attempt.container import ends_with_us; print(ends_with_us())"
    command = [sys.executable, "-c", script]
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    below = ["sh", "-c", 'for one in 1; do "$@"; done', "sh", *command]
    try:
        first = subprocess.run([*alone, *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no PID namespaces here")
    assert first.stdout.strip() == "True", "PID 1 of a namespace"
    second = subprocess.run([*alone, *below], capture_output=True, text=True, check=True)
    assert second.stdout.strip() == "True", "a child of a PID 1 that is not an init process"

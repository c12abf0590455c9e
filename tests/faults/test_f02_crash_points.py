"""F2: a process that is killed at any write step of the state machine leaves what the next one can finish."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.process import boot_clock, boot_id
from ilab_jupyter.jobs.state import JobState
from tests.faults.processes import token


def test_a_canceller_that_was_killed_before_its_signal_is_made_up_for(bench: Any, running: Any) -> None:
    job = running()
    store = bench.local._store
    assert store.move(store.get(job.id), JobState.STOPPING, stop_reason="cancel")
    assert bench.end(job.id, seconds=10).state is JobState.CANCELLED, "the supervisor looks at its row"


def test_a_spawner_killed_between_row_and_process_leaves_a_job_that_starts_again_by_itself(
    bench: Any, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    bench.local.configure(slots={"batch": 0})
    job = bench.submit(["write", str(ran), "x"])
    store = bench.local._store
    moved = store.move(
        store.get(job.id), JobState.STARTING, token="0" * 32, boot_id=boot_id(), spawned=boot_clock()
    )
    assert moved is not None
    bench.local.configure(slots={"batch": 1})
    bench.local.turn()
    assert bench.jobs.get(job.id).state is JobState.STARTING, "it might still be coming"
    time.sleep(2.1)
    bench.local.turn()
    ended = bench.end(job.id)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2) and ran.read_text() == "x"
    assert store.attempts(job.id)[0].cause == "lost"


def test_a_supervisor_that_comes_too_late_starts_nothing(bench: Any, state: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    bench.local.configure(slots={"batch": 0})
    job = bench.submit(["write", str(ran), "x"])
    store, mark = bench.local._store, "f" * 32
    starting = store.move(
        store.get(job.id), JobState.STARTING, token=mark, boot_id="another boot", spawned=0.0
    )
    assert starting is not None
    bench.local.turn()  # sees that it is lost, and queues it again
    assert bench.jobs.get(job.id).attempt == 2
    late = [sys.executable, "-m", "ilab_jupyter.jobs.supervisor", str(state), job.id, "1", mark]
    assert subprocess.run(late, timeout=30).returncode == 0
    assert not ran.exists() and bench.jobs.get(job.id).state is JobState.QUEUED


def test_a_job_whose_supervisor_never_starts_is_given_up_after_three_attempts(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("ILAB_JUPYTER_WORKER_PYTHON", sys.exec_prefix + "/bin/python")
    job = bench.submit(["print"])
    deadline = time.monotonic() + 30
    while not bench.jobs.get(job.id).state.ended and time.monotonic() < deadline:
        bench.local.turn()
        time.sleep(0.1)
    ended = bench.jobs.get(job.id)
    assert (ended.state, ended.attempt, ended.cause) == (JobState.INTERRUPTED, 3, "lost")
    assert "supervisor.log" in ended.message


def test_a_second_supervisor_of_the_same_attempt_starts_nothing(
    bench: Any, state: Path, tmp_path: Path
) -> None:
    job = bench.submit(["write", str(tmp_path / "ran"), "x"], ["sleep", 1])
    bench.reach(job.id, JobState.RUNNING)
    command = [
        sys.executable,
        "-m",
        "ilab_jupyter.jobs.supervisor",
        str(state),
        job.id,
        "1",
        token(bench, job.id),
    ]
    assert subprocess.run(command, timeout=60).returncode == 0
    assert bench.end(job.id).state is JobState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x"

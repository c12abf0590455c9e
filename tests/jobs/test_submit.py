"""Submission: durable before it is acknowledged, fast whatever the queue does, and followed by a turn."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Conflict
from ilab_jupyter.jobs.attempt.lock import locked
from ilab_jupyter.jobs.record import JobSpec, Resources
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import submission
from tests.support.jobs import WORKER
from tests.support.waiting import until

SUBMIT = """
import asyncio, os, signal, sys
from pathlib import Path
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
jobs = LocalJobs(Path(sys.argv[1]), worker_module="scripted")
spec = JobSpec(kind="train", arguments={"do": [["print", "done"]]})
job = asyncio.run(jobs.submit(spec))
os.write(1, f"{job.id} {job.state} {job.pending_reason}".encode())
"""


def stored(state: Path) -> dict[str, str]:
    """State by id, read without the engine, which would run the scheduler."""
    with closing(sqlite3.connect(f"file:{state}/jobs.db?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT id, state FROM job"))


def submitted_elsewhere(state: Path, *more: str) -> tuple[str, int]:
    """Return the output and exit code of a process that submits a job."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{WORKER}"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([SUBMIT, *more]), str(state)],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout, done.returncode


def test_scheduler_runs_before_the_submitting_process_exits(state: Path) -> None:
    said, code = submitted_elsewhere(state, "del jobs")
    assert code == 0
    id, answered, reason = said.split(" ", 2)
    assert answered == "QUEUED" and reason == "It has just been queued."
    until(lambda: stored(state) == {id: "SUCCEEDED"})


def test_job_acknowledged_by_killed_process_runs_at_next_turn(harness: Any, state: Path) -> None:
    ids = []
    for _ in range(5):
        said, code = submitted_elsewhere(state, "os.kill(os.getpid(), signal.SIGKILL)")
        assert code == -signal.SIGKILL
        ids.append(said.split()[0])
    assert set(stored(state)) == set(ids)
    for id in ids:
        assert harness.end(id).state is JobState.SUCCEEDED
        assert harness.log(id) == "done\n"


def test_submission_does_not_wait_for_a_scheduler_turn(harness: Any, state: Path) -> None:
    harness.submit(["print"])  # creates the folder
    harness.local._background.flush()
    with locked(state / "turn.lock", 10):
        began = time.monotonic()
        job = harness.submit(["print"])
        assert time.monotonic() - began < 1
        assert stored(state)[job.id] == "QUEUED" and job.state is JobState.QUEUED
    assert harness.end(job.id).state is JobState.SUCCEEDED


def test_refused_parallel_submissions_do_not_affect_others(harness: Any, state: Path) -> None:
    harness.local.configure(slots={"batch": 0})
    harness.submit(["print", "first"], key="taken")

    def submit(number: int) -> str:
        if number % 10:
            return str(harness.submit(["print", number]).id)
        with pytest.raises(Conflict):
            harness.submit(["print", number], key="taken")
        return ""

    with ThreadPoolExecutor(32) as pool:
        ids = [id for id in pool.map(submit, range(100)) if id]
    assert len(set(ids)) == 90
    assert set(ids) < set(stored(state)) and len(stored(state)) == 91
    assert {path.name for path in (state / "jobs").iterdir()} == set(stored(state)), (
        "no folder of a refused one"
    )
    for id in ids:
        assert harness.jobs.get(id).id == id


def test_secrets_are_durable_before_the_row(
    harness: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.local.configure(slots={"batch": 0})
    made_durable: list[tuple[str, int]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        fsync(descriptor)
        made_durable.append((path, len(stored(state))))

    monkeypatch.setattr(os, "fsync", noted)
    job = harness.submit(["print"], secrets={"A_KEY": "secret value"})
    monkeypatch.undo()
    folder = state / "jobs" / job.id
    before = [path for path, rows in made_durable if rows == 0]
    assert any(path.startswith(f"{folder}/.secrets.json.") for path in before), "its bytes"
    assert str(folder) in before, "its name"
    assert str(folder.parent) in before, "and the name of its folder"
    assert json.loads((folder / "secrets.json").read_text()) == {"A_KEY": "secret value"}
    assert (folder / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_digest_of_a_key_equals_that_of_version_1() -> None:
    spec = JobSpec(kind="train", name="a", arguments={"b": [1, 2.5, "ü"], "a": None}, priority=3)
    first = {"arguments": {"a": None, "b": [1, 2.5, "ü"]}, "kind": "train", "name": "a", "priority": 3}
    text = json.dumps({**first, "queue": "batch"}, sort_keys=True)
    assert submission.digest(submission.stored_spec(spec)) == hashlib.sha256(text.encode()).hexdigest()
    asking = spec.model_copy(update={"resources": Resources(gpus=1)})
    assert submission.digest(submission.stored_spec(asking)) != submission.digest(
        submission.stored_spec(spec)
    )


def test_missing_job_folder_is_created_at_start(harness: Any, state: Path) -> None:
    """As after a power cut: the row is durable, the folder of a waiting job need not be."""
    harness.local.configure(slots={"batch": 0})
    job = harness.submit(["print", "here"])
    harness.local._background.flush()
    for path in (state / "jobs" / job.id).iterdir():
        path.unlink()
    (state / "jobs" / job.id).rmdir()
    harness.local.configure(slots={"batch": 1})
    harness.local.turn()
    assert harness.end(job.id).state is JobState.SUCCEEDED
    assert "here" in harness.log(job.id)

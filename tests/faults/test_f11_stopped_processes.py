"""F11: a process that is stopped is not taken for dead, and holds up nobody."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.lock import locked
from ilab_jupyter.jobs.state import JobState
from tests.faults.processes import supervisor


def test_a_stopped_supervisor_is_not_taken_for_dead(bench: Any, running: Any) -> None:
    job = running()
    pid = supervisor(bench, job.id)
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(5):
            bench.local.turn()
            time.sleep(0.2)
        assert bench.jobs.get(job.id).state is JobState.RUNNING
    finally:
        os.kill(pid, signal.SIGCONT)
    bench.jobs.cancel(job.id)
    assert bench.end(job.id).state is JobState.CANCELLED


def test_a_server_that_is_stopped_in_the_middle_of_a_turn_holds_up_nobodys_submission(
    bench: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilab_jupyter.jobs import scheduler

    turn = scheduler.turn
    monkeypatch.setattr(scheduler, "turn", lambda store: turn(store, timeout=0.3))
    with locked(bench.local.state.turn_lock, 5) as got:
        assert got
        job = bench.submit(["print"])
        assert job.state is JobState.QUEUED
    bench.local.turn()
    assert bench.end(job.id).state is JobState.SUCCEEDED

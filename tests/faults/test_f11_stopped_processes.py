"""F11: a process stopped for a minute is not considered dead, and nothing is started in its place."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.attempt.lock import locked
from ilab_jupyter.jobs.attempt.process import with_argument
from ilab_jupyter.jobs.state import LIVE, JobState
from tests.faults.processes import supervisor, token


def keep_turning(harness: Any, seconds: float, look: Callable[[], None] = lambda: None) -> None:
    """Run the scheduler like a server that runs beside the stopped one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(Unavailable):  # the stopped process may hold the database's write lock
            harness.local.turn()
        look()
        time.sleep(0.25)


def test_job_of_stopped_supervisor_is_not_started_again(
    harness: Any, tmp_path: Path, wait: Callable[..., Any], count: Any, figures: Any
) -> None:
    n = count(4, 12)
    pause = 3.0 if n == 4 else 60.0
    harness.local.configure(slots={"batch": n})
    ran = [tmp_path / f"ran-{number}" for number in range(n)]
    go, jobs, stopped = tmp_path / "go", [], []
    try:
        for number in range(n):
            # Every fourth worker ends while its supervisor is stopped, every second guardian is stopped too.
            last = [] if number % 4 == 0 else [["wait_for", str(go)]]
            job = harness.submit(["write", str(ran[number]), "x"], ["sleep", 1.5], *last)
            wait(ran[number].exists)
            both = with_argument(token(harness, job.id))
            assert len(both) == 2
            for pid in both if number % 2 else [supervisor(harness, job.id)]:
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
            jobs.append(job)

        def look() -> None:
            for job in jobs:
                now = harness.jobs.get(job.id)
                assert (now.state, now.attempt) == (JobState.RUNNING, 1), "a live job changed its state"

        keep_turning(harness, pause, look)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    go.touch()
    for job, file in zip(jobs, ran, strict=True):
        ended = harness.end(job.id, seconds=60)
        assert (ended.state, ended.attempt, ended.exit_code) == (JobState.SUCCEEDED, 1, 0)
        assert file.read_text() == "x", "it ran twice"
    figures.add(supervisors_stopped=n, second_starts=0, orphan_verdicts=0)
    figures.put(stopped_seconds=pause)


def test_supervisor_stopped_before_writing_its_record_is_waited_for(
    harness: Any, tmp_path: Path, wait: Callable[..., Any], count: Any, figures: Any
) -> None:
    for number in range(count(1, 2)):
        ran = tmp_path / f"ran-{number}"
        job = harness.submit(["write", str(ran), "x"])
        stopped = wait(lambda id=job.id: (mark := token(harness, id)) and with_argument(mark))
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            keep_turning(harness, 3.0)  # longer than the wait for a killed spawner
            seen = harness.jobs.get(job.id)
            assert seen.attempt == 1 and seen.state in LIVE
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        ended = harness.end(job.id)
        assert (ended.state, ended.attempt, ran.read_text()) == (JobState.SUCCEEDED, 1, "x")
        figures.add(supervisors_stopped=1)


def printed_ids(server: Any) -> list[str]:
    """Return the ids that a server prints before it reports that it is done."""
    ids = []
    while (line := server.stdout.readline().strip()) != "done":
        assert line, f"the server ended before it was done: {server.wait()}"
        ids.append(line)
    return ids


def test_servers_stopped_and_continued_start_nothing_twice(
    harness: Any, servers: Any, tmp_path: Path, count: Any, figures: Any
) -> None:
    n = count(2, 6)
    pause, each = (3.0 if n == 2 else 60.0), 4
    harness.local.configure(slots={"batch": 2})
    ran, go, chance, ids = tmp_path / "ran", tmp_path / "go", random.Random(11), []
    code = f"""
print('ready', flush=True)
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
for n in range({each}):
    submit(['write', {str(ran)!r}, f'{{os.getpid()}}-{{n}}\\n'])
    local.turn()
print('done', flush=True)
while True:
    local.turn()
    time.sleep(0.01)
"""
    started = [servers.start("import os\n" + code) for _ in range(n)]
    for server in started:
        assert server.stdout.readline().strip() == "ready"
    go.touch()
    for server in started:
        # Do not wait: a stopped server may hold the database's write lock.
        time.sleep(chance.random() * 0.1)
        server.send_signal(signal.SIGSTOP)
    try:
        keep_turning(harness, pause)
    finally:
        for server in started:
            server.send_signal(signal.SIGCONT)
    for server in started:
        ids += printed_ids(server)
    assert len(ids) == len(set(ids)) == n * each
    for id in ids:
        ended = harness.end(id, seconds=120)
        assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1)
    times = Counter(ran.read_text().split())
    assert len(times) == n * each and set(times.values()) == {1}
    figures.add(servers_stopped=n, second_starts=0)


def test_server_stopped_during_turn_does_not_block_submissions(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilab_jupyter.jobs.queue import scheduler

    turn = scheduler.turn
    monkeypatch.setattr(scheduler, "turn", lambda store: turn(store, timeout=0.3))
    with locked(harness.local.state.turn_lock, 5) as got:
        assert got
        job = harness.submit(["print"])
        assert job.state is JobState.QUEUED
    harness.local.turn()
    assert harness.end(job.id).state is JobState.SUCCEEDED

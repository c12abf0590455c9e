"""F1: a server killed at any moment loses no job, starts none twice, and its successor tells the truth."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.state import JobState


def test_a_job_outlives_the_kill_of_the_server_that_runs_it(bench: Any, servers: Any, tmp_path: Path) -> None:
    server = servers.start(
        f"submit(['numbered', 50], ['sleep', 1], ['write', {str(tmp_path / 'ran')!r}, 'x'], ['exit', 7])\n"
        "time.sleep(60)"
    )
    id = server.stdout.readline().strip()
    bench.reach(id, JobState.RUNNING)
    server.kill()
    server.wait()
    # Nobody is there any more who could tell: the next one who asks hears the truth.
    time.sleep(0.1)
    assert bench.jobs.get(id).state is JobState.RUNNING
    ended = bench.end(id)
    assert (ended.state, ended.exit_code, ended.attempt) == (JobState.FAILED, 7, 1)
    assert (tmp_path / "ran").read_text() == "x" and bench.log(id).endswith("line 49\n")


def test_the_queue_moves_on_with_no_server_at_all(
    bench: Any, servers: Any, tmp_path: Path, wait: Any
) -> None:
    order = str(tmp_path / "order")
    server = servers.start(
        f"for n in range(4): submit(['sleep', 0.2], ['write', {order!r}, str(n)])\ntime.sleep(60)"
    )
    ids = [server.stdout.readline().strip() for _ in range(4)]
    server.kill()
    server.wait()
    wait(lambda: Path(order).exists() and Path(order).read_text() == "0123")
    assert [bench.end(id).state for id in ids] == [JobState.SUCCEEDED] * 4


def test_a_server_killed_at_any_moment_loses_no_job_it_had_accepted_and_runs_none_twice(
    bench: Any, servers: Any, tmp_path: Path
) -> None:
    bench.local.configure(slots={"batch": 2})
    ran = tmp_path / "ran"
    accepted: list[str] = []
    chance = random.Random(20)
    for _ in range(5):
        server = servers.start(
            f"for n in range(8): submit(['write', {str(ran)!r}, f'{{time.monotonic_ns()}}\\n'])"
        )
        first = server.stdout.readline().strip()
        time.sleep(chance.random() * 0.3)
        server.kill()
        accepted += [first, *server.communicate()[0].split()]
    ids = {job.id for job in bench.jobs.list(limit=500).jobs}
    assert set(accepted) <= ids, "an accepted job is not in the list"
    deadline = time.monotonic() + 60
    while bench.local.active() and time.monotonic() < deadline:
        bench.local.turn()
        time.sleep(0.2)
    for job in bench.jobs.list(limit=500).jobs:
        assert job.state is JobState.SUCCEEDED and job.exit_code == 0, job
    assert len(set(ran.read_text().split())) == len(ran.read_text().split()) == len(ids)

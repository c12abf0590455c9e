"""F12: several servers and kernels on one state folder see the same jobs and start each once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.state import JobState
from tests.faults import actions
from tests.faults.checker import tally
from tests.faults.environment import FaultEnvironment
from tests.faults.history import History
from tests.faults.pool import Pool
from tests.faults.rest_client import RestClient

EACH = 2


def test_two_servers_and_a_kernel_share_one_folder(
    tmp_path: Path, pool: Pool, count: Any, figures: Any
) -> None:
    rounds = count(ci=3, full=50)
    environment = FaultEnvironment(tmp_path / "shared", pool, slots=4)
    folder = environment.folder
    servers = [environment.jupyter() for _ in range(2)]
    pool.start(actions.kernel, folder, rounds, EACH)
    clients = [
        RestClient(environment.address(server), History(folder / f"histories/client-{number}.jsonl"))
        for number, server in enumerate(servers)
    ]
    differences = 0
    for number in range(rounds):
        (folder / f"go-{number}").touch()
        for job in range(EACH):
            for who, client in enumerate(clients):
                client.submit(actions.quick(folder / "world", f"client{who}-{number}-{job}"))
        (folder / f"all-{number}").touch()
        deadline = time.monotonic() + 60
        while not (folder / f"seen-{number}").exists():
            assert time.monotonic() < deadline, "the kernel never saw all jobs end"
            for client in clients:
                client.list()
            time.sleep(0.05)
        seen = [json.loads((folder / f"seen-{number}").read_text())]
        seen += [{job["id"]: job["state"] for job in client.list()} for client in clients]
        differences += any(one != seen[0] for one in seen)
        assert len(seen[0]) == min(100, 3 * EACH * (number + 1))
    world, violations = environment.close()
    figures.add(jobs=len(world.jobs), different_views=differences, **tally(violations))
    assert violations == [] and differences == 0
    assert {row["state"] for row in world.jobs.values()} == {"SUCCEEDED"}
    assert {row["attempt"] for row in world.jobs.values()} == {1}


def test_two_servers_see_and_cancel_the_same_jobs(harness: Any, servers: Any, state: Path) -> None:
    server = servers.start("submit(['sleep', 60])\ntime.sleep(60)")
    id = server.stdout.readline().strip()
    harness.reach(id, JobState.RUNNING)
    harness.jobs.cancel(id)
    assert harness.end(id).state is JobState.CANCELLED


def test_second_service_in_a_process_keeps_locks_of_the_first(harness: Any, state: Path) -> None:
    """Without its lock, a database in use looks unused to other processes, which then remove its journal."""

    def locks() -> int:
        inode = (state / "jobs.db").stat().st_ino
        held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return sum(
            line[4] == str(os.getpid()) and line[5].endswith(f":{inode}") for line in held if "->" not in line
        )

    harness.submit(["print"])
    before = locks()
    assert before
    type(harness)(state).local.close()
    assert locks() == before

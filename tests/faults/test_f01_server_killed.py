"""F1: a server killed at any moment loses no job and starts none twice; its successor is correct."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.state import ENDS, JobState
from tests.faults import actions, history
from tests.faults.checker import Violation, tally
from tests.faults.environment import FaultEnvironment
from tests.faults.pool import Pool

KILLS_A_WORLD = 50
VISITED = 10


def unanswered(histories: Path) -> list[dict[str, Any]]:
    """Return submissions without a response, which a client sends again under the same key."""
    calls: dict[tuple[str, int], dict[str, Any]] = {}
    for entry in history.read(histories):
        if entry["phase"] == "invoke" and entry["what"] == "submit":
            names = ("tag", "world", "seconds", "exit", "save_seconds")
            calls[entry["client"], entry["op"]] = {name: entry[name] for name in names}
        elif (entry["client"], entry["op"]) in calls:
            done = calls.pop((entry["client"], entry["op"]))["tag"]
            calls = {call: given for call, given in calls.items() if given["tag"] != done}
    return list({given["tag"]: given for given in calls.values()}.values())


def kill_servers(pool: Pool, folder: Path, chance: random.Random, kills: int, first: int) -> None:
    """Run two servers at a time; each is killed at a random moment and replaced."""
    live: list[Any] = []
    for number in range(first, first + kills):
        again = unanswered(folder / "histories") if chance.random() < 0.3 else []
        live.append(pool.start(actions.serve, folder, number, again))
        if len(live) == 2:
            time.sleep(chance.random() * 0.7)
            pool.kill(live.pop(chance.randrange(2)))
    for process in live:
        pool.kill(process)


def kill_jupyter_servers(
    pool: Pool, environment: FaultEnvironment, chance: random.Random, kills: int, first: int
) -> None:
    """Run one Jupyter server at a time, with a REST client."""
    folder = environment.folder
    for number in range(first, first + kills):
        server = environment.jupyter()
        client = pool.start(actions.rest_calls, folder, number, server.pid, unanswered(folder / "histories"))
        environment.address(server)
        time.sleep(chance.random() * 1.0)
        pool.kill(server)
        client.join(30)
        assert client.exitcode == 0, "the client over REST was states something impossible"
        pool.kill(client)


def test_servers_killed_at_random_neither_lose_nor_repeat_jobs(
    tmp_path: Path, pool: Pool, count: Any, figures: Any
) -> None:
    kills = count(ci=50, full=1000)
    found: list[Violation] = []
    for first in range(0, kills, KILLS_A_WORLD):
        environment = FaultEnvironment(tmp_path / f"world-{first}", pool)
        chance = random.Random(first)
        here = min(KILLS_A_WORLD, kills - first)
        rest_kills = here // VISITED
        kill_jupyter_servers(pool, environment, chance, rest_kills, first)
        kill_servers(pool, environment.folder, chance, here - rest_kills, first + rest_kills)
        took, late = environment.settle(first)
        world, violations = environment.close(late=late)
        found += violations
        figures.add(kills=here, jupyter_kills=rest_kills, jobs=len(world.jobs), attempts=len(world.attempts))
        figures.add(**tally(violations))
        figures.most(slowest_end_s=took)
        states = Counter(str(row["state"]) for row in world.jobs.values())
        figures.add(**{state.lower(): states[state] for state in sorted(ENDS)})
    assert found == []


def test_job_survives_kill_of_its_server(harness: Any, servers: Any, tmp_path: Path) -> None:
    server = servers.start(
        f"submit(['lines', 50], ['sleep', 1], ['write', {str(tmp_path / 'ran')!r}, 'x'], ['exit', 7])\n"
        "time.sleep(60)"
    )
    id = server.stdout.readline().strip()
    harness.reach(id, JobState.RUNNING)
    server.kill()
    server.wait()
    # No server is left: the next process that reads the job sees its outcome.
    time.sleep(0.1)
    assert harness.jobs.get(id).state is JobState.RUNNING
    ended = harness.end(id)
    assert (ended.state, ended.exit_code, ended.attempt) == (JobState.FAILED, 7, 1)
    assert (tmp_path / "ran").read_text() == "x" and harness.log(id).endswith("line 49\n")


def test_queue_continues_without_any_server(harness: Any, servers: Any, tmp_path: Path, wait: Any) -> None:
    order = str(tmp_path / "order")
    server = servers.start(
        f"for n in range(4): submit(['sleep', 0.2], ['write', {order!r}, str(n)])\ntime.sleep(60)"
    )
    ids = [server.stdout.readline().strip() for _ in range(4)]
    harness.reach(ids[0], JobState.RUNNING)
    server.kill()
    server.wait()
    wait(lambda: Path(order).exists() and Path(order).read_text() == "0123")
    assert [harness.end(id).state for id in ids] == [JobState.SUCCEEDED] * 4

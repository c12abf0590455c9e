"""F16: one submission sent a hundred times at once under one idempotency key creates one job."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from ilab_jupyter.jobs.sync import SyncJobs
from tests.faults import actions, history
from tests.faults.environment import FaultEnvironment
from tests.faults.history import Client, History
from tests.faults.pool import Pool

PARALLEL = 100


def test_parallel_submissions_with_one_key_create_one_job(
    tmp_path: Path, pool: Pool, count: Any, figures: Any
) -> None:
    environment = FaultEnvironment(tmp_path / "keyed", pool, slots=0)
    url = environment.address(environment.jupyter())
    rounds = count(ci=3, full=100)
    headers = {"Authorization": "token t"}

    async def send(http: httpx.AsyncClient, number: int, seconds: float, which: int) -> httpx.Response:
        given = {**actions.quick(environment.folder / "world", f"key-{number}"), "seconds": seconds}
        body = {"kind": "train", "arguments": history.train_arguments(given)}
        key = f"key-{number}"
        if which % 2:
            return await http.post("jobs", json={**body, "key": key})
        return await http.post("jobs", json=body, headers={"Idempotency-Key": key})

    async def all_rounds() -> None:
        limits = httpx.Limits(max_connections=PARALLEL)
        async with httpx.AsyncClient(
            base_url=f"{url}ilab/api/", headers=headers, limits=limits, timeout=120
        ) as http:
            for number in range(rounds):
                answers = await asyncio.gather(
                    *(send(http, number, 0.05, which) for which in range(PARALLEL))
                )
                codes = {answer.status_code for answer in answers}
                bodies = {answer.text for answer in answers}
                another = await send(http, number, 0.06, 0)
                figures.add(posts=PARALLEL, answers_that_differ=len(bodies) - 1)
                assert codes == {202} and len(bodies) == 1, bodies
                assert another.status_code == 409, "the same key for another job is refused"

    asyncio.run(all_rounds())
    environment.local.configure(slots={"batch": 4})
    _, late = environment.settle(0)
    # A hundred queued jobs take longer than the limit of a restart: waiting ones are cancelled.
    client = Client(SyncJobs(environment.local), History(environment.folder / "histories/canceller.jsonl"))
    for id in late:
        client.cancel(id)
    environment.settle(1)
    world, violations = environment.close()
    figures.add(jobs=len(world.jobs), violations=len(violations))
    tags = sorted(row["arguments"]["tag"] for row in world.jobs.values())
    assert violations == []
    assert tags == sorted(f"key-{number}" for number in range(rounds))
    starts = [one["job"] for one in world.workers if one["what"] == "start"]
    assert len(starts) == len(set(starts)) > 0

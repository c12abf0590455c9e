"""The control plane of this project, measured from outside: submitting, listing, the first line of a log."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from control.server import Client, Server

STATES = ("SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "CANCELLED", "INTERRUPTED")


def job(seconds: float) -> dict[str, Any]:
    """The body that submits a job of the scripted worker."""
    return {"kind": "train", "arguments": {"data": [str(seconds)]}}


async def submit(client: Client, body: dict[str, Any]) -> str:
    """The id of a new job."""
    status, answer = await client.call("POST", "ilab/api/jobs", body)
    if status != 202:
        raise RuntimeError(f"{status}: {answer}")
    return str(answer["id"])


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    await call()
    return (time.perf_counter() - began) * 1000


async def warm(port: int) -> None:
    """Warm up the server with first requests, and fill the one slot."""
    client = Client(port)
    id = await submit(client, job(3600))
    for _ in range(20):
        await client.call("GET", f"ilab/api/jobs/{id}")
        await client.call("GET", "ilab/api/jobs")
    client.close()


async def open_loop(port: int, clients: int, rate: float, seconds: float) -> list[float]:
    """Milliseconds from the moment when a submission was due until its answer.

    Each client has one connection and submits at a fixed pace, whether or not the server keeps up: the time
    for which a submission waits in its client counts.
    """
    taken: list[float] = []
    period = clients / rate
    await warm(port)
    start = time.perf_counter() + 1

    async def one(number: int) -> None:
        client = Client(port)
        await client.call("GET", "ilab/api/info")
        for turn in range(int(seconds / period)):
            due = start + (turn + number / clients) * period
            early = due - time.perf_counter()
            if early > 0:
                await asyncio.sleep(early)
            # The client's own timer may be a millisecond late, which is not the server's latency.
            began = time.perf_counter() if early > 0 else due
            await submit(client, job(3600))
            taken.append((time.perf_counter() - began) * 1000)
        client.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return taken


async def closed_loop(port: int, clients: int, each: int) -> tuple[list[float], float]:
    """(milliseconds of each submission, submissions a second): every client sends the next one at once."""
    taken: list[float] = []
    await warm(port)

    async def one() -> None:
        client = Client(port)
        for _ in range(each):
            taken.append(await timed(lambda: submit(client, job(3600))))
        client.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return taken, clients * each / (time.perf_counter() - began)


async def first_lines(port: int, count: int, body: dict[str, Any]) -> list[float]:
    """Seconds from sending a submission until the first log line is at a client that follows the stream."""
    client = Client(port)
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        id = await submit(client, body)
        await asyncio.wait_for(client.first(f"ilab/api/jobs/{id}/events?log_offset=0", b"log"), 60)
        taken.append(time.perf_counter() - began)
        await client.call("POST", f"ilab/api/jobs/{id}/cancel", {})
        while not (await client.call("GET", f"ilab/api/jobs/{id}"))[1]["ended_at"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    client.close()
    return taken


def fill(server: Server, ended: int, waiting: int) -> None:
    """Copy the newest job until there are so many, as if they had been submitted a second apart."""
    from ilab_jupyter.jobs.store.row import seal

    with closing(sqlite3.connect(server.state / "jobs.db", timeout=60)) as database:
        columns = [column for _, column, *_ in database.execute("PRAGMA table_info(job)")]
        newest = database.execute("SELECT * FROM job ORDER BY seq DESC LIMIT 1").fetchone()
        model = dict(zip(columns, newest, strict=True))
        first = model["seq"] + 1

        def row(number: int) -> tuple[Any, ...]:
            queued = number >= ended
            state = "QUEUED" if queued else STATES[number % len(STATES)]
            values = {
                **model,
                "seq": first + number,
                "id": f"train-{first + number:08d}".translate(str.maketrans("0189", "wxyz")),
                "name": f"nightly run {number}",
                "state": state,
                "kind": "generate" if number % 7 == 0 else "train",
                "created": model["created"] + number,
                "started": None if queued else model["created"] + number,
                "ended": None if queued else model["created"] + number + 60,
                "cause": None if queued or state == "SUCCEEDED" else "crashed",
            }
            return (*(values | {"seal": seal(values)}).values(),)

        # The benchmark's own names, not user input.
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with database:
            database.executemany(
                f"INSERT INTO job ({names}) VALUES ({marks})",
                map(row, range(ended + waiting)),
            )


def pages(ended: int) -> dict[str, str]:
    """The list queries at that length, by name."""
    return {
        "first page": "ilab/api/jobs?limit=50",
        "state=RUNNING, one old job": "ilab/api/jobs?limit=50&state=RUNNING",
        "state=FAILED": "ilab/api/jobs?limit=50&state=FAILED",
        "kind=generate": "ilab/api/jobs?limit=50&kind=generate",
        "state=FAILED, kind=generate": "ilab/api/jobs?limit=50&state=FAILED&kind=generate",
        "text that many have": "ilab/api/jobs?limit=50&text=nightly",
        "text that one old job has": f"ilab/api/jobs?limit=50&text=run+{ended // 1000 + 7}",
        "text that none has": "ilab/api/jobs?limit=50&text=no-such-job",
    }


async def lists(port: int, count: int, ended: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of list over REST."""
    client = Client(port)
    found = {}
    for name, path in pages(ended).items():
        for _ in range(3):
            status, answer = await client.call("GET", path)
            assert status == 200 and (answer["jobs"] or "none" in name), (name, status, answer)
        found[name] = [await timed(lambda path=path: client.call("GET", path)) for _ in range(count)]
    client.close()
    return found


def service_list(state: Path, count: int) -> list[float]:
    """Milliseconds of the first page at the service itself, without HTTP."""
    from ilab_jupyter.jobs.local import LocalJobs

    async def measure() -> list[float]:
        jobs = LocalJobs(state)
        await jobs.list(limit=50)
        taken = [await timed(lambda: jobs.list(limit=50)) for _ in range(count)]
        jobs.close()
        return taken

    return asyncio.run(measure())

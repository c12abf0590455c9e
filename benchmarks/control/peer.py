"""The same work in jupyter-scheduler, a scheduler of notebooks in a Jupyter server, where it can do it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from control.ours import timed
from control.server import Client, Server

ENVIRONMENTS = "jupyter_scheduler.environments.StaticEnvironmentManager"
NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "execution_count": None, "id": "one", "metadata": {}, "outputs": [],
         "source": "print('first line')"}
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}  # fmt: skip
VERSIONS = (
    "import importlib.metadata as m; print(m.version('jupyter-scheduler'), m.version('jupyter-server'))"
)


def versions(python: Path) -> dict[str, str]:
    """Versions in the environment of the interpreter."""
    versions = subprocess.run(
        [python, "-c", VERSIONS], capture_output=True, text=True, check=True
    ).stdout.split()
    return {"jupyter-scheduler": versions[0], "its jupyter-server": versions[1]}


def start(python: Path) -> Server:
    """A server with it."""
    server = Server(
        "jupyter_scheduler",
        python=str(python),
        scripted=False,
        options=(f"--SchedulerApp.environment_manager_class={ENVIRONMENTS}",),
    )
    (server.folder / "one.ipynb").write_text(json.dumps(NOTEBOOK))
    return server


def _body() -> dict[str, Any]:
    return {
        "name": "one", "input_uri": "one.ipynb", "runtime_environment_name": "jupyterlab-env",
        "runtime_environment_parameters": {}, "output_formats": ["ipynb"], "parameters": {},
    }  # fmt: skip


async def submissions(port: int, count: int) -> tuple[list[float], list[float]]:
    """(milliseconds of each submission, seconds until its output is there), one job after another."""
    client = Client(port)
    taken, done = [], []
    for _ in range(count):
        began = time.perf_counter()
        status, answer = await client.call("POST", "scheduler/jobs", _body())
        taken.append((time.perf_counter() - began) * 1000)
        assert status == 200, answer
        while True:
            _, job = await client.call("GET", f"scheduler/jobs/{answer['job_id']}")
            if job["status"] in ("COMPLETED", "FAILED"):
                break
            await asyncio.sleep(0.05)
        assert job["status"] == "COMPLETED", job
        done.append(time.perf_counter() - began)
    client.close()
    return taken, done


def fill(server: Server, count: int) -> None:
    """Copy the newest job until there are so many."""
    with closing(sqlite3.connect(server.folder / "data" / "scheduler.sqlite", timeout=60)) as database:
        columns = [column for _, column, *_ in database.execute("PRAGMA table_info(jobs)")]
        model = dict(zip(columns, database.execute("SELECT * FROM jobs LIMIT 1").fetchone(), strict=True))

        def row(number: int) -> tuple[Any, ...]:
            other = {
                "job_id": str(uuid.UUID(int=number)),
                "create_time": model["create_time"] + number * 1000,
            }
            return tuple(other.get(name, model[name]) for name in columns)

        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with database:
            database.executemany(
                f"INSERT INTO jobs ({names}) VALUES ({marks})",
                map(row, range(1, count + 1)),
            )


async def lists(port: int, count: int) -> list[float]:
    """Milliseconds of the first page over REST."""
    client = Client(port)
    path = "scheduler/jobs?max_items=50"
    for _ in range(2):
        status, answer = await client.call("GET", path)
        assert status == 200 and len(answer["jobs"]) == 50
    taken = [await timed(lambda: client.call("GET", path)) for _ in range(count)]
    client.close()
    return taken

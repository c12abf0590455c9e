"""Actions of the processes in the fault suite: servers, their clients, scheduler turns."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import httpx

from ilab_jupyter.jobs.attempt.lock import is_held
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from tests.faults.history import Client, History
from tests.faults.rest_client import RestClient, address

CONCURRENT = 5
# JupyterLab takes longer to load than everything else, and is not used here.
EXTENSIONS = {"ilab_jupyter": True, "jupyterlab": False, "jupyter_lsp": False}


def arguments(chance: random.Random, world: Path, tag: str) -> dict[str, Any]:
    """Return arguments of a fake trainer: 0.2 to 5 s, mostly short; a third of them fail."""
    seconds = 0.2 + min(4.8, chance.expovariate(3.0))
    return {
        **{"tag": tag, "world": str(world), "seconds": round(seconds, 3)},
        **{"exit": chance.choice((0, 0, 0, 0, 7, -9)), "save_seconds": round(chance.random() * 0.2, 3)},
    }


def serve(folder: Path, number: int, unanswered: list[dict[str, Any]]) -> None:
    """Run a server that submits, reads, cancels, resumes and schedules until it is killed.

    `unanswered` submissions of killed servers are sent again under their keys.
    """
    chance = random.Random(number)
    world = folder / "world"
    local = LocalJobs(folder / "state", worker_python=str(folder / "trainer"))
    client = Client(SyncJobs(local), History(folder / "histories" / f"server-{number}.jsonl"))
    local.turn()
    for again in unanswered:
        client.submit(again)
    sent = 0
    while True:
        what = chance.random()
        if local.active() <= CONCURRENT:
            sent += 1
            client.submit(arguments(chance, world, f"{number}-{sent}"))
        elif what < 0.3:
            local.turn()
        else:
            jobs = client.list()
            job = chance.choice(jobs)
            if what < 0.4:
                client.cancel(job.id)
            elif what < 0.7 and job.state.resumable:
                client.resume(job.id)
            else:
                client.get(job.id)
        time.sleep(chance.random() * 0.02)


def recover(folder: Path, number: int) -> None:
    """Run a server that only reads the jobs and runs the scheduler."""
    local = LocalJobs(folder / "state", worker_python=str(folder / "trainer"))
    client = Client(SyncJobs(local), History(folder / "histories" / f"recover-{number}.jsonl"))
    while True:
        local.turn()
        client.list()
        time.sleep(0.1)


def jupyter(folder: Path, *more: str) -> None:
    """A real Jupyter server with the extension."""
    from jupyter_server.serverapp import ServerApp

    ServerApp.launch_instance(
        [
            *("--no-browser", "--allow-root", "--port=0", "--log-level=ERROR", "--IdentityProvider.token=t"),
            *(f"--ServerApp.root_dir={folder}", f"--ServerApp.jpserver_extensions={EXTENSIONS}"),
            *(f"--IlabApp.worker_python={folder / 'trainer'}", f"--IlabApp.state_dir={folder / 'state'}"),
            *more,
        ]
    )


def rest_calls(folder: Path, number: int, pid: int, unanswered: list[dict[str, Any]]) -> None:
    """Run a REST client, like `serve`, until the server is killed."""
    chance = random.Random(number)
    history = History(folder / "histories" / f"client-{number}.jsonl")
    client = RestClient(address(folder / "runtime", pid), history)
    sent = 0
    try:
        for again in unanswered:
            client.submit(again)
        while True:
            jobs = client.list()
            if sum(not job["ended"] for job in jobs) <= CONCURRENT:
                sent += 1
                client.submit(arguments(chance, folder / "world", f"{number}-{sent}"))
            elif jobs:
                job, what = chance.choice(jobs), chance.random()
                verb = "cancel" if what < 0.2 else "resume" if what < 0.4 and job["ended"] else "get"
                path = f"jobs/{job['id']}" + ("" if verb == "get" else f"/{verb}")
                client.call(verb, "GET" if verb == "get" else "POST", path, {"id": job["id"]})
            time.sleep(chance.random() * 0.02)
    except httpx.TransportError:
        return


def kernel(folder: Path, rounds: int, each: int) -> None:
    """Run a kernel with its own service.

    In each round it submits jobs, runs the scheduler until all ended, and writes what it then sees to a file.
    """
    local = LocalJobs(folder / "state", worker_python=str(folder / "trainer"))
    client = Client(SyncJobs(local), History(folder / "histories" / "kernel.jsonl"))
    for number in range(rounds):
        while not (folder / f"go-{number}").exists():
            time.sleep(0.005)
        for job in range(each):
            client.submit(quick(folder / "world", f"kernel-{number}-{job}"))
        while not (folder / f"all-{number}").exists() or local.active():
            local.turn()
            time.sleep(0.01)
        sees = {job.id: str(job.state) for job in client.list()}
        (folder / "seen.part").write_text(json.dumps(sees))
        (folder / "seen.part").rename(folder / f"seen-{number}")


def quick(world: Path, tag: str) -> dict[str, Any]:
    """Return arguments of a short fake training."""
    return {"tag": tag, "world": str(world), "seconds": 0.05, "exit": 0, "save_seconds": 0}


def once(folder: Path, role: str, what: str, subject: Any) -> None:
    """Make one client call, or one scheduler turn, in a process that may be killed at a step."""
    from tests.faults.crash import sitecustomize

    if "ILAB_CRASH_UNDER" in os.environ:
        sitecustomize.install(role)
    local = LocalJobs(folder / "state", worker_python=str(folder / "trainer"))
    client = Client(SyncJobs(local), History(folder / "histories" / f"{role}-{os.getpid()}.jsonl"))
    if what == "turn":
        local.turn()
    else:
        job = getattr(client, what)(subject)
        # The scheduler may run in its own thread.
        deadline = time.monotonic() + 5
        while local._store.get(job.id).state is JobState.QUEUED and time.monotonic() < deadline:
            time.sleep(0.01)
    while is_held(local.state.turn_lock):
        time.sleep(0.01)
    os._exit(0)

"""The end of a server whose jobs cannot outlive it: real trainings save, are INTERRUPTED, and go on later."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import JupyterServerProcess
from tests.support.waiting import until

pytestmark = pytest.mark.slow

GRACE = 20.0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., JupyterServerProcess]]:
    """Servers on the same folders, one after the other."""
    servers: list[JupyterServerProcess] = []

    def start(*settings: str, python: Path | None = None) -> JupyterServerProcess:
        server = JupyterServerProcess(tmp_path, f"--IlabApp.grace_seconds={GRACE}", *settings, python=python)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.leave()


def submit(server: JupyterServerProcess, **arguments: Any) -> str:
    answer = server.http.post("ilab/api/jobs", json={"kind": "train", "arguments": arguments})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def train(server: JupyterServerProcess, folder: Path) -> str:
    """A real training of the starter that would take a long time."""
    words = folder / "words.jsonl"
    with words.open("w") as file:
        for n in range(200):
            said = {"user": f"What is {n}?", "assistant": f"It is {n}."}
            row = {"messages": [{"role": role, "content": text} for role, text in said.items()]}
            file.write(json.dumps(row) + "\n")
    return submit(server, model="starter", data=[str(words)], epochs=200, device="cpu")


def at_step(server: JupyterServerProcess, id: str, step: int) -> int:
    def look() -> int:
        job = server.http.get(f"ilab/api/jobs/{id}").json()
        assert not job["ended_at"], job
        return int(job["progress"]["step"]) if job["progress"]["step"] >= step else 0

    return int(until(look, 120))


def test_stopping_server_saves_training_and_next_server_resumes_it(
    started: Callable[..., JupyterServerProcess], tmp_path: Path
) -> None:
    server = started("--IlabApp.stop_jobs=always", python=Path(sys.executable))
    id = train(server, tmp_path)
    reached = at_step(server, id, 2)
    # Had it taken longer than the grace period, the training would have been killed before it had saved.
    server.stop(GRACE + 60)
    assert f"{id} is INTERRUPTED (shutdown)" in server.log
    server = started("--IlabApp.stop_jobs=always", python=Path(sys.executable))
    again = until(lambda: (job := server.http.get(f"ilab/api/jobs/{id}").json())["attempt"] == 2 and job, 10)
    assert again["state"] in ("QUEUED", "STARTING", "RUNNING")
    further = at_step(server, id, reached)
    assert further >= reached
    log = server.http.get(f"ilab/api/jobs/{id}/log").json()["text"]
    assert "continuing after step" in log
    attempts = server.http.get(f"ilab/api/jobs/{id}/attempts").json()["attempts"]
    assert [(attempt["why"], attempt["cause"]) for attempt in attempts] == [
        ("submitted", "shutdown"),
        ("restart", None),
    ]
    actors = [
        (entry["actor"], entry["action"])
        for entry in server.http.get("ilab/api/audit").json()["entries"]
        if entry["target"] == id
    ]
    assert ("ilab-jupyter", "retry") in actors, actors
    server.http.post(f"ilab/api/jobs/{id}/cancel")


def test_a_server_beside_which_jobs_live_on_leaves_them_alone(
    started: Callable[..., JupyterServerProcess],
) -> None:
    server = started()
    id = submit(server, data=["step:2/9", "sleep:60"])
    at_step(server, id, 2)
    server.stop(20)
    assert "save their work" not in server.log
    server = started()
    job = server.http.get(f"ilab/api/jobs/{id}").json()
    assert (job["state"], job["attempt"]) == ("RUNNING", 1)
    server.http.post(f"ilab/api/jobs/{id}/cancel")


def test_cancelled_jobs_are_not_resumed_and_resuming_can_be_disabled(
    started: Callable[..., JupyterServerProcess],
) -> None:
    server = started("--IlabApp.stop_jobs=always", "--IlabApp.slots={'batch': 2}")
    cancelled, stopped = (submit(server, data=["step:2/9", "sleep:60"]) for _ in range(2))
    for id in (cancelled, stopped):
        at_step(server, id, 2)
    server.http.post(f"ilab/api/jobs/{cancelled}/cancel")
    until(lambda: server.http.get(f"ilab/api/jobs/{cancelled}").json()["ended_at"])
    server.stop(GRACE)
    server = started("--IlabApp.resume_at_start=False")
    time.sleep(1)

    def outcome(id: str) -> tuple[str, str, int]:
        job = server.http.get(f"ilab/api/jobs/{id}").json()
        return job["state"], job["cause"], job["attempt"]

    assert outcome(cancelled) == ("CANCELLED", "cancelled", 1)
    assert outcome(stopped) == ("INTERRUPTED", "shutdown", 1)
    server.stop(20)
    server = started()
    until(lambda: outcome(stopped)[2] == 2)
    assert outcome(cancelled) == ("CANCELLED", "cancelled", 1)
    server.http.post(f"ilab/api/jobs/{stopped}/cancel")

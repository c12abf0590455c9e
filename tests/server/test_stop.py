"""The end of a server whose jobs cannot outlive it: real trainings save, are INTERRUPTED, and go on later."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.process import Process, wait_for

GRACE = 20.0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Servers with the real worker, and the words that they are to teach."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n}?"},
                {"role": "assistant", "content": f"It is {n}."},
            ]
        }
        for n in range(200)
    ]
    (tmp_path / "words.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    servers: list[Process] = []

    def start(*settings: str) -> Process:
        server = Process(tmp_path, f"--IlabApp.grace_seconds={GRACE}", *settings, python=Path(sys.executable))
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()


def train(server: Process, folder: Path, **arguments: Any) -> str:
    todo = {
        "model": "starter",
        "data": [str(folder / "words.jsonl")],
        "epochs": 200,
        "device": "cpu",
        **arguments,
    }
    answer = server.http.post("ilab/api/jobs", json={"kind": "train", "arguments": todo})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def at_step(server: Process, id: str, step: int) -> int:
    def look() -> int:
        job = server.http.get(f"ilab/api/jobs/{id}").json()
        assert not job["ended_at"], job
        return int(job["progress"]["step"]) if job["progress"]["step"] >= step else 0

    return int(wait_for(look, 90))


def test_a_server_that_is_told_to_stop_lets_its_training_save_and_the_next_one_goes_on_from_there(
    started: Callable[..., Process], tmp_path: Path
) -> None:
    server = started("--IlabApp.stop_jobs=always")
    id = train(server, tmp_path)
    reached = at_step(server, id, 5)
    began = time.monotonic()
    server.stop(GRACE + 10)
    assert time.monotonic() - began < GRACE
    assert f"{id} is INTERRUPTED (shutdown)" in server.log
    server = started("--IlabApp.stop_jobs=always")
    again = wait_for(
        lambda: (job := server.http.get(f"ilab/api/jobs/{id}").json())["attempt"] == 2 and job, 10
    )
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
    started: Callable[..., Process], tmp_path: Path
) -> None:
    server = started()
    id = train(server, tmp_path)
    at_step(server, id, 2)
    server.stop(10)
    assert "asked to save" not in server.log
    server = started()
    job = server.http.get(f"ilab/api/jobs/{id}").json()
    assert (job["state"], job["attempt"]) == ("RUNNING", 1)
    server.http.post(f"ilab/api/jobs/{id}/cancel")


def test_a_job_that_somebody_cancelled_is_not_taken_up_again(
    started: Callable[..., Process], tmp_path: Path
) -> None:
    server = started("--IlabApp.stop_jobs=always")
    id = train(server, tmp_path)
    at_step(server, id, 2)
    server.http.post(f"ilab/api/jobs/{id}/cancel")
    wait_for(lambda: server.http.get(f"ilab/api/jobs/{id}").json()["ended_at"])
    server.stop(10)
    server = started("--IlabApp.stop_jobs=always")
    time.sleep(2)
    job = server.http.get(f"ilab/api/jobs/{id}").json()
    assert (job["state"], job["attempt"]) == ("CANCELLED", 1)


def test_who_wants_no_job_taken_up_again_says_so(started: Callable[..., Process], tmp_path: Path) -> None:
    server = started("--IlabApp.stop_jobs=always")
    id = train(server, tmp_path)
    at_step(server, id, 2)
    server.stop(GRACE)
    server = started("--IlabApp.resume_at_start=False")
    time.sleep(2)
    job = server.http.get(f"ilab/api/jobs/{id}").json()
    assert (job["state"], job["cause"], job["attempt"]) == ("INTERRUPTED", "shutdown", 1)

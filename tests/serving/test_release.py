"""A deployment that nobody asks makes room for a waiting job; one that is answering never does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ilab_jupyter.client.inference import find, read_endpoint
from ilab_jupyter.durable import write_json
from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.device import Device
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec
from ilab_jupyter.serving import server
from ilab_jupyter.serving.answers import application
from ilab_jupyter.serving.handlers import Service
from ilab_jupyter.serving.server import Preempted
from ilab_jupyter.starter import FOLDER

pytestmark = pytest.mark.slow

GREETING = [{"role": "user", "content": "Hello!"}]


def ask(running: Any) -> None:
    """Leave the note that the scheduler leaves."""
    write_json(
        running.folder / "release.json", {"for": "train-abc", "requested": "2026-01-01T00:00:00+00:00"}
    )


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


@pytest.fixture
def frequent_look(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds between two looks at the note; a tenth of the product's."""
    monkeypatch.setattr(server, "RELEASE_LOOK", 0.1)
    return server.RELEASE_LOOK


def test_idle_deployment_ends_on_request_without_endpoint(serve_model: Any, frequent_look: float) -> None:
    with serve_model(FOLDER, idle_seconds=0, ends_with=Preempted) as running:
        time.sleep(5 * frequent_look)
        assert running.thread.is_alive(), "it ended before the note was there"
        ask(running)
        running.thread.join(30)
        assert not running.thread.is_alive()
        assert read_endpoint(running.folder) is None


def test_deployment_stays_until_idle_long_enough(serve_model: Any, frequent_look: float) -> None:
    with serve_model(FOLDER, idle_seconds=4, ends_with=Preempted) as running:
        ask(running)
        for _ in range(3):
            answered = running.post("chat/completions", {"model": "model", "messages": GREETING})
            assert answered.status_code == 200
            asked = time.monotonic()
            time.sleep(1.6)
            assert running.thread.is_alive()
        running.thread.join(60)
        assert not running.thread.is_alive()
        assert time.monotonic() - asked >= 4


def test_it_never_goes_in_the_middle_of_a_stream(
    serve_model: Any, babbler: Path, frequent_look: float
) -> None:
    with serve_model(babbler, idle_seconds=0, max_tokens=90_000, ends_with=Preempted) as running:
        body = {"model": "model", "messages": GREETING, "stream": True, "max_tokens": 3000}
        with httpx.stream(
            "POST",
            f"{running.endpoint.url}/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {running.endpoint.key}"},
            timeout=120,
            trust_env=False,
        ) as answer:
            began = time.monotonic()
            lines = answer.iter_lines()
            next(lines)
            ask(running)
            rest = [line for line in lines if line]
        assert time.monotonic() - began > 5 * frequent_look, "the stream was too short for several looks"
        assert rest[-1] == "data: [DONE]"
        last = json.loads(rest[-2].removeprefix("data: "))
        assert last["choices"][0]["finish_reason"] == "length"
        running.thread.join(30)
        assert not running.thread.is_alive()


def test_leaving_deployment_answers_with_retry_after() -> None:
    from tornado.httpserver import HTTPServer
    from tornado.testing import bind_unused_port

    from ilab_jupyter.serving.engine import Engine
    from ilab_jupyter.serving.loading import load

    async def refused() -> httpx.Response:
        socket, port = bind_unused_port()
        service = Service(engine, "starter", "key", frozenset({f"127.0.0.1:{port}"}), 64, leaving=True)
        server = HTTPServer(application(service))
        server.add_sockets([socket])
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json={"model": "starter", "messages": GREETING},
                headers={"Authorization": "Bearer key"},
            )
        server.stop()
        return answer

    engine = Engine(load(FOLDER, device="cpu"))
    try:
        answer = asyncio.run(refused())
    finally:
        engine.close()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert answer.json()["error"]["code"] == "preempted"


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[SyncJobs]:
    """Real jobs on a machine with one GPU, as it is told; the starter runs on its processor all the same."""
    local = LocalJobs(tmp_path / "state")
    local.configure(devices=[Device(uuid="GPU-fake", memory_total=10**10)], grace_seconds=5)
    jobs = SyncJobs(local)
    yield jobs
    for job in jobs.list().jobs:
        jobs.cancel(job.id) if not job.state.ended else None
    until(lambda: all(job.state.ended for job in jobs.list().jobs))
    local.close()


def test_real_deployment_releases_memory_for_training_and_returns(jobs: Any) -> None:
    local = jobs.service
    served = jobs.submit(job_spec("serve", {"model": "starter", "idle_seconds": 0}))
    endpoint = until(lambda: read_endpoint(local.folder(served.id)))
    assert jobs.get(served.id).devices == ["GPU-fake"]
    trained = jobs.submit(job_spec("train", {"data": ["/no/such/data.jsonl"]}))
    assert until(lambda: jobs.get(trained.id).state.ended)
    until(lambda: jobs.get(served.id).state is JobState.RUNNING)
    again = until(lambda: read_endpoint(local.folder(served.id)))
    assert again.key != endpoint.key
    answer = httpx.post(
        f"{again.url}/chat/completions",
        json={"model": again.model, "messages": GREETING},
        headers={"Authorization": f"Bearer {again.key}"},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200
    first, second = jobs.attempts(served.id)
    training = jobs.get(trained.id)
    assert (first.cause, second.why) == ("preempted", "retry")
    assert first.ended_at <= training.started_at <= training.ended_at <= second.started_at


def test_waiting_deployment_reports_what_it_waits_for(jobs: Any) -> None:
    holder = jobs.submit(job_spec("serve", {"model": "starter", "name": "holder"}))
    until(lambda: jobs.get(holder.id).devices)
    waits = jobs.submit(job_spec("serve", {"model": "starter", "name": "later"}))
    with pytest.raises(Unavailable) as told:
        until(lambda: asyncio.run(find(jobs.service, "later")))
    assert told.value.cause == "loading"
    assert told.value.hint.startswith(f"It waits for 1 GPU: it is used by {holder.id}.")
    assert jobs.get(waits.id).state is JobState.QUEUED

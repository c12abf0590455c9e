"""A teacher that refuses, is overrun, is slow or is not there, over a real socket."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.synthesis.driver.pace import START

SAMPLE = Path(__file__).parents[2] / "notebooks/taxonomy"


def generated(works: Any, url: str, **teacher: Any) -> Job:
    chosen = {"kind": "openai", "url": url, "max_retries": 0, **teacher}
    job = works.submit("generate", taxonomy_path=str(SAMPLE), teacher=chosen, scale=1)
    while not (now := works.jobs.get(job.id)).state.ended:
        if len(attempts := works.local._store.attempts(job.id)) > 1:
            assert attempts[0].state is JobState.FAILED
            break
        time.sleep(0.05)
    return Job.model_validate(now)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_tried_again(works: Any, teacher_server: Any, status: int) -> None:
    server = teacher_server(script=lambda *_: (status, {}, b'{"error": {"message": "no"}}'))
    job = generated(works, server.url, max_retries=3)
    assert (job.state, job.cause) == (JobState.FAILED, "teacher_unauthorized"), works.log(job)
    assert len(server.requests) <= START, "what went out before the first answer, once each"
    assert "api_key_env" in job.hint and causes.retry(job.cause) is None
    assert job.remedy == f"generate {SAMPLE} --teacher {server.url} --scale 1"


def test_rate_limit_waits_as_requested_then_starts_new_attempt(works: Any, teacher_server: Any) -> None:
    times: list[float] = []

    def overrun(*_: Any) -> Any:
        times.append(time.monotonic())
        return 429, {"Retry-After": "1"}, b'{"error": {"message": "slow down"}}'

    server = teacher_server(script=overrun)
    chosen = {"kind": "openai", "url": server.url, "max_retries": 1}
    job = works.submit("generate", taxonomy_path=str(SAMPLE), teacher=chosen, scale=1, num_workers=1)
    while works.jobs.get(job.id).attempt == 1:
        time.sleep(0.05)
    assert times[-1] - times[0] >= 1, "the request itself was tried again after the time that was asked for"
    first, second = works.local._store.attempts(job.id)
    assert (first.state, first.cause) == (JobState.FAILED, "teacher_rate_limited")
    waiting = works.jobs.get(job.id)
    assert (waiting.state, second.state) == (JobState.QUEUED, JobState.QUEUED)
    policy = causes.retry("teacher_rate_limited")
    assert policy is not None and policy.max_retries == 5
    assert [policy.wait(n) for n in range(6)] == [15, 30, 60, 120, 240, None]
    assert "slow down" in works.jobs.logs(job.id, attempt=1).text


def test_a_refused_connection_is_unreachable(works: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = generated(works, f"http://127.0.0.1:{port}/v1")
    assert (job.state, job.cause) == (JobState.FAILED, "teacher_unreachable"), works.log(job)
    assert f"127.0.0.1:{port}" in job.message and job.remedy == f"resume {job.id}"


def test_silence_is_a_timeout(works: Any, teacher_server: Any) -> None:
    server = teacher_server(script=lambda *_: time.sleep(6))
    job = generated(works, server.url, timeout=0.5)
    assert (job.state, job.cause) == (JobState.FAILED, "teacher_timeout"), works.log(job)
    assert job.remedy == f"resume {job.id}"


def test_unknown_teacher_model_suggests_first_available(works: Any, teacher_server: Any) -> None:
    said = b'{"error": {"message": "The model `big` does not exist", "code": "model_not_found"}}'
    server = teacher_server(script=lambda *_: (404, {}, said))
    job = generated(works, server.url, model="big")
    assert (job.state, job.cause) == (JobState.FAILED, "teacher_model_missing"), works.log(job)
    assert "--teacher-model" not in job.remedy and job.remedy.startswith(f"generate {SAMPLE} --teacher ")

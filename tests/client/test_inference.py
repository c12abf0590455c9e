"""Finding a served model among real serve jobs, and talking to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.client.inference import (
    Deployment,
    Endpoint,
    deployments,
    endpoint_of,
    find,
    read_endpoint,
    stream_chat,
)
from ilab_jupyter.errors import NotFound, PublicError, Unavailable
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.kinds.catalog import job_spec
from ilab_jupyter.starter import REFUSAL

UNKNOWN = [{"role": "user", "content": "What is the capital of Portugal?"}]
GOOD = {"host": "127.0.0.1", "port": 8001, "key": "k", "model": "m", "pid": 3}


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "{",
        "[]",
        json.dumps({**GOOD, "port": 0}),
        json.dumps({**GOOD, "host": "169.254.169.254"}),
        json.dumps({**GOOD, "host": "0.0.0.0"}),
        json.dumps({key: value for key, value in GOOD.items() if key != "key"}),
    ],
)
def test_an_endpoint_that_is_absent_broken_or_elsewhere_is_none(tmp_path: Path, written: str | None) -> None:
    if written is not None:
        (tmp_path / "endpoint.json").write_text(written)
    assert read_endpoint(tmp_path) is None


def test_an_endpoint_never_shows_its_key(tmp_path: Path) -> None:
    (tmp_path / "endpoint.json").write_text(json.dumps({**GOOD, "key": "very-secret"}))
    endpoint = read_endpoint(tmp_path)
    assert endpoint == Endpoint(host="127.0.0.1", port=8001, key="very-secret", model="m")
    assert "very-secret" not in repr(endpoint)


def test_with_nothing_served_the_hint_is_to_serve(own_folders: Path) -> None:
    jobs = LocalJobs()
    with pytest.raises(NotFound) as refused:
        asyncio.run(find(jobs, "starter"))
    assert "%ilab serve starter" in refused.value.hint
    with pytest.raises(NotFound) as refused:
        asyncio.run(find(jobs, None))
    assert "%ilab serve MODEL" in refused.value.hint


def test_a_deployment_from_loading_to_its_end(own_folders: Path) -> None:
    asyncio.run(_live(LocalJobs()))


class Remote(LocalJobs):
    """Jobs whose models are called at a given address with given headers, as those of a service are."""

    v1_url: str
    headers: dict[str, str]


async def _live(jobs: Any) -> None:
    job = await jobs.submit(job_spec("serve", {"model": "starter", "device": "cpu"}))
    try:
        with pytest.raises(Unavailable) as early:
            await find(jobs, "starter")
        assert early.value.cause == "loading"
        assert "still loading" in early.value.message

        found = await _until(jobs, lambda known: known[0].ready)
        assert (found.id, found.model, found.state) == (job.id, "starter", JobState.RUNNING)
        assert (await find(jobs, None)).id == job.id
        with pytest.raises(NotFound):
            await find(jobs, "other")
        assert endpoint_of(jobs, found).model == "starter"

        pieces = [piece async for piece in stream_chat(jobs, "starter", UNKNOWN, temperature=0.0)]
        assert "".join(pieces) == REFUSAL
        assert len(pieces) > 3

        remote = Remote()
        remote.v1_url = endpoint_of(jobs, found).url
        remote.headers = {"Authorization": f"Bearer {endpoint_of(jobs, found).key}"}
        assert await _whole(stream_chat(remote, "starter", UNKNOWN)) == REFUSAL
        remote.headers = {"Authorization": "Bearer wrong"}
        with pytest.raises(PublicError) as refused:
            await _whole(stream_chat(remote, "starter", UNKNOWN))
        assert refused.value.status == 401

        with pytest.raises(PublicError) as refused:
            await _whole(stream_chat(jobs, None, UNKNOWN, temperature=9))
        assert refused.value.status == 400
        assert "temperature" in refused.value.message
    finally:
        await jobs.cancel(job.id)
        with pytest.raises(NotFound):
            await find(jobs, "starter")
        ended = [event async for event in jobs.watch(job.id) if event.type in ("state", "end")]
    assert ended[-1].type == "end"
    assert (await jobs.get(job.id)).state is JobState.CANCELLED
    assert await deployments(jobs) == []
    assert read_endpoint(jobs.folder(job.id)) is None
    with pytest.raises(Unavailable):
        endpoint_of(jobs, found)


async def _until(jobs: Any, true: Callable[[list[Deployment]], bool]) -> Deployment:
    until = time.monotonic() + 90
    while not true(known := await deployments(jobs)):
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    return known[0]


async def _whole(pieces: AsyncIterator[str]) -> str:
    return "".join([piece async for piece in pieces])

"""Logs and events over HTTP: byte ranges, downloads and what server-sent events need beside the contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from tests.server.log_transports import SSE, frames


@pytest.fixture(scope="module")
def ended_job(make_job: Callable[..., str]) -> str:
    """A job that has ended and whose log has ten lines."""
    return make_job("lines:10")


async def test_a_range_of_a_log_is_served_as_text(server: Any, ended_job: str) -> None:
    path = f"ilab/api/jobs/{ended_job}/log"
    part = await server.http.get(path, headers={"Range": "bytes=7-12"})
    assert (part.status_code, part.text) == (206, "line 1")
    assert part.headers["Content-Range"] == "bytes 7-12/70"
    assert part.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (await server.http.get(path, headers={"Range": "bytes=-7"})).text == "line 9\n"
    assert (await server.http.get(path, headers={"Range": "bytes=63-"})).text == "line 9\n"
    for bad in ("bytes=70-", "bytes=9-1", "bytes=-0", "lines=1-2", "bytes=a-b", "bytes=0-1,3-4"):
        refused = await server.http.get(path, headers={"Range": bad})
        assert refused.status_code == 416, bad
        assert refused.json()["code"] == "range"


async def test_a_log_is_downloaded_whole_as_a_file(server: Any) -> None:
    id = await server.submit("lines:200000")
    await server.ended(id)
    answer = await server.http.get(f"ilab/api/jobs/{id}/log?download=1")
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=utf-8''{id}-1.log"
    assert answer.text.split("\n")[:-1] == [f"line {number}" for number in range(200_000)]


async def test_a_cursor_that_is_not_ours_is_refused(server: Any, ended_job: str) -> None:
    id = ended_job
    for path, bad in [("log", "12"), ("log", "x:1"), ("events", "x"), ("events", "-1"), ("events", "9" * 30)]:
        answer = await server.http.get(f"ilab/api/jobs/{id}/{path}", headers={**SSE, "Last-Event-ID": bad})
        assert answer.status_code == 400, (path, bad)
    for query in ("log?offset=x", "log?limit=0", "log?limit=99999999", "events?after=-1", "events?limit=0"):
        assert (await server.http.get(f"ilab/api/jobs/{id}/{query}")).status_code == 400, query


async def test_stream_of_missing_job_is_a_404(server: Any) -> None:
    for path in ("log", "events"):
        answer = await server.http.get(f"ilab/api/jobs/train-aaaaaaaa/{path}", headers=SSE)
        assert answer.status_code == 404 and answer.json()["code"] == "not_found"


async def test_a_silent_stream_says_that_it_is_alive(server: Any, monkeypatch: Any) -> None:
    from ilab_jupyter.server import sse

    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.2)
    id = await server.submit("sleep:1")
    kinds = [kind async for kind, _, _ in frames(server, f"ilab/api/jobs/{id}/events", {}, SSE)]
    assert "comment" in kinds and kinds[-1] == "end"


async def test_a_client_that_goes_leaves_nothing_behind(server: Any) -> None:
    id = await server.submit("sleep:30")
    services = server.app.web_app.settings["ilab"]
    async with aclosing(frames(server, f"ilab/api/jobs/{id}/events", {}, SSE)) as stream:
        await anext(stream)
        assert len(services.streams._inside) == 1
    for _ in range(100):
        if not services.streams._inside:
            break
        await asyncio.sleep(0.05)
    assert not services.streams._inside


async def test_a_client_that_pauses_hears_all_of_it_afterwards(
    server: Any, ended_job: str, monkeypatch: Any
) -> None:
    """Its stream waits for it, and no sign of life takes the place of what waits."""
    from ilab_jupyter.server import follow, sse

    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.1)
    made = 60

    async def long(*_: Any, **__: Any) -> Any:
        for number in range(made):
            yield sse.frame(json.dumps("x" * 600_000), event="log", id=str(number))
        yield sse.frame("{}", event="end")

    monkeypatch.setattr(follow, "_log_frames", long)
    async with server.http.stream("GET", f"ilab/api/jobs/{ended_job}/log", headers=SSE) as response:
        await asyncio.sleep(1.5)
        text = b"".join([part async for part in response.aiter_raw()]).decode()
    assert text.count("event: log") == made and "event: end" in text

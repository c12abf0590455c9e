"""Logs and events: by cursor, by range, as a file and as live streams that say when they are whole."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

SSE = {"Accept": "text/event-stream"}


async def frames(response: httpx.Response) -> Any:
    """(event, id, data) of each frame; ("comment", None, None) for a comment."""
    found: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            yield "comment", None, None
        elif line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif found:
            yield found["event"], found.get("id"), json.loads(found["data"])
            found = {}


async def collect(server: Any, path: str, **headers: str) -> list[tuple[str, Any, Any]]:
    async with server.http.stream("GET", path, headers={**SSE, **headers}) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        return [frame async for frame in frames(response)]


async def test_a_log_is_read_on_from_where_it_stopped(server: Any) -> None:
    id = await server.submit("lines:100")
    await server.ended(id)
    text, offset = "", 0
    while True:
        chunk = (
            await server.http.get(f"ilab/api/jobs/{id}/log", params={"offset": offset, "limit": 100})
        ).json()
        assert chunk["offset"] == offset and len(chunk["text"]) <= 100
        text, offset = text + chunk["text"], chunk["next_offset"]
        if chunk["ended"]:
            break
    assert text.split() == [word for number in range(100) for word in ("line", str(number))]
    tail = (await server.http.get(f"ilab/api/jobs/{id}/log?offset=-8")).json()
    assert tail["text"] == "line 99\n" and tail["ended"]
    missing = await server.http.get(f"ilab/api/jobs/{id}/log?attempt=2")
    assert missing.status_code == 404


async def test_a_range_of_a_log_is_served_as_text(server: Any) -> None:
    id = await server.submit("lines:10")
    await server.ended(id)
    path = f"ilab/api/jobs/{id}/log"
    part = await server.http.get(path, headers={"Range": "bytes=7-12"})
    assert (part.status_code, part.text) == (206, "line 1")
    assert part.headers["Content-Range"] == "bytes 7-12/70"
    assert part.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (await server.http.get(path, headers={"Range": "bytes=-7"})).text == "line 9\n"
    assert (await server.http.get(path, headers={"Range": "bytes=63-"})).text == "line 9\n"
    for bad in ("bytes=70-", "bytes=9-1", "bytes=-0", "lines=1-2", "bytes=a-b", "bytes=0-1,3-4"):
        refused = await server.http.get(path, headers={"Range": bad})
        assert refused.status_code == 416, bad
        assert refused.json()["cause"] == "range"


async def test_a_log_is_downloaded_whole_as_a_file(server: Any) -> None:
    id = await server.submit("lines:200000")
    await server.ended(id)
    answer = await server.http.get(f"ilab/api/jobs/{id}/log?download=1")
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=utf-8''{id}-1.log"
    assert answer.text.split("\n")[:-1] == [f"line {number}" for number in range(200_000)]


async def test_events_stream_live_and_end_with_end(server: Any) -> None:
    id = await server.submit("step:1/3", "sleep:0.3", "step:2/3", "sleep:0.3", "step:3/3")
    seen = await collect(server, f"ilab/api/jobs/{id}/events")
    assert seen[0][0] == "state" and seen[-1][0] == "end"
    assert seen[-1][2]["state"] == "SUCCEEDED"
    steps = [(int(cursor), data["step"]) for kind, cursor, data in seen if kind == "progress"]
    assert [step for _, step in steps] == [1, 2, 3]
    assert [cursor for cursor, _ in steps] == sorted({cursor for cursor, _ in steps})
    # A client that lost the connection goes on after the last event that it saw.
    again = await collect(server, f"ilab/api/jobs/{id}/events", **{"Last-Event-ID": str(steps[0][0])})
    assert [data["step"] for kind, _, data in again if kind == "progress"] == [2, 3]
    asked = await collect(server, f"ilab/api/jobs/{id}/events?after={steps[1][0]}")
    assert [data["step"] for kind, _, data in asked if kind == "progress"] == [3]
    plain = (await server.http.get(f"ilab/api/jobs/{id}/events", params={"after": steps[1][0]})).json()[
        "events"
    ]
    assert [event["step"] for event in plain if event["type"] == "progress"] == [3]


async def test_a_log_streams_live_once_and_whole_over_a_lost_connection(server: Any) -> None:
    id = await server.submit("lines:50", "sleep:0.8", "lines:50")
    path = f"ilab/api/jobs/{id}/log"
    text, cursor = "", ""
    async with server.http.stream("GET", path, headers=SSE) as response:
        async for kind, at, data in frames(response):
            if kind == "log":
                text, cursor = text + data["text"], at
                break
    for kind, _, data in await collect(server, path, **{"Last-Event-ID": cursor}):
        text += data["text"] if kind == "log" else ""
    assert text == "".join(f"line {number}\n" for number in range(50)) * 2
    assert kind == "end"


async def test_a_cursor_of_a_log_is_good_for_its_attempt_and_for_those_after_it(server: Any) -> None:
    id = await server.submit("print:one", "first:30", "print:two")
    async with server.http.stream("GET", f"ilab/api/jobs/{id}/log", headers=SSE) as response:
        async for kind, _, _ in frames(response):
            if kind == "log":
                break
    await server.http.post(f"ilab/api/jobs/{id}/cancel")
    await server.ended(id)
    await server.http.post(f"ilab/api/jobs/{id}/resume")
    await server.ended(id)
    for path, told in [("log", {"Last-Event-ID": "1:1"}), ("events?log_attempt=1&log_offset=1", {})]:
        seen = await collect(server, f"ilab/api/jobs/{id}/{path}", **told)
        pieces = [(data["attempt"], data["text"]) for kind, _, data in seen if kind == "log"]
        assert pieces == [(1, "ne\n"), (2, "one\ntwo\n")], path
    seen = await collect(server, f"ilab/api/jobs/{id}/log?attempt=1")
    assert "".join(data["text"] for kind, _, data in seen if kind == "log") == "one\none\ntwo\n"


async def test_one_stream_may_carry_events_and_log(server: Any) -> None:
    id = await server.submit("print:hello", "step:1/1")
    seen = await collect(server, f"ilab/api/jobs/{id}/events?log_offset=0")
    assert {kind for kind, _, _ in seen} >= {"state", "progress", "log", "end"}
    assert seen[-1][0] == "end"


async def test_a_cursor_that_is_not_ours_is_refused(server: Any) -> None:
    id = await server.submit()
    await server.ended(id)
    for path, bad in [("log", "12"), ("log", "x:1"), ("events", "x"), ("events", "-1"), ("events", "9" * 30)]:
        answer = await server.http.get(f"ilab/api/jobs/{id}/{path}", headers={**SSE, "Last-Event-ID": bad})
        assert answer.status_code == 400, (path, bad)
    for query in ("log?offset=x", "log?limit=0", "log?limit=99999999", "events?after=-1", "events?limit=0"):
        assert (await server.http.get(f"ilab/api/jobs/{id}/{query}")).status_code == 400, query


async def test_a_stream_of_a_job_that_does_not_exist_is_a_plain_404(server: Any) -> None:
    for path in ("log", "events"):
        answer = await server.http.get(f"ilab/api/jobs/train-aaaaaaaa/{path}", headers=SSE)
        assert answer.status_code == 404 and answer.json()["cause"] == "not_found"


async def test_a_silent_stream_says_that_it_is_alive(server: Any, monkeypatch: Any) -> None:
    from ilab_jupyter.server import sse

    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.2)
    id = await server.submit("sleep:1")
    seen = await collect(server, f"ilab/api/jobs/{id}/events")
    assert ("comment", None, None) in seen and seen[-1][0] == "end"


async def test_a_client_that_goes_leaves_nothing_behind(server: Any) -> None:
    id = await server.submit("sleep:30")
    services = server.app.web_app.settings["ilab"]
    async with server.http.stream("GET", f"ilab/api/jobs/{id}/events", headers=SSE) as response:
        async for _ in frames(response):
            break
        assert len(services.streams._inside) == 1
    for _ in range(100):
        if not services.streams._inside:
            break
        await asyncio.sleep(0.05)
    assert not services.streams._inside


async def test_a_client_that_pauses_hears_all_of_it_afterwards(server: Any, monkeypatch: Any) -> None:
    """Its stream waits for it, and no sign of life takes the place of what waits."""
    from ilab_jupyter.server import follow, sse

    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.1)
    made = 60

    async def long(*_: Any, **__: Any) -> Any:
        for number in range(made):
            yield sse.frame(json.dumps("x" * 600_000), event="log", id=str(number))
        yield sse.frame("{}", event="end")

    monkeypatch.setattr(follow, "_log_frames", long)
    id = await server.submit("sleep:5")
    async with server.http.stream("GET", f"ilab/api/jobs/{id}/log", headers=SSE) as response:
        await asyncio.sleep(1.5)
        text = b"".join([part async for part in response.aiter_raw()]).decode()
    assert text.count("event: log") == made and "event: end" in text

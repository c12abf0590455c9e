"""The WebSocket: many jobs and the list over one connection."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClientConnection

from ilab_jupyter.errors import Unavailable
from tests.server.in_process import Server


async def cookie_of(server: Any) -> str:
    """What a browser that has signed in sends."""
    answer = await server.http.get("ilab/api/info")
    return "; ".join(f"{name}={value}" for name, value in answer.cookies.items())


async def read(socket: WebSocketClientConnection, seconds: float = 15.0) -> dict[str, Any]:
    message = await asyncio.wait_for(socket.read_message(), seconds)
    assert message is not None, (socket.close_code, socket.close_reason)
    return json.loads(message)


async def read_until(socket: WebSocketClientConnection, done: Any) -> list[dict[str, Any]]:
    found = []
    while not found or not done(found):
        found.append(await read(socket))
    return found


async def test_one_socket_carries_many_jobs_each_to_its_end(server: Any) -> None:
    ids = [
        await server.submit("step:1/2", f"print:I am {number}", "sleep:0.2", "step:2/2")
        for number in range(3)
    ]
    socket = await server.websocket()
    for id in ids:
        await socket.write_message(json.dumps({"watch": id, "after": 0, "log_offset": 0}))
    seen = await read_until(socket, lambda found: sum(one["type"] == "end" for one in found) == 3)
    for number, id in enumerate(ids):
        mine = [one for one in seen if one["job"] == id]
        assert mine[0]["type"] == "state" and mine[-1]["type"] == "end"
        assert mine[0]["row"]["id"] == id
        assert [one["step"] for one in mine if one["type"] == "progress"] == [1, 2]
        assert "".join(one["text"] for one in mine if one["type"] == "log") == f"I am {number}\n"
    socket.close()


async def test_watch_starts_at_its_cursors_and_log_is_optional(server: Any) -> None:
    id = await server.submit("step:1/2", "step:2/2", "print:0123456789")
    await server.ended(id)
    first = (await server.http.get(f"ilab/api/jobs/{id}/events")).json()["events"]
    after = next(event["seq"] for event in first if event.get("step") == 1)
    socket = await server.websocket()
    await socket.write_message(json.dumps({"watch": id, "after": after}))
    seen = await read_until(socket, lambda found: found[-1]["type"] == "end")
    assert [one["step"] for one in seen if one["type"] == "progress"] == [2]
    assert not [one for one in seen if one["type"] == "log"]
    await socket.write_message(json.dumps({"watch": id, "after": 10**6, "log_offset": 5}))
    seen = await read_until(socket, lambda found: found[-1]["type"] == "end")
    assert "".join(one["text"] for one in seen if one["type"] == "log") == "56789\n"
    socket.close()


async def test_unwatch_ends_a_watch(server: Any) -> None:
    id = await server.submit("sleep:0.5", "step:1/1", "sleep:30")
    socket = await server.websocket()
    await socket.write_message(json.dumps({"watch": id}))
    assert (await read(socket))["type"] == "state"
    await socket.write_message(json.dumps({"unwatch": id}))
    with pytest.raises(asyncio.TimeoutError):
        while True:
            assert (await read(socket, 1.5))["type"] == "state"
    socket.close()


async def test_the_list_comes_whole_and_then_row_by_row(server: Any) -> None:
    old = await server.submit("print:old")
    await server.ended(old)
    socket = await server.websocket()
    await socket.write_message(json.dumps({"list": True}))
    first = await read(socket)
    assert first["type"] == "jobs" and old in [job["id"] for job in first["jobs"]]
    with pytest.raises(asyncio.TimeoutError):
        while True:
            await read(socket, 1.5)
    new = await server.submit("print:new", "sleep:0.5")
    seen = await read_until(
        socket,
        lambda found: any(
            job["id"] == new and job["state"] == "SUCCEEDED" for one in found for job in one["jobs"]
        ),
    )
    states = [job["state"] for one in seen for job in one["jobs"] if job["id"] == new]
    assert states[-1] == "SUCCEEDED"
    assert not [job for one in seen for job in one["jobs"] if job["id"] == old], (
        "an unchanged row was sent again"
    )
    socket.close()


async def test_missing_job_is_an_error_event_and_socket_stays_open(server: Any) -> None:
    socket = await server.websocket()
    await socket.write_message(json.dumps({"watch": "train-aaaaaaaa"}))
    payload = await read(socket)
    assert (payload["job"], payload["type"], payload["code"]) == ("train-aaaaaaaa", "error", "not_found")
    assert payload["status"] == 404 and payload["message"] and payload["request_id"]
    id = await server.submit()
    await socket.write_message(json.dumps({"watch": id}))
    assert (await read(socket))["job"] == id
    socket.close()


async def test_error_frames_contain_no_server_paths(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = await server.app.web_app.settings["ilab"].jobs()

    def watch(id: str, **_: Any) -> Any:
        raise Unavailable("/srv/volume/jobs/log.txt cannot be read.", f"See {jobs.state.path}/jobs.db.")

    monkeypatch.setattr(jobs, "watch", watch)
    socket = await server.websocket()
    await socket.write_message(json.dumps({"watch": "train-aaaaaaaa"}))
    payload = await read(socket)
    assert (payload["status"], payload["code"]) == (503, "unavailable")
    assert payload["message"] == "[...]/log.txt cannot be read."
    assert payload["hint"] == "See [state folder]/jobs.db."
    socket.close()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 4400),
        ('{"watch": 1}', 4400),
        ('{"whatch": "x"}', 4400),
        ("[]", 4400),
        ('"' + "x" * 5000 + '"', 4413),
    ],
)
async def test_a_malformed_message_closes_the_socket_with_its_reason(
    server: Any, message: str, code: int
) -> None:
    socket = await server.websocket()
    await socket.write_message(message)
    assert await asyncio.wait_for(socket.read_message(), 10) is None
    assert socket.close_code == code and socket.close_reason


async def test_socket_requires_token_permission_and_same_origin(server: Any, recorder: Any) -> None:
    cookie = await cookie_of(server)
    foreign = {"Authorization": "", "Cookie": cookie, "Origin": "http://evil.example"}
    for headers in ({"Authorization": "token wrong"}, {"Authorization": ""}, foreign):
        with pytest.raises(HTTPClientError) as refused:
            await server.websocket(headers=headers)
        assert refused.value.code == 403
    recorder.allow = False
    with pytest.raises(HTTPClientError) as refused:
        await server.websocket()
    assert refused.value.code == 403
    assert recorder.requests[-1][:2] == ("execute", "ilab")


class TestStreamLimit:
    """With room for two streams."""

    @pytest.fixture
    def server(self, own_server: Server) -> Server:
        return own_server

    @pytest.fixture
    def ilab_config(self) -> dict[str, Any]:
        return {"max_streams": 2}

    async def test_more_streams_than_allowed_are_refused_until_one_closes(self, server: Any) -> None:
        first = await server.websocket()
        second = await server.websocket()
        with pytest.raises(HTTPClientError) as refused:
            await server.websocket()
        assert refused.value.code == 429
        id = await server.submit("sleep:5")
        stream = await server.http.get(f"ilab/api/jobs/{id}/events", headers={"Accept": "text/event-stream"})
        assert stream.status_code == 429 and stream.json()["code"] == "too_many"
        first.close()
        for _ in range(50):
            try:
                third = await server.websocket()
                break
            except HTTPClientError:
                await asyncio.sleep(0.05)
        third.close()
        second.close()

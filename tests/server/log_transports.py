"""One interface to every way in which a job's log is read: an adapter for each transport.

`follow` yields what the transport delivers, from a cursor on, up to and with `End`. Closing it drops the
connection; the cursor of the last `Log` is where another one begins.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ilab_jupyter.jobs.record import Event
from ilab_jupyter.jobs.service import JobService
from tests.server.in_process import Server

SSE = {"Accept": "text/event-stream"}


class Cursor(NamedTuple):
    """A byte of an attempt's log; the newest attempt where None. Negative: counted from the end."""

    attempt: int | None
    offset: int


START = Cursor(None, 0)


@dataclass(frozen=True)
class Log:
    """A piece of the log."""

    attempt: int
    offset: int
    next_offset: int
    text: str
    seq: int = 0

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.attempt, self.next_offset)


@dataclass(frozen=True)
class State:
    """The job's row, sent at the beginning and when it changes."""

    state: str
    seq: int


@dataclass(frozen=True)
class WorkerEvent:
    """An event that the worker wrote."""

    seq: int
    type: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class End:
    """The last item. `fields` has the outcome where the transport carries it."""

    state: str
    seq: int
    fields: dict[str, Any]


Item = Log | State | WorkerEvent | End


class Transport(Protocol):
    def follow(self, id: str, cursor: Cursor = START, after: int = 0) -> AsyncGenerator[Item]:
        """The log from the cursor on, and the events after the seq `after` where the transport has them."""
        ...


def item(type: str, seq: int, fields: dict[str, Any]) -> Item:
    if type == "log":
        return Log(fields["attempt"], fields["offset"], fields["next_offset"], fields["text"], seq)
    if type == "state":
        return State(fields["job"]["state"], seq)
    if type == "end":
        return End(fields["state"], seq, fields)
    return WorkerEvent(seq, type, fields)


class Polling:
    """Reads by `JobService.logs`, on disk or over HTTP, as a client does that polls."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    async def follow(self, id: str, cursor: Cursor = START, after: int = 0) -> AsyncGenerator[Item]:
        attempt, offset = cursor
        while True:
            job = await self._service.get(id)
            chunk = await self._service.logs(id, offset=offset, attempt=attempt)
            attempt, offset = chunk.attempt, chunk.next_offset
            if chunk.text:
                yield Log(chunk.attempt, chunk.offset, chunk.next_offset, chunk.text)
            elif chunk.ended and attempt < job.attempt:
                attempt, offset = attempt + 1, 0
            elif chunk.ended and job.state.ended:
                yield End(job.state, 0, {})
                return
            else:
                await asyncio.sleep(0.05)


class Watching:
    """Reads by `JobService.watch`, on disk or over HTTP."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    async def follow(self, id: str, cursor: Cursor = START, after: int = 0) -> AsyncGenerator[Item]:
        watch = self._service.watch(id, after=after, log_offset=cursor.offset, log_attempt=cursor.attempt)
        async with aclosing(watch) as events:  # type: ignore[type-var]
            async for event in events:
                yield item(event.type, event.seq, event.fields)


class LogStream:
    """Server-sent events of the log alone; its cursor is `Last-Event-ID`, or with `by_query` the query."""

    def __init__(self, server: Server, *, by_query: bool = False) -> None:
        self._server = server
        self._by_query = by_query

    async def follow(self, id: str, cursor: Cursor = START, after: int = 0) -> AsyncGenerator[Item]:
        headers, query = dict(SSE), {}
        if cursor.attempt is None or cursor.offset < 0 or self._by_query:
            query = {"offset": cursor.offset}
            query |= {"attempt": cursor.attempt} if cursor.attempt is not None else {}
        else:
            headers["Last-Event-ID"] = f"{cursor.attempt}:{cursor.offset}"
        async with aclosing(frames(self._server, f"ilab/api/jobs/{id}/log", query, headers)) as stream:
            async for type, frame_id, data in stream:
                found = item(type, 0, data)
                if isinstance(found, Log):
                    assert frame_id == f"{found.attempt}:{found.next_offset}"
                yield found


class EventStream:
    """Server-sent events of a job with its log; the cursor of the events is `Last-Event-ID`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def follow(self, id: str, cursor: Cursor = START, after: int = 0) -> AsyncGenerator[Item]:
        query = {"log_offset": cursor.offset}
        query |= {"log_attempt": cursor.attempt} if cursor.attempt is not None else {}
        headers = {**SSE, "Last-Event-ID": str(after)} if after else SSE
        async with aclosing(frames(self._server, f"ilab/api/jobs/{id}/events", query, headers)) as stream:
            async for type, frame_id, data in stream:
                event = Event.model_validate(data)
                found = item(type, event.seq, event.fields)
                assert frame_id == (str(event.seq) if isinstance(found, WorkerEvent) else None)
                yield found


async def frames(
    server: Server, path: str, query: dict[str, Any], headers: dict[str, str]
) -> AsyncGenerator[tuple[str, str | None, dict[str, Any]]]:
    """(event, id, data) of each server-sent event; ("comment", None, {}) for a comment."""
    async with server.http.stream("GET", path, params=query, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        found: dict[str, str] = {}
        async for line in response.aiter_lines():
            if line.startswith(":"):
                yield "comment", None, {}
            elif line:
                name, _, value = line.partition(": ")
                found[name] = value
            elif found:
                yield found["event"], found.get("id"), json.loads(found["data"])
                found = {}


class Socket:
    """The WebSocket; one job on a connection of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def follow(self, id: str, cursor: Cursor = START, after: int = 0) -> AsyncGenerator[Item]:
        request = {"watch": id, "after": after, "log_offset": cursor.offset}
        request |= {"log_attempt": cursor.attempt} if cursor.attempt is not None else {}
        socket = await self._server.websocket()
        try:
            await socket.write_message(json.dumps(request))
            while (message := await socket.read_message()) is not None:
                payload = json.loads(message)
                assert payload.pop("job") == id
                if "row" in payload:
                    payload["job"] = payload.pop("row")
                found = item(payload["type"], payload["seq"], payload)
                yield found
                if isinstance(found, End):
                    return
        finally:
            socket.close()

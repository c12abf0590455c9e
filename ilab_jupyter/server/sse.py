"""Server-sent events: frames from an async iterator, a comment every 15 s, an end when either side goes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from tornado.iostream import StreamClosedError

from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.record import Event
from ilab_jupyter.server.base import IlabHandler

HEARTBEAT_SECONDS = 15.0
_KEPT = 8


def frame(data: str, *, event: str, id: str | None = None) -> bytes:
    """One event. `data` is one line of JSON."""
    cursor = "" if id is None else f"id: {id}\n"
    return f"{cursor}event: {event}\ndata: {data}\n\n".encode()


class Once:
    """What `make` makes of an event of a job, made once for all the streams that send the same one."""

    def __init__(self, make: Callable[..., bytes]) -> None:
        self._make = make
        self._made: OrderedDict[int, tuple[Event, bytes]] = OrderedDict()

    def __call__(self, event: Event, *more: Any) -> bytes:
        known = self._made.get(id(event))
        if known is not None and known[0] is event:
            return known[1]
        made = self._make(event, *more)
        self._made[id(event)] = event, made
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return made


class StreamHandler(IlabHandler):
    """A handler that may answer as a stream. An open stream does not count as activity."""

    _track_activity = False
    _gone: asyncio.Future[None] | None = None
    _sent = False
    _busy = False

    @property
    def wants_stream(self) -> bool:
        """True where the client asks for server-sent events."""
        return "text/event-stream" in self.request.headers.get("Accept", "")

    def on_connection_close(self) -> None:
        """The client has gone: let the stream end."""
        super().on_connection_close()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def stream(self, frames: AsyncIterator[bytes]) -> None:
        """Send `frames` no faster than they are read, until they end, or the client or the server goes."""
        async with self.services.streams.one() as self._gone:
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-cache")
            self.set_header("X-Accel-Buffering", "no")
            sending = asyncio.ensure_future(self._send(frames))
            try:
                while True:
                    self._sent = False
                    await asyncio.wait(
                        {sending, self._gone},
                        timeout=HEARTBEAT_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if sending.done() or self._gone.done():
                        break
                    # One flush at a time: a second would take the place of one that waits for the client.
                    if not self._sent and not self._busy:
                        self.write(b": still here\n\n")
                        self.flush()
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, StreamClosedError):
                    await sending
                close = getattr(frames, "aclose", None)
                if close is not None:
                    await close()
        with suppress(StreamClosedError):
            await self.finish(set_content_type="text/event-stream")

    async def _send(self, frames: AsyncIterator[bytes]) -> None:
        try:
            await self._flushed()
            async for one in frames:
                self.write(one)
                await self._flushed()
        except PublicError as error:
            problem = self.problem(error.status, error)
            # Not `error`: that is a worker's event.
            self.write(frame(problem.model_dump_json(), event="problem"))
            await self._flushed()

    async def _flushed(self) -> None:
        """Wait until the client has taken what was written. A slow reader is not idle."""
        self._busy = True
        try:
            await self.flush()
        finally:
            self._busy = False
            self._sent = True

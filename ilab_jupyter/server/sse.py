"""Server-sent events: frames from an async iterator, a comment every 15 s, an end when either side goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from tornado.iostream import StreamClosedError

from ilab_jupyter.errors import PublicError
from ilab_jupyter.server.base import IlabHandler

HEARTBEAT_SECONDS = 15.0


def frame(data: str, *, event: str, id: str | None = None) -> str:
    """One event. `data` is one line of JSON."""
    cursor = "" if id is None else f"id: {id}\n"
    return f"{cursor}event: {event}\ndata: {data}\n\n"


class StreamHandler(IlabHandler):
    """A handler that may answer as a stream. An open stream is no sign of a person at work."""

    _track_activity = False
    _gone: asyncio.Future[None] | None = None

    @property
    def wants_stream(self) -> bool:
        """True where the client asks for server-sent events."""
        return "text/event-stream" in self.request.headers.get("Accept", "")

    def on_connection_close(self) -> None:
        """The client has gone: let the stream end."""
        super().on_connection_close()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def stream(self, frames: AsyncIterator[str]) -> None:
        """Send `frames` no faster than they are read, until they end, or the client or the server goes."""
        async with self.services.streams.one() as self._gone:
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-cache")
            self.set_header("X-Accel-Buffering", "no")
            source = aiter(frames)
            pending: asyncio.Future[str] | None = None
            try:
                await self.flush()
                while not self._gone.done():
                    pending = pending or asyncio.ensure_future(anext(source))
                    waited: set[asyncio.Future[Any]] = {pending, self._gone}
                    await asyncio.wait(
                        waited,
                        timeout=HEARTBEAT_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if pending.done():
                        self.write(pending.result())
                        pending = None
                    elif not self._gone.done():
                        self.write(": still here\n\n")
                    await self.flush()
            except PublicError as error:
                # Not `error`: that is a worker's event.
                self.write(frame(json.dumps(error.to_dict()), event="problem"))
            except (StopAsyncIteration, StreamClosedError):
                pass
            finally:
                if pending is not None:
                    pending.cancel()
                    with suppress(asyncio.CancelledError, StopAsyncIteration):
                        await pending
                close = getattr(frames, "aclose", None)
                if close is not None:
                    await close()
        with suppress(StreamClosedError):
            await self.finish(set_content_type="text/event-stream")

"""One WebSocket for a page: any number of jobs, their logs, and the list of jobs as it changes."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.websocket import WebSocketMixin
from pydantic import Field, ValidationError
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ilab_jupyter.errors import PublicError, TooMany
from ilab_jupyter.jobs.record import Event, Job
from ilab_jupyter.server.base import Audited
from ilab_jupyter.server.monitor import WATCHED
from ilab_jupyter.server.sse import Once
from ilab_jupyter.server.wire import Request

MAX_MESSAGE = 4096
MAX_WATCHES = 100
QUEUED_MESSAGES = 4  # of at most one piece of a log each

MALFORMED, TOO_LARGE, STOPPING = 4400, 4413, 4503


class Ask(Request):
    """A message of a client: one of `watch` (with its cursors), `unwatch`, `list`."""

    watch: str | None = Field(default=None, max_length=200)
    after: int = Field(default=0, ge=0, le=2**62)
    log_offset: int | None = Field(default=None, ge=-(2**62), le=2**62)
    log_attempt: int | None = Field(default=None, ge=1, le=2**31)
    unwatch: str | None = Field(default=None, max_length=200)
    list: bool | None = None


class StreamSocket(WebSocketMixin, WebSocketHandler, Audited):
    """ilab/api/stream

    For each watched job it sends `{"job": id, ...event}` up to and with `end`; the row that a `state` event
    brings is its `row`. A job that cannot be watched gets an `error` without `seq`, and no more. For the list
    it sends `{"type": "jobs", "jobs": [...]}` with the rows that changed. A slow client is waited for: its
    watches stop reading, nothing piles up in memory and nothing is lost.
    """

    def initialize(self) -> None:
        """Start without watches."""
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED_MESSAGES)
        self._changed: dict[str, Job] = {}
        self._watches: dict[str | None, asyncio.Task[None]] = {}  # None: the list's first rows
        self._writer: asyncio.Task[None] | None = None

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Authorize before the upgrade; this call lasts as long as the socket."""
        allowed = self.authorizer.is_authorized(self, self.current_user, "execute", self.auth_resource)
        if not await ensure_async(allowed):
            raise web.HTTPError(403)
        try:
            ticket = self.services.streams.acquire()
        except TooMany as error:
            raise web.HTTPError(error.status) from error
        ticket.add_done_callback(lambda _: self.close(STOPPING, "the server is stopping"))
        try:
            await super().get(*args, **kwargs)
        finally:
            self.services.streams.release(ticket)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a refused upgrade with a Problem."""
        self.set_header("Content-Type", "application/json")
        error = (kwargs.get("exc_info") or (None, None))[1]
        error = error.__cause__ or error if error else None
        self.finish(self.problem(status_code, error).model_dump_json())

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Start the writer."""
        super().open(*args, **kwargs)
        self._writer = asyncio.create_task(self._write())

    def on_message(self, message: str | bytes) -> None:
        """Start or end a watch."""
        if len(message) > MAX_MESSAGE:
            self.close(TOO_LARGE, "the message is too large")
            return
        try:
            ask = Ask.model_validate_json(message)
        except ValidationError:
            self.close(MALFORMED, "the message is malformed")
            return
        if ask.unwatch is not None and (task := self._watches.pop(ask.unwatch, None)) is not None:
            task.cancel()
        if ask.list is not None and self.services.monitor is not None:
            self.services.monitor.unlisten(self._note)
            if ask.list:
                self.services.monitor.listen(self._note)
                self._watches[None] = asyncio.create_task(self._snapshot())
        if ask.watch is not None:
            self._watch(ask.watch, ask)

    def _watch(self, id: str, ask: Ask) -> None:
        if (task := self._watches.pop(id, None)) is not None:
            task.cancel()
        if len(self._watches) >= MAX_WATCHES:
            refusal = TooMany(f"This socket watches {MAX_WATCHES} jobs already.", "Unwatch one first.")
            self._watches[id] = asyncio.create_task(self._refuse(id, refusal))
            return
        self._watches[id] = asyncio.create_task(self._follow(id, ask))

    async def _refuse(self, id: str, error: PublicError) -> None:
        try:
            await self._messages.put(self._error(error, job=id))
        finally:
            self._forget(id)

    async def _follow(self, id: str, ask: Ask) -> None:
        try:
            jobs = await self.services.jobs()
            cursor = {"log_offset": ask.log_offset, "log_attempt": ask.log_attempt}
            async for event in jobs.watch(id, after=ask.after, **cursor):
                await self._messages.put(_message(event, id))
        except PublicError as error:
            await self._messages.put(self._error(error, job=id))
        except Exception as error:
            self.log.exception("Watching job %s failed in request %s", id, self.request_id)
            await self._messages.put(self._error(error, job=id))
        finally:
            self._forget(id)

    def _error(self, error: BaseException, **of: str) -> bytes:
        return json.dumps({**of, "type": "error", **self.problem(500, error).model_dump()}).encode()

    def _forget(self, id: str | None) -> None:
        if self._watches.get(id) is asyncio.current_task():
            del self._watches[id]

    async def _snapshot(self) -> None:
        try:
            jobs = await self.services.jobs()
            self._note((await jobs.list(limit=WATCHED)).jobs)
        except PublicError as error:
            await self._messages.put(self._error(error))
        finally:
            self._forget(None)

    def _note(self, changed: list[Job]) -> None:
        # Only the newest row of a job matters, so what waits is bounded by the number of jobs.
        # A full queue needs no mark: the writer looks here after each message.
        self._changed.update((job.id, job) for job in changed)
        with suppress(asyncio.QueueFull):
            self._messages.put_nowait(None)

    async def _write(self) -> None:
        with suppress(WebSocketClosedError):
            while True:
                message = await self._messages.get()
                if message is not None:
                    await self.write_message(message)
                if self._changed:
                    rows = [job.model_dump(mode="json") for job in self._changed.values()]
                    self._changed.clear()
                    await self.write_message(json.dumps({"type": "jobs", "jobs": rows}))

    def on_close(self) -> None:
        """Cancel the watches and the writer."""
        if self.services.monitor is not None:
            self.services.monitor.unlisten(self._note)
        for task in [*self._watches.values(), *([self._writer] if self._writer else [])]:
            task.cancel()
        self._watches.clear()


def _make_message(event: Event, job: str) -> bytes:
    message = event.model_dump(mode="json")
    # `job` is the id; the row of a `state` event is called `row` here.
    row = {"row": message.pop("job")} if "job" in message else {}
    return json.dumps({**message, **row, "job": job}).encode()


_message = Once(_make_message)

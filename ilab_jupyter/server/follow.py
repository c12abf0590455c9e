"""A job's log by offset, range or download, its events by cursor, and both as live streams."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

from jupyter_server.auth.decorator import authorized
from tornado import web

from ilab_jupyter.errors import InvalidInput, PublicError
from ilab_jupyter.jobs.logs.folding import Folder, fold, shorten
from ilab_jupyter.jobs.record import Event, Job, LogChunk
from ilab_jupyter.jobs.service import JobService
from ilab_jupyter.server.sse import Once, StreamHandler, frame
from ilab_jupyter.server.wire import EventList, EventQuery, LogQuery

CHUNK = 1_048_576
PAST_ALL = 2**53 - 1  # a seq that no job reaches: a watch from here on brings no worker's event


class RangeRefused(PublicError):
    """The log has no such bytes, or the header is not understood."""

    status = 416
    cause = "range"


class LogHandler(StreamHandler):
    """ilab/api/jobs/{id}/log"""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Part of the log as JSON; with `Range` as text; with `download` as a file; or a stream of it."""
        query = self.query_as(LogQuery)
        jobs = await self.services.jobs()
        job = await jobs.get(id)
        if query.download:
            await self._download(jobs, job, query.attempt, bool(query.fold))
        elif self.wants_stream:
            await jobs.logs(id, limit=1)  # a removed log is an error before the stream starts
            attempt, offset = self._log_cursor(query)
            await self.stream(_log_frames(jobs, job.id, attempt, offset, bool(query.fold)))
        elif "Range" in self.request.headers:
            await self._range(jobs, job, query.attempt)
        else:
            chunk = await jobs.logs(id, offset=query.offset, limit=query.limit, attempt=query.attempt)
            self.answer(chunk.model_copy(update={"text": fold(chunk.text)}) if query.fold else chunk)

    def _log_cursor(self, query: LogQuery) -> tuple[int | None, int]:
        cursor = self.request.headers.get("Last-Event-ID")
        if cursor is None:
            return query.attempt, query.offset
        if (match := re.fullmatch(r"(\d{1,9}):(\d{1,18})", cursor)) is None:
            raise InvalidInput("Last-Event-ID is not one of this stream's.", "Leave it out to begin again.")
        return int(match[1]), int(match[2])

    async def _range(self, jobs: JobService, job: Job, attempt: int | None) -> None:
        header = self.request.headers["Range"]
        match = re.fullmatch(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", header)
        if match is None:
            raise RangeRefused("The header Range is not understood.", "Send one range, `bytes=0-1023` say.")
        first, last, suffix = match.groups()
        limit = CHUNK if suffix or not last else int(last) - int(first) + 1
        offset = -int(suffix) if suffix else int(first)
        if limit < 1 or (suffix and offset == 0):
            raise RangeRefused("The range is empty.", "Send one range, `bytes=0-1023` say.")
        chunk = await jobs.logs(job.id, offset=offset, limit=min(limit, CHUNK), attempt=attempt)
        if chunk.next_offset <= chunk.offset:
            self.set_header("Content-Range", f"bytes */{chunk.size}")
            raise RangeRefused(f"The log has {chunk.size} bytes.", "Ask for bytes below that.")
        self.set_status(206)
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Content-Range", f"bytes {chunk.offset}-{chunk.next_offset - 1}/{chunk.size}")
        self.finish(chunk.text.encode(), set_content_type="text/plain; charset=utf-8")

    async def _download(self, jobs: JobService, job: Job, attempt: int | None, folded: bool) -> None:
        folder = Folder()
        chunk = await jobs.logs(job.id, limit=CHUNK, attempt=attempt)
        # A running job may write faster than a client reads: the file ends where the log ended at the start.
        end = chunk.size
        self.set_attachment_header(f"{job.id}-{chunk.attempt}.log")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        async with self.services.streams.one() as self._gone:
            while True:
                if text := folder.feed(chunk.text) if folded else chunk.text:
                    self.write(text)
                    await self.flush()
                if _done(chunk, end) or self._gone.done():
                    break
                chunk = await jobs.logs(
                    job.id,
                    offset=chunk.next_offset,
                    limit=min(CHUNK, end - chunk.next_offset),
                    attempt=chunk.attempt,
                )
        await self.finish(folder.close(), set_content_type="text/plain; charset=utf-8")


def _done(chunk: LogChunk, end: int) -> bool:
    return chunk.next_offset >= end or chunk.next_offset <= chunk.offset


class EventsHandler(StreamHandler):
    """ilab/api/jobs/{id}/events"""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Events after a seq as JSON, or a stream of them that ends with `end`."""
        query = self.query_as(EventQuery)
        jobs = await self.services.jobs()
        job = await jobs.get(id)
        if self.wants_stream:
            log = {"log_offset": query.log_offset, "log_attempt": query.log_attempt}
            await self.stream(_event_frames(jobs, job.id, self._event_cursor(query.after), log))
        else:
            events = await jobs.events(id, after=query.after, limit=query.limit)
            self.answer(EventList(events=events))

    def _event_cursor(self, after: int) -> int:
        cursor = self.request.headers.get("Last-Event-ID")
        if cursor is None:
            return after
        if not re.fullmatch(r"\d{1,18}", cursor):
            raise InvalidInput("Last-Event-ID is not one of this stream's.", "Leave it out to begin again.")
        return int(cursor)


async def _log_frames(
    jobs: JobService, id: str, attempt: int | None, offset: int, folded: bool
) -> AsyncIterator[bytes]:
    made = _folded_frame if folded else _log_frame
    async for event in jobs.watch(id, after=PAST_ALL, log_offset=offset, log_attempt=attempt):
        if event.type == "log":
            yield made(event)
        elif event.type == "end":
            yield frame(event.model_dump_json(), event="end")


async def _event_frames(
    jobs: JobService, id: str, after: int, log: dict[str, int | None]
) -> AsyncIterator[bytes]:
    async for event in jobs.watch(id, after=after, **log):
        yield _event_frame(event)


def _make_log_frame(event: Event) -> bytes:
    fields = event.fields
    return frame(json.dumps(fields), event="log", id=f"{fields['attempt']}:{fields['next_offset']}")


def _make_folded_frame(event: Event) -> bytes:
    return _make_log_frame(event.model_copy(update={"text": shorten(event.fields["text"])}))


def _make_event_frame(event: Event) -> bytes:
    # Only a worker's event is a cursor; the other three are made by the stream.
    made_here = event.type in ("state", "log", "end")
    return frame(event.model_dump_json(), event=event.type, id=None if made_here else str(event.seq))


_log_frame, _folded_frame, _event_frame = map(Once, (_make_log_frame, _make_folded_frame, _make_event_frame))

"""Live stream of a job: events, log and state, which ends when everything was delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ilab_jupyter.jobs import view
from ilab_jupyter.jobs.logs import events, tails
from ilab_jupyter.jobs.record import Event
from ilab_jupyter.jobs.store.rows import Row, Store


@dataclass
class _LogCursor:
    """How much of an attempt's log was sent."""

    attempt: int
    offset: int


async def watch(
    store: Store, find: Callable[[], Row], *, after: int, log_offset: int | None, log_attempt: int | None
) -> AsyncIterator[Event]:
    """See `JobService.watch`. `find` returns the current row, or raises NotFound."""
    row = await asyncio.to_thread(find)
    hub = tails.hub(store)
    tail = await hub.join(row)
    try:
        log = None if log_offset is None else _begin(tail, log_offset, log_attempt)
        async for event in _stream(tail, after, log):
            yield event
    finally:
        hub.leave(tail)


async def _stream(tail: tails.Tail, after: int, log: _LogCursor | None) -> AsyncIterator[Event]:
    seq, version = after, -1
    at = await asyncio.to_thread(events.offset_after, tail.folder.events, after)
    while True:
        changes = tail.changes
        # The row first: once it has ended, everything that its worker wrote can be read.
        row = tail.row
        if row.version != version:
            version = row.version
            yield await tail.state(seq)
        more = True
        while more:
            more = False
            if at < tail.sizes[1] or row.state.ended:
                lines, end = await tail.events(at)
                more, at = end > at, end
                for line in lines:
                    if line.seq > seq:
                        seq = line.seq
                        yield line
            if log is not None:
                past = log.attempt < row.attempt
                event = None
                if past or row.state.ended or log.offset < tail.sizes[0]:
                    final = row.state.ended or past
                    event = await tail.log(log.attempt, log.offset, seq, final=final)
                if event is not None:
                    more = True
                    log.offset = event.fields["next_offset"]
                    if event.fields["text"]:
                        yield event
                elif past:
                    log, more = _LogCursor(log.attempt + 1, 0), True
        if row.state.ended:
            yield view.stream_event(
                "end",
                seq,
                state=row.state,
                exit_code=row.exit_code,
                cause=row.cause,
                message=row.message,
                hint=row.hint,
                result=row.result,
            )
            return
        await tail.changed(changes)


def _begin(tail: tails.Tail, offset: int, attempt: int | None) -> _LogCursor:
    """Return the cursor to start from. A negative offset counts from the end.

    An offset past the end without an attempt refers to an earlier attempt's log: the newest log starts at 0.
    """
    newest = tail.row.attempt
    if attempt is not None and attempt != newest:
        return _LogCursor(attempt, offset) if attempt < newest else _LogCursor(newest, 0)
    size = tail.sizes[0]
    return _LogCursor(tail.row.attempt, offset if offset <= size else 0)

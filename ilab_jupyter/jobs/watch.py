"""Following a job live: its events, log and state as one stream that ends when everything was delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ilab_jupyter.jobs import logs, view
from ilab_jupyter.jobs.events import EventTail
from ilab_jupyter.jobs.record import Event
from ilab_jupyter.jobs.store import Row, Store

_POLL = 0.15
_LOOK = 0.5
_PIECE = 65536


@dataclass
class _LogTail:
    """How far the log of an attempt was read."""

    attempt: int
    offset: int


async def watch(
    store: Store, find: Callable[[], Row], *, after: int, log_offset: int | None
) -> AsyncIterator[Event]:
    """See `JobService.watch`. `find` gives the row now, or raises NotFound."""
    row = await asyncio.to_thread(find)
    folder = store.state.job(row.id)
    tail = await asyncio.to_thread(EventTail, folder.events, after)
    log = None if log_offset is None else _LogTail(row.attempt, _start(store, row, log_offset))
    seq, looked = after, time.monotonic()
    yield await asyncio.to_thread(_state, store, row, seq)
    while True:
        # The row first: when it has ended, everything that its worker wrote is there to be read.
        ended = row.state.ended
        more = True
        while more:
            more = False
            if tail.changed() and (lines := await asyncio.to_thread(tail.read)):
                more = True
                for line in lines:
                    seq = line["seq"]
                    yield view.event(line)
            if log is not None:
                final = ended or log.attempt < row.attempt
                piece = await asyncio.to_thread(_read, store, row.id, log, final)
                if piece is not None:
                    more = True
                    yield view.made(
                        "log",
                        seq,
                        attempt=log.attempt,
                        offset=piece.offset,
                        next_offset=piece.next_offset,
                        text=piece.text,
                    )
                    log.offset = piece.next_offset
                elif log.attempt < row.attempt:
                    log = _LogTail(log.attempt + 1, 0)
                    more = True
        if ended:
            yield view.made(
                "end",
                seq,
                state=row.state,
                exit_code=row.exit_code,
                cause=row.cause,
                message=row.message,
                next_step=row.next_step,
                result=row.result,
            )
            return
        await asyncio.sleep(_POLL)
        if (now := time.monotonic()) - looked >= _LOOK:
            looked = now
            new = await asyncio.to_thread(find)
            if new.version != row.version:
                row = new
                yield await asyncio.to_thread(_state, store, row, seq)


def _start(store: Store, row: Row, offset: int) -> int:
    """An offset behind the end was counted in the log of an earlier attempt: this one's begins anew."""
    try:
        return offset if offset <= store.state.job(row.id).attempt(row.attempt).log.stat().st_size else 0
    except FileNotFoundError:
        return 0


def _state(store: Store, row: Row, seq: int) -> Event:
    return view.made("state", seq, job=view.jobs(store, [row])[0].model_dump(mode="json"))


def _read(store: Store, id: str, log: _LogTail, final: bool) -> logs.Piece | None:
    """The next piece; None where there is nothing new."""
    path = store.state.job(id).attempt(log.attempt).log
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    if size <= log.offset:
        return None
    piece = logs.read(path, log.offset, _PIECE, final=final)
    return piece if piece.text else None

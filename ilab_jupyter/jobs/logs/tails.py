"""Log and event pieces shared by all watchers of a job: each is read, masked and built once."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar

import sqlalchemy as sa

from ilab_jupyter.jobs import view
from ilab_jupyter.jobs.logs import events, masking
from ilab_jupyter.jobs.logs import reading as logs
from ilab_jupyter.jobs.logs.inotify import Inotify
from ilab_jupyter.jobs.record import Event
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.filesystem import network
from ilab_jupyter.jobs.store.rows import Row, Store

PIECE = 65536
_ROW_POLL_SECONDS = 0.5
_DEBOUNCE_SECONDS = 0.01  # between two checks of a file that is being written
_DEBOUNCE_PER_WATCHER = 0.0002  # added for each watcher
_FILE_POLL_SECONDS, _FILE_POLL_PER_JOB = 0.02, 0.0004
_KEPT = 4
_LINES = 1000
# Errors of a busy or slow database are retried for so long before its watchers see them.
_STORE_ERROR_SECONDS = 15.0

T = TypeVar("T")


class Tail:
    """A job with its watchers: its row, the sizes of its files, and the pieces read last.

    Nothing here waits for a slow watcher: it reads on from its own offset, and only the last few pieces are
    kept.
    """

    def __init__(self, store: Store, row: Row) -> None:
        self.row = row
        self.sizes = (0, 0)
        self.problem: Exception | None = None
        self.watchers = 0
        self.changes = 0
        self.debouncing = False
        self.numbers: tuple[int | None, int | None] = (None, None)
        self.folder = store.state.job(row.id)
        self._store = store
        self._made: OrderedDict[Hashable, asyncio.Future[Any]] = OrderedDict()
        self._waiting: set[asyncio.Future[None]] = set()

    async def changed(self, since: int) -> None:
        """Wait until there have been more than `since` changes."""
        if self.changes == since:
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        if self.problem is not None:
            raise self.problem

    def notify(self) -> None:
        """Record a change and wake the watchers."""
        self.changes += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def file_sizes(self) -> tuple[int, int]:
        """Return the sizes of the log and the events. Blocks."""
        return _size(self.folder.attempt(self.row.attempt).log), _size(self.folder.events)

    async def state(self, seq: int) -> Event:
        """Return a `state` event with the current row."""
        row = self.row

        def make() -> Event:
            job = view.jobs(self._store, [row])[0].model_dump(mode="json")
            return view.stream_event("state", seq, job=job)

        return await self._once(("state", row.version, seq), make)

    async def log(self, attempt: int, offset: int, seq: int, *, final: bool) -> Event | None:
        """Return the next piece of an attempt's log as a `log` event; None if there is nothing new."""

        def make() -> Event | None:
            # Pieces end at multiples of their size, so that watchers at different offsets converge.
            limit = PIECE - offset % PIECE
            mask = masking.mask_of(self.folder, attempt)
            piece = logs.read(self.folder.attempt(attempt).log, offset, limit, final=final, mask=mask)
            if piece.next_offset <= offset:
                return None
            fields = {"offset": piece.offset, "next_offset": piece.next_offset, "text": piece.text}
            return view.stream_event("log", seq, attempt=attempt, **fields)

        return await self._once(("log", attempt, offset, seq, final), make)

    async def events(self, offset: int) -> tuple[list[Event], int]:
        """Return events from byte `offset` of their file on, and the offset after them."""

        def make() -> tuple[list[Event], int]:
            mask = masking.mask_of(self.folder)
            lines, end = events.read_from(self.folder.events, offset, _LINES)
            return [view.event(mask.event(line)) for line in lines], end

        return await self._once(("events", offset), make)

    async def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Share one result of `make` between concurrent callers. Results that may still grow are not kept."""
        known = self._made.get(key)
        if known is None:
            known = self._made[key] = asyncio.ensure_future(asyncio.to_thread(make))
            known.add_done_callback(lambda done: done.cancelled() or done.exception())
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        try:
            made: T = await asyncio.shield(known)
        except Exception:
            self._made.pop(key, None)
            raise
        if made is None or (isinstance(made, tuple) and not made[0]):
            self._made.pop(key, None)
        return made


class Hub:
    """The jobs of a store that are watched in one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tails: dict[str, Tail] = {}
        self._by_number: dict[int, Tail] = {}
        self._inotify: Inotify | None = None
        self._task: asyncio.Task[None] | None = None
        self._poll: asyncio.Task[None] | None = None
        self._checks: set[asyncio.Task[None]] = set()

    async def join(self, row: Row) -> Tail:
        """Add a watcher of a job; call `leave` when it is done."""
        tail = self._tails.get(row.id)
        if tail is None or tail.problem is not None:
            tail = self._tails[row.id] = Tail(self._store, row)
            if self._task is None:
                self._start()
            self._arm(tail)
        elif row.version > tail.row.version:
            self._move(tail, row)
        tail.watchers += 1
        try:
            await self._check([tail])
        except BaseException:
            self.leave(tail)
            raise
        return tail

    def leave(self, tail: Tail) -> None:
        """Remove a watcher."""
        tail.watchers -= 1
        if tail.watchers == 0 and self._tails.get(tail.row.id) is tail:
            del self._tails[tail.row.id]
            self._disarm(tail)
            if not self._tails:
                self._stop()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        # On a network file system inotify does not report what another machine writes.
        if not network(self._store.state.path):
            with suppress(OSError, NotImplementedError):
                self._inotify = Inotify()
                loop.add_reader(self._inotify.descriptor, self._noticed)
        self._task = loop.create_task(self._poll_rows(), name="ilab watch")
        if self._inotify is None:
            self._poll = loop.create_task(self._poll_files(), name="ilab poll")

    def _stop(self) -> None:
        for task in (self._task, self._poll):
            if task is not None:
                task.cancel()
        self._task = self._poll = None
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.descriptor)
            self._inotify.close()
            self._inotify = None
        self._by_number.clear()
        _hubs.pop((self._store, asyncio.get_running_loop()), None)

    def _arm(self, tail: Tail) -> None:
        if self._inotify is not None:
            folders = tail.folder.attempt(tail.row.attempt).path, tail.folder.path
            tail.numbers = (self._inotify.watch(folders[0]), self._inotify.watch(folders[1]))
            self._by_number.update((number, tail) for number in tail.numbers if number is not None)

    def _disarm(self, tail: Tail) -> None:
        for number in tail.numbers:
            if number is not None and self._by_number.pop(number, None) is not None and self._inotify:
                self._inotify.unwatch(number)
        tail.numbers = (None, None)

    def _noticed(self) -> None:
        if self._inotify is not None:
            for number in self._inotify.read():
                tail = self._by_number.pop(number, None)
                if tail is not None and not tail.debouncing:
                    self._debounce(tail)
                    self._soon(tail)

    def _soon(self, tail: Tail) -> None:
        task = asyncio.ensure_future(self._check([tail]))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    def _debounce(self, tail: Tail) -> None:
        """Check again after a short delay, however often the file is written until then."""
        tail.debouncing = True
        pause = _DEBOUNCE_SECONDS + _DEBOUNCE_PER_WATCHER * tail.watchers
        asyncio.get_running_loop().call_later(pause, self._debounced, tail)

    def _debounced(self, tail: Tail) -> None:
        tail.debouncing = False
        if self._tails.get(tail.row.id) is tail:
            # Watch first, then read the sizes: a write in between is seen by one of the two.
            self._arm(tail)
            self._soon(tail)

    async def _check(self, tails: list[Tail]) -> None:
        found = await asyncio.to_thread(lambda: [tail.file_sizes() for tail in tails])
        for tail, sizes in zip(tails, found, strict=True):
            if sizes != tail.sizes:
                tail.sizes = sizes
                tail.notify()
                if self._inotify is not None and not tail.debouncing:
                    self._debounce(tail)

    async def _poll_files(self) -> None:
        while True:
            await self._check(list(self._tails.values()))
            await asyncio.sleep(_FILE_POLL_SECONDS + _FILE_POLL_PER_JOB * len(self._tails))

    async def _poll_rows(self) -> None:
        """Every half second, check the rows of all jobs at once, and files whose notification was lost."""
        seen = time.monotonic()
        while True:
            await asyncio.sleep(_ROW_POLL_SECONDS)
            tails = list(self._tails.values())
            try:
                rows = await asyncio.to_thread(self._newer, {tail.row.id: tail.row.version for tail in tails})
                for row in rows:
                    if (tail := self._tails.get(row.id)) is not None and row.version > tail.row.version:
                        self._move(tail, row)
                await self._check(tails)
                seen = time.monotonic()
            except Exception as error:
                if time.monotonic() - seen < _STORE_ERROR_SECONDS:
                    continue
                for tail in tails:
                    tail.problem = error
                    tail.notify()

    def _move(self, tail: Tail, row: Row) -> None:
        new = row.attempt != tail.row.attempt
        tail.row = row
        if new:
            self._disarm(tail)
            self._arm(tail)
        tail.notify()

    def _newer(self, versions: dict[str, int]) -> list[Row]:
        table = schema.job
        query = sa.select(table.c.id, table.c.version).where(table.c.id.in_(list(versions)))
        with self._store.read() as connection:
            moved = [id for id, version in connection.execute(query) if version > versions[id]]
        return self._store.select(table.c.id.in_(moved)) if moved else []


_hubs: dict[tuple[Store, asyncio.AbstractEventLoop], Hub] = {}  # only hubs with watchers


def hub(store: Store) -> Hub:
    """Return the hub of the running loop."""
    key = store, asyncio.get_running_loop()
    return _hubs.setdefault(key, _hubs.get(key) or Hub(store))


def _size(path: Any) -> int:
    try:
        return int(path.stat().st_size)
    except OSError:
        return 0

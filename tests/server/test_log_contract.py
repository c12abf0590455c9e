"""A log comes once, in order, from a cursor, to its end: the same over every transport.

A scenario that needs a live job runs once for all transports, which read side by side; the tests then check
what each of them delivered. What only one transport has is tested with that transport.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.client.remote import RemoteJobs
from ilab_jupyter.errors import InvalidInput, NotFound
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.service import JobService
from ilab_jupyter.jobs.state import JobState
from tests.server.in_process import Server
from tests.server.log_transports import (
    START,
    Cursor,
    End,
    EventStream,
    Item,
    Log,
    LogStream,
    Polling,
    Socket,
    State,
    Transport,
    Watching,
    WorkerEvent,
)

SERVICES = ["local", "HTTP"]
WITH_EVENTS = ["local watch", "HTTP watch", "event stream", "WebSocket"]
STREAMS = [*WITH_EVENTS, "log stream", "log stream by query"]
ALL = [*STREAMS, "local logs", "HTTP logs"]

SHORT = "aé→🙂\n0123456789\n"
# Pieces of 65,536 bytes end in the middle of a character here, and in the middle of a line below.
LONG = "→" * 40_000 + "\n" + "".join(f"line {number}\n" for number in range(20_000))
Outcome = Any  # what a transport delivered, or the exception that it raised


@dataclass
class Readers:
    """The transports by name, and the two services that some of them are made of."""

    transports: dict[str, Transport]
    services: dict[str, JobService]

    async def each(
        self, names: list[str], read: Callable[[str, Transport], Awaitable[Any]]
    ) -> dict[str, Outcome]:
        """Let the named transports read side by side."""
        reading = [asyncio.wait_for(read(name, self.transports[name]), 30) for name in names]
        return dict(zip(names, await asyncio.gather(*reading, return_exceptions=True), strict=True))


@pytest.fixture(scope="module")
def readers(shared_server: Server, loop: asyncio.AbstractEventLoop) -> Iterator[Readers]:
    local = LocalJobs(
        shared_server.folder / "state", worker_python=str(shared_server.folder / "quick-python")
    )
    remote = RemoteJobs(shared_server.url, shared_server.token)
    yield Readers(
        {
            "local logs": Polling(local),
            "local watch": Watching(local),
            "HTTP logs": Polling(remote),
            "HTTP watch": Watching(remote),
            "log stream": LogStream(shared_server),
            "log stream by query": LogStream(shared_server, by_query=True),
            "event stream": EventStream(shared_server),
            "WebSocket": Socket(shared_server),
        },
        {"local": local, "HTTP": remote},
    )
    loop.run_until_complete(remote.aclose())
    local.close()


@pytest.fixture
def transport(request: pytest.FixtureRequest, server: Server, readers: Readers) -> Transport:
    return readers.transports[request.param]


def over(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("transport", names, indirect=True)


@pytest.fixture(scope="module")
def short_job(make_job: Callable[..., str]) -> str:
    """A job that ended with the log SHORT."""
    return make_job(*(f"print:{line}" for line in SHORT.splitlines()))


@pytest.fixture(scope="module")
def long_job(make_job: Callable[..., str]) -> str:
    """A job that ended with the log LONG."""
    return make_job("repeat:40000 →", "lines:20000")


@pytest.fixture(scope="module")
def resumed_job(make_job: Callable[..., str]) -> str:
    """A job whose first attempt failed and whose second succeeded."""
    return make_job("print:one", "print:TWO", "fail_first:no", "print:three", then="resume")


async def read(transport: Transport, id: str, cursor: Cursor = START, after: int = 0) -> list[Item]:
    """Everything that the transport delivers up to the end."""

    async def items() -> list[Item]:
        async with aclosing(transport.follow(id, cursor, after)) as found:
            return [item async for item in found]

    return await asyncio.wait_for(items(), 30)


async def read_text(transport: Transport, id: str, cursor: Cursor, text: str) -> Cursor:
    """Follow until exactly this text has come, and drop the connection; the cursor behind the text."""
    seen = ""
    async with aclosing(transport.follow(id, cursor)) as found:
        async for item in found:
            if isinstance(item, Log):
                seen, cursor = seen + item.text, item.cursor
                assert text.startswith(seen)
                if seen == text:
                    return cursor
    raise AssertionError(f"The job ended after {seen!r}.")


def logs(items: list[Item]) -> list[Log]:
    return [item for item in items if isinstance(item, Log)]


def text_of(items: list[Item]) -> str:
    return "".join(log.text for log in logs(items))


def by_attempt(items: list[Item]) -> list[tuple[int, str]]:
    """(attempt, text) in the order in which the attempts came."""
    attempts = dict.fromkeys(log.attempt for log in logs(items))
    return [(one, "".join(log.text for log in logs(items) if log.attempt == one)) for one in attempts]


def check(items: list[Item], offset: int, text: str, state: str = "SUCCEEDED") -> None:
    """The pieces are the text once, without a gap, from the offset on; one end comes last."""
    pieces = logs(items)
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.offset for piece in pieces] == [offset, *(piece.next_offset for piece in pieces[:-1])]
    assert all(piece.next_offset - piece.offset == len(piece.text.encode()) for piece in pieces)
    assert [item.state for item in items if isinstance(item, End)] == [state]
    assert isinstance(items[-1], End)


def result(outcomes: dict[str, Outcome], name: str) -> Any:
    """What the transport delivered in a scenario."""
    if isinstance(outcomes[name], BaseException):
        raise outcomes[name]
    return outcomes[name]


# A job that has ended.


@over(ALL)
async def test_log_comes_once_in_order_from_start(transport: Transport, long_job: str) -> None:
    check(await read(transport, long_job), 0, LONG)


@over(ALL)
@pytest.mark.parametrize("offset", [1, 10, 15, len(SHORT.encode()) - 1])
async def test_log_comes_from_an_offset(transport: Transport, short_job: str, offset: int) -> None:
    check(await read(transport, short_job, Cursor(None, offset)), offset, SHORT.encode()[offset:].decode())


@over(ALL)
async def test_nothing_but_end_comes_from_end_of_log(transport: Transport, short_job: str) -> None:
    items = await read(transport, short_job, Cursor(1, len(SHORT.encode())))
    assert logs(items) == [] and isinstance(items[-1], End)


@over(ALL)
async def test_offset_inside_a_character_shifts_nothing(transport: Transport, short_job: str) -> None:
    items = await read(transport, short_job, Cursor(None, 2))
    assert text_of(items) == SHORT.encode()[2:].decode(errors="replace")
    assert (logs(items)[0].offset, logs(items)[-1].next_offset) == (2, len(SHORT.encode()))


@over(ALL)
@pytest.mark.parametrize(("back", "text"), [(9, "23456789\n"), (14, "\n0123456789\n"), (10**9, SHORT)])
async def test_negative_offset_counts_from_end_in_whole_characters(
    transport: Transport, short_job: str, back: int, text: str
) -> None:
    check(
        await read(transport, short_job, Cursor(None, -back)),
        len(SHORT.encode()) - len(text.encode()),
        text,
    )


@over(ALL)
async def test_reconnecting_after_each_piece_loses_and_repeats_nothing(
    transport: Transport, long_job: str
) -> None:
    pieces: list[Item] = []
    cursor = START
    while not pieces or isinstance(pieces[-1], Log):
        async with aclosing(transport.follow(long_job, cursor)) as items:
            pieces.append(await anext(item async for item in items if isinstance(item, Log | End)))
        if isinstance(pieces[-1], Log):
            cursor = pieces[-1].cursor
    assert len(pieces) > 4, "the log did not come in several pieces"
    check(pieces, 0, LONG)


# Several attempts.


@over(ALL)
@pytest.mark.parametrize(
    ("cursor", "payload"),
    [
        (Cursor(1, 4), [(1, "TWO\n"), (2, "one\nTWO\nthree\n")]),
        (Cursor(1, 8), [(2, "one\nTWO\nthree\n")]),
        (Cursor(2, 10), [(2, "ree\n")]),
        (START, [(2, "one\nTWO\nthree\n")]),
    ],
)
async def test_cursor_in_an_attempt_leads_through_later_attempts(
    transport: Transport, resumed_job: str, cursor: Cursor, payload: list[tuple[int, str]]
) -> None:
    assert by_attempt(await read(transport, resumed_job, cursor)) == payload


@over(STREAMS)
@pytest.mark.parametrize("cursor", [Cursor(9, 2), Cursor(None, 10**9)])
async def test_cursor_beyond_the_log_begins_newest_attempt(
    transport: Transport, resumed_job: str, cursor: Cursor
) -> None:
    assert by_attempt(await read(transport, resumed_job, cursor)) == [(2, "one\nTWO\nthree\n")]


# The end.


@pytest.fixture(scope="module")
def ended_jobs(make_job: Callable[..., str], shared_server: Server, loop: Any) -> dict[str, str]:
    """State -> a job that ended in it after it had printed `x`."""

    async def cancelled() -> str:
        id = await shared_server.submit("print:x", "sleep:60")
        async with aclosing(LogStream(shared_server).follow(id)) as items:
            await anext(items)
        await shared_server.http.post(f"ilab/api/jobs/{id}/cancel")
        await shared_server.ended(id)
        return id

    return {"FAILED": make_job("print:x", "fail:no"), "CANCELLED": loop.run_until_complete(cancelled())}


@over(ALL)
@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
async def test_end_names_the_outcome_and_comes_at_once(
    transport: Transport, ended_jobs: dict[str, str], state: str
) -> None:
    started = time.monotonic()
    check(await read(transport, ended_jobs[state]), 0, "x\n", state)
    assert time.monotonic() - started < 5, "nothing waits for the end of a stream that has ended"


# A log that grows.


@pytest.fixture(scope="module")
def growing(
    readers: Readers, shared_server: Server, loop: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """Each transport drops its connection twice while the job runs, once inside a character."""
    folder = tmp_path_factory.mktemp("gates")
    first, second = folder / "first", folder / "second"
    script = ["print:one", f"wait_for:{first}", "bytes:6162f09f", f"wait_for:{second}", "bytes:99820a"]

    async def run() -> dict[str, Outcome]:
        id = await shared_server.submit(*script, "print:three", "bytes:f09f")
        ones = await readers.each(ALL, lambda _, transport: read_text(transport, id, START, "one\n"))
        first.touch()
        halves = await readers.each(
            ALL, lambda name, transport: read_text(transport, id, result(ones, name), "ab")
        )
        second.touch()

        async def rest(name: str, transport: Transport) -> tuple[Cursor, list[Item]]:
            cursor = result(halves, name)
            return cursor, await read(transport, id, cursor)

        return await readers.each(ALL, rest)

    return loop.run_until_complete(run())


@pytest.mark.parametrize("name", ALL)
async def test_live_log_continues_where_the_connection_was_lost(
    growing: dict[str, Outcome], name: str
) -> None:
    cursor, items = result(growing, name)
    assert cursor == Cursor(1, 6), "half a character was delivered"
    # What the worker left unfinished is shown once nothing can follow.
    assert text_of(items) == "🙂\nthree\n�" and isinstance(items[-1], End)
    assert (logs(items)[0].offset, logs(items)[-1].next_offset) == (6, 19)


@pytest.fixture(scope="module")
def slow(readers: Readers, shared_server: Server, loop: Any) -> dict[str, Outcome]:
    """Each transport's reader pauses while the job writes."""

    async def run() -> dict[str, Outcome]:
        id = await shared_server.submit("sleep:0.3", "lines:50000", "sleep:0.3", "lines:50000")

        async def pausing(_: str, transport: Transport) -> list[Item]:
            items = []
            async with aclosing(transport.follow(id)) as found:
                async for item in found:
                    items.append(item)
                    await asyncio.sleep(0.1)
            return items

        return await readers.each(ALL, pausing)

    return loop.run_until_complete(run())


@pytest.mark.parametrize("name", ALL)
async def test_reader_slower_than_writer_loses_nothing(slow: dict[str, Outcome], name: str) -> None:
    check(result(slow, name), 0, "".join(f"line {number}\n" for number in range(50_000)) * 2)


@pytest.fixture(scope="module")
def waiting(readers: Readers, shared_server: Server, loop: Any) -> dict[str, Outcome]:
    """The transports follow a job that waits until the queue is no longer paused."""

    async def run() -> dict[str, Outcome]:
        await shared_server.http.post("ilab/api/queue/pause", json={"reason": "a test"})
        id = await shared_server.submit("print:mine")
        following = asyncio.create_task(readers.each(ALL, lambda _, transport: read(transport, id)))
        await asyncio.sleep(0.5)
        assert await shared_server.state(id) == "QUEUED"
        await shared_server.http.post("ilab/api/queue/unpause")
        return await following

    return loop.run_until_complete(run())


@pytest.mark.parametrize("name", ALL)
async def test_waiting_job_is_followed_to_its_end(waiting: dict[str, Outcome], name: str) -> None:
    items = result(waiting, name)
    assert by_attempt(items) == [(1, "mine\n")] and items[-1].state == "SUCCEEDED"
    assert name not in WITH_EVENTS or items[0].state == "QUEUED"


# Events beside the log.


@pytest.fixture(scope="module")
def lively(readers: Readers, shared_server: Server, loop: Any) -> tuple[str, dict[str, Outcome]]:
    """A job that reports and prints, and what each transport delivered while it ran."""

    async def run() -> tuple[str, dict[str, Outcome]]:
        script = ["step:1/3", "lines:2000", "sleep:0.4", "step:2/3", "print:🙂", "step:3/3"]
        id = await shared_server.submit(*script)
        return id, await readers.each(WITH_EVENTS, lambda _, transport: read(transport, id))

    return loop.run_until_complete(run())


@pytest.mark.parametrize("name", WITH_EVENTS)
async def test_events_log_and_states_come_once_in_order(
    lively: tuple[str, dict[str, Outcome]], name: str
) -> None:
    items = result(lively[1], name)
    events = [item for item in items if isinstance(item, WorkerEvent)]
    assert [(event.seq, event.type) for event in events] == [
        *((seq, "progress") for seq in (1, 2, 3)),
        (4, "result"),
    ]
    assert [event.fields["step"] for event in events[:3]] == [1, 2, 3]
    check(items, 0, "".join(f"line {number}\n" for number in range(2000)) + "🙂\n")
    states = [item.state for item in items if isinstance(item, State)]
    assert isinstance(items[0], State) and states[-1] == "SUCCEEDED"
    assert states == sorted(states, key=list(JobState).index)
    assert [item.seq for item in items] == sorted(item.seq for item in items) and items[-1].seq == 4
    outcome = {key: items[-1].fields[key] for key in ("exit_code", "cause", "result")}
    assert outcome == {"exit_code": 0, "cause": None, "result": {"done": 6}}


@over(WITH_EVENTS)
async def test_reconnecting_after_each_event_loses_and_repeats_nothing(
    transport: Transport, lively: tuple[str, dict[str, Outcome]]
) -> None:
    seqs, after = [], 0
    while True:
        async with aclosing(transport.follow(lively[0], START, after)) as items:
            found = await anext(item async for item in items if isinstance(item, WorkerEvent | End))
        if isinstance(found, End):
            break
        after = found.seq
        seqs.append(after)
    assert seqs == [1, 2, 3, 4]


@pytest.mark.parametrize("name", SERVICES)
async def test_events_are_listed_after_a_seq(
    server: Server, readers: Readers, lively: tuple[str, dict[str, Outcome]], name: str
) -> None:
    service = readers.services[name]
    assert [event.seq for event in await service.events(lively[0], after=1)] == [2, 3, 4]
    assert [event.seq for event in await service.events(lively[0], after=1, limit=2)] == [2, 3]


@pytest.mark.parametrize("name", SERVICES)
async def test_watch_without_log_offset_brings_no_log(
    server: Server, readers: Readers, ended_jobs: dict[str, str], name: str
) -> None:
    events = [event async for event in readers.services[name].watch(ended_jobs["FAILED"])]
    assert [event.type for event in events] == ["state", "error", "end"]
    assert (events[-1].fields["state"], events[-1].fields["exit_code"]) == ("FAILED", 1)


# What both services say of a part of the log.


@pytest.mark.parametrize("name", SERVICES)
async def test_part_of_a_log_is_bounded_by_whole_characters(
    server: Server, readers: Readers, short_job: str, name: str
) -> None:
    service, size = readers.services[name], len(SHORT.encode())
    part = await service.logs(short_job, offset=1, limit=4)
    assert (part.text, part.offset, part.next_offset, part.size, part.ended) == ("é", 1, 3, size, False)
    past = await service.logs(short_job, offset=10**9)
    assert (past.text, past.offset, past.ended) == ("", size, True)
    with pytest.raises(NotFound):
        await service.logs(short_job, attempt=2)
    with pytest.raises(InvalidInput):
        await service.logs(short_job, limit=0)


@pytest.mark.parametrize("name", SERVICES)
async def test_log_of_a_running_job_has_not_ended(
    server: Server, readers: Readers, tmp_path: Path, name: str
) -> None:
    id = await server.submit("print:x", f"wait_for:{tmp_path / 'go'}")
    await read_text(readers.transports[f"{name} logs"], id, START, "x\n")
    assert not (await readers.services[name].logs(id)).ended

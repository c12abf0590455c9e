"""All leaves of a run through their pipelines at once, in an event loop of its own."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ilab_jupyter.synthesis.driver import stages
from ilab_jupyter.synthesis.driver.blocks import Position, Row
from ilab_jupyter.synthesis.driver.ledger import Ledger
from ilab_jupyter.synthesis.driver.pool import Pool

THREADS = 32

Result = TypeVar("Result")


@dataclass(frozen=True)
class Lane:
    """One leaf's samples on their way through one pipeline. `made` gets each batch's rows, in order."""

    leaf: str
    pipeline: Any
    samples: Sequence[Row]
    made: Callable[[list[Row]], None]


@dataclass(frozen=True)
class _Batch:
    lane: Lane
    samples: list[Row]
    position: Position


async def drive(lanes: Sequence[Lane], pool: Pool, ledger: Ledger, batch_size: int) -> None:
    """Take all samples of all lanes through their pipelines; the first failure ends it.

    `batch_size` samples are a batch, 0 makes one of a whole leaf. A batch is begun while the teacher could
    take more than what waits for it, so what lies in memory does not grow with the taxonomy.
    """
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="block")
    try:
        ready = [stages.compiled(lane.pipeline, pool, ledger, batch_size, threads) for lane in lanes]
        for lane in lanes:
            ledger.expect(lane.leaf, len(lane.samples))
        last: dict[int, asyncio.Task[None]] = {}
        active: set[asyncio.Task[None]] = set()
        for number, batch in _batches(lanes, batch_size):
            await pool.room()
            work = _through(batch, ready[number], ledger, last.get(number))
            last[number] = asyncio.create_task(_failing(pool, work))
            active.add(last[number])
            last[number].add_done_callback(active.discard)
            await asyncio.sleep(0)
        await asyncio.gather(*active, return_exceptions=True)
        if pool.failure is not None:
            raise pool.failure
    finally:
        # a block that waits for the teacher hears from this loop that there is nothing to wait for
        threads.shutdown(wait=False, cancel_futures=True)


def apart(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine in a thread of its own, since a notebook's thread has an event loop already.

    An interrupt is raised here, and ends the work as soon as it can be ended.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []
    task: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        # failed tasks of a run that has failed already: its first failure is what is raised
        loop.set_exception_handler(lambda loop, context: None)
        inner = asyncio.create_task(work())
        task.append((loop, inner))
        outcome.append(await inner)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="generation", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        for loop, inner in task:
            loop.call_soon_threadsafe(inner.cancel)
        thread.join()
        raise
    if failure:
        raise failure[0]
    return outcome[0]


def _batches(lanes: Sequence[Lane], batch_size: int) -> Iterator[tuple[int, _Batch]]:
    """(number of the lane, batch), one batch of each lane after another."""
    sizes = [batch_size or max(1, len(lane.samples)) for lane in lanes]
    rounds = max(
        (math.ceil(len(lane.samples) / size) for lane, size in zip(lanes, sizes, strict=True)), default=0
    )
    order = 0
    for turn in range(rounds):
        for number, (lane, size) in enumerate(zip(lanes, sizes, strict=True)):
            samples = list(lane.samples[turn * size : (turn + 1) * size])
            if samples:
                yield number, _Batch(lane, samples, Position(lane.leaf, order))
                order += 1


async def _through(
    batch: _Batch, ready: Sequence[stages.Stage], ledger: Ledger, before: asyncio.Task[None] | None
) -> None:
    slots = [asyncio.create_task(_one(sample)) for sample in batch.samples]
    for stage in ready:
        slots = stage(slots, batch.position)
    rows: list[Row] = []
    reported = 0
    for number, slot in enumerate(slots, 1):
        rows += await slot
        done = len(batch.samples) * number // len(slots)
        # the last one counts when its rows are written
        if number < len(slots):
            ledger.finished(batch.lane.leaf, done - reported)
            reported = done
    if before is not None:
        await before
    batch.lane.made(rows)
    ledger.finished(batch.lane.leaf, len(batch.samples) - reported)


async def _one(sample: Row) -> list[Row]:
    return [sample]


async def _failing(pool: Pool, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:
        pool.fail(error)
        raise

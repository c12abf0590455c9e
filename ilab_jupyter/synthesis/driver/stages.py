"""How the rows of one batch pass through a pipeline, each as early as the meaning of its blocks allows.

A batch is what instructlab-sdg would take as one: duplicates are dropped within it. Its rows lie in slots, in
the order that instructlab-sdg would have them in; a slot is a task that ends with its rows. A stage makes new
slots of old ones at once, and their tasks wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from ilab_jupyter.errors import PublicError
from ilab_jupyter.progress import Stopped
from ilab_jupyter.synthesis.driver import blocks
from ilab_jupyter.synthesis.driver.blocks import Position, Row, RowStep
from ilab_jupyter.synthesis.driver.ledger import Ledger
from ilab_jupyter.synthesis.driver.pool import Pool

Slot = asyncio.Task[list[Row]]


class Stage(Protocol):
    """Makes new slots of old ones without waiting for any."""

    def __call__(self, slots: list[Slot], position: Position) -> list[Slot]: ...


class Rows:
    """Blocks that take one row after another: each row goes on by itself."""

    def __init__(self) -> None:
        self.steps: list[RowStep] = []

    def __call__(self, slots: list[Slot], position: Position) -> list[Slot]:
        return [asyncio.create_task(self._slot(slot, position)) for slot in slots]

    async def _slot(self, slot: Slot, position: Position) -> list[Row]:
        return await self._all(await slot, self.steps, position)

    async def _all(self, rows: list[Row], steps: Sequence[RowStep], position: Position) -> list[Row]:
        if len(rows) == 1:
            return await self._one(rows[0], steps, position)
        made = await asyncio.gather(*(self._one(row, steps, position) for row in rows))
        return [row for part in made for row in part]

    async def _one(self, row: Row, steps: Sequence[RowStep], position: Position) -> list[Row]:
        for number, step in enumerate(steps):
            made = await step(row, position)
            if len(made) != 1:
                return await self._all(made, steps[number + 1 :], position)
            row = made[0]
        return [row]


class Melt:
    """FlattenColumnsBlock on a batch that fits into one call of it: the rows of one column, then the next."""

    def __init__(self, block: Any, columns: list[str]) -> None:
        self._block = block
        self._columns = columns

    def __call__(self, slots: list[Slot], position: Position) -> list[Slot]:
        return [asyncio.create_task(self._melted(slot, column)) for column in self._columns for slot in slots]

    async def _melted(self, slot: Slot, column: str) -> list[Row]:
        return [blocks.melted(self._block, row, column) for row in await slot]


class Repeat:
    """IterBlock on such a batch: all rows through the inner block, as often as it says, at once."""

    def __init__(self, step: RowStep, times: int) -> None:
        self._step = step
        self._times = times

    def __call__(self, slots: list[Slot], position: Position) -> list[Slot]:
        return [
            asyncio.create_task(self._again(slot, position)) for _ in range(self._times) for slot in slots
        ]

    async def _again(self, slot: Slot, position: Position) -> list[Row]:
        made = await asyncio.gather(*(self._step(row, position) for row in await slot))
        return [row for part in made for row in part]


class Distinct:
    """Of rows with the same values in `columns` only the first goes on. A row waits for those before it."""

    def __init__(self, columns: list[str]) -> None:
        self._columns = columns

    def __call__(self, slots: list[Slot], position: Position) -> list[Slot]:
        seen: set[tuple[str, ...]] = set()
        made: list[Slot] = []
        for slot in slots:
            made.append(asyncio.create_task(self._slot(slot, made[-1] if made else None, seen)))
        return made

    async def _slot(self, slot: Slot, before: Slot | None, seen: set[tuple[str, ...]]) -> list[Row]:
        if before is not None:
            await before
        kept = []
        for row in await slot:
            values = tuple(repr(row[column]) for column in self._columns)
            if values not in seen:
                seen.add(values)
                kept.append(row)
        return kept


class Together:
    """A block that needs all rows at once. They wait for each other, but for no other batch or leaf."""

    def __init__(self, make: Callable[[], Any], batch_size: int, threads: Executor, ledger: Ledger) -> None:
        self._make = make
        self._batch_size = batch_size
        self._threads = threads
        self._ledger = ledger

    def __call__(self, slots: list[Slot], position: Position) -> list[Slot]:
        return [asyncio.create_task(self._joined(slots, position))]

    async def _joined(self, slots: list[Slot], position: Position) -> list[Row]:
        rows = [row for slot in slots for row in await slot]
        # of its own for each batch, as instructlab-sdg has it: a block may remember things
        block = self._make()
        made: list[Row] = []
        size = self._batch_size or max(1, len(rows))
        with _naming(block):
            for first in range(0, len(rows), size):
                made += await blocks.together(block, rows[first : first + size], self._threads)
        self._ledger.passed(position.leaf, block.block_name, len(made))
        return made


def compiled(pipeline: Any, pool: Pool, ledger: Ledger, batch_size: int, threads: Executor) -> list[Stage]:
    """The stages of one of instructlab-sdg's pipelines. PipelineBlockError where a block cannot be made."""
    stages: list[Stage] = []
    fits = True  # a batch has not more rows here than instructlab-sdg gives a block at once

    def per_row(step: RowStep) -> None:
        if not stages or not isinstance(stages[-1], Rows):
            stages.append(Rows())
        last = stages[-1]
        assert isinstance(last, Rows)
        last.steps.append(step)

    for settings in pipeline.chained_blocks:
        make = _maker(pipeline, settings)
        block = make()
        step = blocks.row_step(block, pool, ledger)
        columns = blocks.melted_columns(block)
        repeated = blocks.repeated(block)
        again = blocks.row_step(repeated[0], pool, ledger) if repeated else None
        if step is not None:
            per_row(_named(step, block))
        elif columns is not None and (fits or not batch_size):
            stages.append(Melt(block, columns))
        elif repeated is not None and again is not None and (fits or not batch_size):
            stages.append(Repeat(_named(again, block), repeated[1]))
        else:
            stages.append(Together(make, batch_size, threads, ledger))
        fits = fits and step is not None and blocks.keeps_count(block)
        if settings.get("drop_columns"):
            per_row(_without(settings["drop_columns"]))
        if settings.get("drop_duplicates"):
            stages.append(Distinct(list(settings["drop_duplicates"])))
    return stages


def _maker(pipeline: Any, settings: dict[str, Any]) -> Callable[[], Any]:
    from instructlab.sdg.pipeline import PipelineBlockError
    from instructlab.sdg.registry import BlockRegistry

    registry: Any = BlockRegistry

    def make() -> Any:
        try:
            kind = registry.get_registry()[settings["type"]]
            return kind(pipeline.ctx, pipeline, settings["name"], **settings["config"])
        except Exception as error:
            raise PipelineBlockError(
                error, block_name=settings.get("name"), block_type=settings.get("type")
            ) from error

    return make


@contextlib.contextmanager
def _naming(block: Any) -> Iterator[None]:
    """A failure of a block's own work says which block it was; the teacher's and a stop stay as they are."""
    from instructlab.sdg.pipeline import PipelineBlockError

    try:
        yield
    except (PublicError, Stopped):
        raise
    except Exception as error:
        raise PipelineBlockError(error, block=block) from error


def _named(step: RowStep, block: Any) -> RowStep:
    async def named(row: Row, position: Position) -> list[Row]:
        with _naming(block):
            return await step(row, position)

    return named


def _without(columns: list[str]) -> RowStep:
    async def step(row: Row, position: Position) -> list[Row]:
        return [{name: value for name, value in row.items() if name not in columns}]

    return step

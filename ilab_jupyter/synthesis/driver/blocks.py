"""What each of instructlab-sdg's blocks does to a single row.

A block's settings, prompts and parsing stay its own. Only blocks whose `generate` is instructlab-sdg's are
taken apart; all others get their rows together, as they were written for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ilab_jupyter.synthesis.driver.ledger import Ledger
from ilab_jupyter.synthesis.driver.pool import Pool
from ilab_jupyter.synthesis.teachers import Answer

Row = dict[str, Any]
ONE_PAIR_TOKENS = 1024


@dataclass(frozen=True)
class Position:
    """Where a row is: its leaf, and which batch it came in (the oldest has the lowest number)."""

    leaf: str
    order: int


RowStep = Callable[[Row, Position], Awaitable[list[Row]]]


def row_step(block: Any, pool: Pool, ledger: Ledger) -> RowStep | None:
    """What `block` does to a row; None where it needs all rows of a batch at once."""
    from instructlab.sdg.blocks import filterblock, llmblock, utilblocks

    kind = type(block)
    if isinstance(block, llmblock.LLMBlock) and kind.generate is llmblock.LLMBlock.generate:
        return _asking(block, pool, ledger) if kind._generate is llmblock.LLMBlock._generate else None
    if kind is llmblock.LLMMessagesBlock:
        return _conversing(block, pool, ledger)
    plain: dict[type, Callable[[Any, Row], Row | None]] = {
        filterblock.FilterByValueBlock: _filtered,
        utilblocks.SamplePopulatorBlock: lambda one, row: {**row, **one.configs[row[one.column_name]]},
        utilblocks.SelectorBlock: lambda one, row: {
            **row,
            one.output_col: row[one.choice_map[row[one.choice_col]]],
        },
        utilblocks.CombineColumnsBlock: lambda one, row: {
            **row,
            one.output_col: one.separator.join([row[column] for column in one.columns]),
        },
        utilblocks.DuplicateColumnsBlock: lambda one, row: {
            **row,
            **{copy: row[column] for column, copy in one.columns_map.items()},
        },
        utilblocks.RenameColumnsBlock: _renamed,
    }
    change = plain.get(kind)
    if change is None:
        return None

    async def step(row: Row, position: Position) -> list[Row]:
        changed = change(block, row)
        return [] if changed is None else [changed]

    return step


def keeps_count(block: Any) -> bool:
    """True where a batch cannot have more rows after this block than before it."""
    from instructlab.sdg.blocks import filterblock, llmblock, utilblocks

    if isinstance(block, llmblock.LLMBlock):
        return block.gen_kwargs.get("n", 1) == 1 and block.parser_name is None and _untagged(block)
    return type(block) in (
        llmblock.LLMMessagesBlock,
        filterblock.FilterByValueBlock,
        utilblocks.SamplePopulatorBlock,
        utilblocks.SelectorBlock,
        utilblocks.CombineColumnsBlock,
        utilblocks.DuplicateColumnsBlock,
        utilblocks.RenameColumnsBlock,
    )


def melted_columns(block: Any) -> list[str] | None:
    """The columns that the block turns into rows of their own, if that is what it does."""
    from instructlab.sdg.blocks.utilblocks import FlattenColumnsBlock

    return list(block.var_cols) if type(block) is FlattenColumnsBlock else None


def melted(block: Any, row: Row, column: str) -> Row:
    """The row for one of those columns."""
    kept = {name: value for name, value in row.items() if name not in block.var_cols}
    return {**kept, block.var_name: column, block.value_name: row[column]}


def repeated(block: Any) -> tuple[Any, int] | None:
    """The block that an IterBlock asks again and again, and how often; None for all others."""
    from instructlab.sdg.blocks.iterblock import IterBlock

    return (block.block, block.num_iters) if type(block) is IterBlock else None


def _filtered(block: Any, row: Row) -> Row | None:
    value = block.dtype(row[block.column_name])
    kept = any(block.operation(value, wanted) for wanted in block.value)
    return {**row, block.column_name: value} if kept else None


def _renamed(block: Any, row: Row) -> Row:
    return {block.columns_map.get(column, column): value for column, value in row.items()}


def _asking(block: Any, pool: Pool, ledger: Ledger) -> RowStep:
    examples = block.batch_params.get("num_samples")
    sampling = _bounded(block, pool.max_tokens)
    reasons = False

    async def step(row: Row, position: Position) -> list[Row]:
        if examples is not None and "num_samples" not in row:
            row = {**row, "num_samples": examples}
        if not block._validate(block.prompt_template, row):
            ledger.reject("missing_field", position.leaf, block.block_name, "", row)
            return []
        prompt = block._format_prompt(row)
        nonlocal reasons
        kept = block.gen_kwargs if reasons and pool.max_tokens is None else sampling
        answers = await pool.ask(prompt, kept, order=position.order, row=row)
        # reasoning takes more tokens than the pair that follows it
        reasons = reasons or any(answer.cut and answer.rejected == "reasoning" for answer in answers)
        made: list[Row] = []
        for answer in answers:
            rows, reason = _parsed(block, row, answer)
            made += rows
            if reason is not None:
                ledger.reject(reason, position.leaf, block.block_name, answer.text, row)
        ledger.passed(position.leaf, block.block_name, len(made))
        return made

    return step


def _parsed(block: Any, row: Row, answer: Answer) -> tuple[list[Row], str | None]:
    """The rows of an answer, and why it gave fewer than it should have."""
    if answer.rejected:
        return [], answer.rejected
    text = answer.text.strip()
    if not text:
        return [], "empty"
    found = block._parse(text)
    rows = [{**row, **dict(zip(found, values, strict=True))} for values in zip(*found.values(), strict=False)]
    if answer.cut and not (block.parser_name is None and _tagged(block)):
        # nothing but the end of the text ended the last row, and that is not where the teacher would end it
        return rows[:-1], "cut"
    if not rows:
        return rows, "cut" if answer.cut else "wrong_tags"
    return rows, None


def _bounded(block: Any, most: int | None) -> dict[str, Any]:
    """The block's sampling, with no more tokens than it can use: a text of one pair is a short one."""
    limit = most or (ONE_PAIR_TOKENS if block.parser_name is None and _untagged(block) else None)
    own = block.gen_kwargs.get("max_tokens")
    return {**block.gen_kwargs, "max_tokens": min(own or limit, limit)} if limit else dict(block.gen_kwargs)


def _tagged(block: Any) -> bool:
    tags = [*block.block_config.get("start_tags", []), *block.block_config.get("end_tags", [])]
    return bool(tags) and all(tags)


def _untagged(block: Any) -> bool:
    return not any([*block.block_config.get("start_tags", []), *block.block_config.get("end_tags", [])])


def _conversing(block: Any, pool: Pool, ledger: Ledger) -> RowStep:
    async def step(row: Row, position: Position) -> list[Row]:
        answers = await pool.ask(row[block.input_col], block.gen_kwargs, order=position.order, row=row)
        for answer in answers:
            if answer.rejected:
                ledger.reject(answer.rejected, position.leaf, block.block_name, answer.text, row)
        texts = [answer.text for answer in answers if not answer.rejected]
        if not texts:
            return []
        ledger.passed(position.leaf, block.block_name, 1)
        return [{**row, block.output_col: texts if len(answers) > 1 else texts[0]}]

    return step


async def together(block: Any, rows: list[Row], threads: Any) -> list[Row]:
    """The block's own `generate` over these rows, in a thread: it may ask the teacher and wait."""
    from datasets import Dataset  # type: ignore[import-untyped]

    def generate() -> list[Row]:
        return list(block.generate(Dataset.from_list(rows)))

    return await asyncio.get_running_loop().run_in_executor(threads, generate)

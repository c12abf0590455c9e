"""Rows for a list: large values are left out, and a page is bounded in bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ilab_jupyter.jobs.store.row import COLUMN, Row

LARGEST = 4096  # bytes of a job's arguments, and of its result
PAGE = 1_000_000
_TEXT = 2000  # characters of a message


@dataclass
class Page:
    """Rows without large values; `omitted` names, by id, the arguments and results that were left out.

    `more`: there are further rows, because of `limit` or because the page is full.
    """

    rows: list[Row] = field(default_factory=list)
    omitted: dict[str, list[str]] = field(default_factory=dict)
    more: bool = False


def page(found: Iterable[Sequence[Any]], limit: int) -> Page:
    """Return the first `limit` rows, or fewer if they exceed PAGE bytes; at least one."""
    answer, size = Page(), 0
    for one in found:
        if len(answer.rows) == limit or size > PAGE:
            answer.more = True
            break
        stored = sum(len(one[COLUMN[name]] or "") for name in ("spec", "result", "progress", "message"))
        row = Row.read(one)
        if stored > LARGEST:
            row, names = brief(row)
            if names:
                answer.omitted[row.id] = names
            stored = sum(
                len(json.dumps(value)) for value in (row.spec, row.result, row.progress, row.message)
            )
        size += stored + 500
        answer.rows.append(row)
    return answer


def brief(row: Row) -> tuple[Row, list[str]]:
    """Return the row without its largest arguments and results, and their names."""
    arguments, left = _within(row.spec.get("arguments", {}), "arguments")
    result, left_too = _within(row.result, "result")
    metrics, _ = _within(row.progress, "progress")
    shorter = row._replace(
        spec={**row.spec, "arguments": arguments},
        result=result,
        progress=metrics,
        message=None if row.message is None else row.message[:_TEXT],
    )
    return shorter, [*left, *left_too]


def _within(values: dict[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    sizes = {name: len(name) + len(json.dumps(value)) for name, value in values.items()}
    kept, total = dict(values), sum(sizes.values())
    left: list[str] = []
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if total <= LARGEST:
            break
        total -= sizes[name]
        del kept[name]
        left.append(f"{where}.{name[:100]}")
    return kept, sorted(left)[:100]

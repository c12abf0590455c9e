"""Rows shown as aligned text in a terminal and as escaped HTML in a notebook; the list of jobs is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC

from ilab_jupyter.client import render
from ilab_jupyter.display import Shown, html, table
from ilab_jupyter.jobs.record import Job


@dataclass(frozen=True, repr=False)
class Table(Shown):
    """`empty` is shown where there are no rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    empty: str

    def __repr__(self) -> str:
        return text_table(self.head, self.rows) if self.rows else self.empty

    def _repr_html_(self) -> str:
        return table(self.head, self.rows) if self.rows else f"<p>{html(self.empty)}</p>"


class JobList(Shown, list[Job]):
    """Jobs, newest first, shown as a table."""

    def _table(self) -> Table:
        return Table(
            ("id", "kind", "name", "state", "status", "created (UTC)"),
            tuple(
                (
                    job.id,
                    job.kind,
                    job.name,
                    f"{render.BADGES[job.state][0]} {job.state.value}",
                    " · ".join(filter(None, (render.where(job), job.message))),
                    f"{job.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                )
                for job in self
            ),
            "No jobs yet.",
        )

    def __repr__(self) -> str:
        return repr(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()


def text_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned by spaces; control characters are dropped, so no cell can move the cursor."""
    cells = [list(head), *([render.fold(str(cell)).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )

"""SQL statement for a page of the job list, whose cost does not depend on the number of jobs."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import schema

if TYPE_CHECKING:
    from ilab_jupyter.jobs.record import JobFilter

MAX_KINDS = 50  # with all states this is the largest number of compound parts that SQLite accepts


def page(
    owner: str, filter: JobFilter, *, before: int | None, limit: int
) -> tuple[sa.Select[Any], dict[str, Any]]:
    """Return the statement and its parameters for at most `limit` newest jobs of `owner` with a seq below
    `before`.

    The filter has at most MAX_KINDS kinds.
    """
    kinds = list(dict.fromkeys(filter.kinds))
    states = list(dict.fromkeys(filter.states)) or (list(JobState) if kinds else [])
    values: dict[str, Any] = {"owner": owner, "limit": limit}
    values |= {f"kind_{number}": kind for number, kind in enumerate(kinds)}
    values |= {f"state_{number}": state for number, state in enumerate(states)}
    if before is not None:
        values["before"] = before
    if filter.text:
        values["text"] = re.sub(r"([/%_])", r"/\1", filter.text)
    return _statement(len(kinds), len(states), before is not None, bool(filter.text)), values


# Building a statement takes longer than running it.
@lru_cache(maxsize=64)
def _statement(kinds: int, states: int, before: bool, text: bool) -> sa.Select[Any]:
    """Select the newest jobs of each requested state and kind through an index, then the page among them.

    A single condition over all of them would walk past all newer jobs of other states.
    """
    job, given = schema.job.c, sa.bindparam
    always = [job.owner == given("owner")]
    if before:
        always.append(job.seq < given("before"))
    if text:
        part: sa.BindParameter[str] = given("text")
        always.append(job.id.icontains(part, escape="/") | job.name.icontains(part, escape="/"))
    newest, limit = job.seq.desc(), given("limit", type_=sa.Integer)
    of_state = [[job.state == given(f"state_{number}")] for number in range(states)] or [[]]
    of_kind = [[job.kind == given(f"kind_{number}")] for number in range(kinds)] or [[]]
    if not states:
        return sa.select(schema.job).where(*always).order_by(newest).limit(limit)
    parts = [
        sa.select(job.seq).where(*always, *kind, *state).order_by(newest).limit(limit).subquery()
        for kind, state in product(of_kind, of_state)
    ]
    candidates = sa.union_all(*(sa.select(part.c.seq) for part in parts))
    return sa.select(schema.job).where(job.seq.in_(candidates)).order_by(newest).limit(limit)

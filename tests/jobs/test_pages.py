"""A page of the job list has the right jobs, and is found without reading the others."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.record import JobFilter
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.rows import Store
from tests.support.postgres import ON_BOTH

STATES = ((), (JobState.RUNNING,), (JobState.FAILED, JobState.SUCCEEDED), tuple(JobState))
KINDS = ((), ("train",), ("merge",), ("merge", "train"), ("nothing",))
TEXTS = ("", "nightly", "NIGHTLY run 7", "100%", "_", "a/b")


def fill(store: Store, jobs: list[dict[str, Any]]) -> None:
    """Insert rows with these columns in this order; other columns are constant."""
    common = {
        **{"attempt": 1, "version": 1, "spec": "{}", "launch": "{}", "spec_hash": "", "queue": "batch"},
        **{"priority": 0, "created": 1.0, "owner": "ada", "kind": "train", "name": "nightly"},
    }
    rows = [{"id": f"train-{number:08d}", **common, **job} for number, job in enumerate(jobs)]
    with store.write() as connection:
        connection.execute(sa.insert(schema.job), rows)


@ON_BOTH
def test_every_filter_returns_its_newest_jobs(state: Path, database_url: str | None) -> None:
    draw = random.Random(7)
    jobs = [
        {
            "state": draw.choice(list(JobState)),
            "kind": draw.choice(["train", "generate", "merge"]),
            "owner": draw.choice(["ada", "ada", "eve"]),
            "name": draw.choice([f"nightly run {number}", "Nightly", "100% sure", "under_score", "a/b"]),
        }
        for number in range(400)
    ]
    store = Store(StateFolder(state), database_url)
    fill(store, jobs)
    newest_first = store.select()[::-1]
    shown = 0
    for states, kinds, text in itertools.product(STATES, KINDS, TEXTS):
        wanted = [
            row
            for row in newest_first
            if row.owner == "ada"
            and (not states or row.state in states)
            and (not kinds or row.kind in kinds)
            and text.lower() in row.name.lower()
        ]
        filter, before, found = JobFilter(states=states, kinds=kinds, text=text), None, []
        while page := store.page("ada", filter, before=before, limit=17).rows:
            assert len(page) <= 17
            found += page
            before = page[-1].seq
        assert found == wanted, filter
        shown += len(found)
    store.close()
    assert shown > 1000


def test_page_cost_does_not_depend_on_number_of_jobs(state: Path) -> None:
    """Counts steps of SQLite's virtual machine. The only running job is the oldest, the only merge the
    second."""
    states = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    filters = [
        JobFilter(states=states, kinds=kinds)
        for states in ((), (JobState.RUNNING,), (JobState.FAILED,), (JobState.FAILED, JobState.QUEUED))
        for kinds in ((), ("train",), ("merge",), ("merge", "serve"))
    ]
    taken: dict[int, list[int]] = {}
    for count in (1_000, 10_000):
        store = Store(StateFolder(state / str(count)))
        others = [{"state": states[number % 3]} for number in range(count)]
        oldest = [{"state": JobState.RUNNING}, {"state": JobState.SUCCEEDED, "kind": "merge"}]
        fill(store, oldest + others)
        taken[count] = [steps(store, filter) for filter in filters]
        assert [row.state for row in store.page("ada", filters[4], before=None, limit=51).rows] == ["RUNNING"]
        assert [row.kind for row in store.page("ada", filters[2], before=None, limit=51).rows] == ["merge"]
        store.close()
    assert all(few > 10 for few in taken[1_000])
    for filter, few, many in zip(filters, taken[1_000], taken[10_000], strict=True):
        assert many <= 1.1 * few, (filter, few, many)


def steps(store: Store, filter: JobFilter) -> int:
    """Return how many steps it takes to find a page."""
    seen = 0

    def step() -> int:
        nonlocal seen
        seen += 1
        return 0

    with store.read() as connection:
        database: Any = connection.connection.dbapi_connection
        database.set_progress_handler(step, 1)
    try:
        store.page("ada", filter, before=None, limit=51)
    finally:
        database.set_progress_handler(None, 1)
    return seen


@ON_BOTH
def test_too_many_kinds_are_refused(harness: Any) -> None:
    most = tuple(f"kind-{number}" for number in range(50))
    assert harness.jobs.list(JobFilter(kinds=most)).jobs == []
    with pytest.raises(InvalidInput, match="at most 50 kinds"):
        harness.jobs.list(JobFilter(kinds=(*most, "train")))

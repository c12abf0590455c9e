"""The audit log: written in the transaction of the change, and filtered by owner."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs


def said(harness: Any, **query: Any) -> list[tuple[str, str, str]]:
    return [(one.actor, one.action, one.target) for one in harness.jobs.audit(**query)]


def test_user_actions_are_audited_with_their_actor(harness: Any, state: Any) -> None:
    me = harness.local.owner
    harness.local.configure(slots={"batch": 0})
    harness.local.configure(slots={"batch": 0})
    first, second = harness.submit(["print"]).id, harness.submit(["print"]).id
    admin = LocalJobs(state, owner=me, actor="ada")
    jobs = SyncJobs(admin)
    jobs.pause("a new disk")
    jobs.reorder(second, before=first)
    jobs.cancel(first)
    jobs.cancel(first)
    jobs.resume(first)
    jobs.unpause()
    assert said(harness) == [
        (me, "configure", "queue"),
        (me, "submit", first),
        (me, "submit", second),
        ("ada", "pause", "queue"),
        ("ada", "reorder", second),
        ("ada", "cancel", first),
        ("ada", "resume", first),
        ("ada", "unpause", "queue"),
    ]
    entries = harness.jobs.audit(limit=3)
    assert said(harness, after=entries[-1].seq, limit=1) == [("ada", "pause", "queue")]
    assert harness.jobs.audit()[0].detail == {"slots": '{"batch": 0, "serving": 4}'}
    admin.close()


def test_another_owner_sees_queue_actions_only(harness: Any, state: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    harness.submit(["print"])
    other = LocalJobs(state, owner="grace")
    assert [(one.action, one.target) for one in SyncJobs(other).audit()] == [("configure", "queue")]
    other.close()


def test_change_without_audit_entry_is_rolled_back(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    id = harness.submit(["print"], key="once").id
    assert harness.submit(["print"], key="once").id == id
    with pytest.raises(InvalidInput):
        harness.jobs.audit(limit=0)
    before = said(harness)
    with closing(sqlite3.connect(harness.local.state.database)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no'); END")
        connection.commit()
    jobs = harness.jobs
    for change in (lambda: jobs.cancel(id), lambda: harness.submit(["print"]), jobs.pause):
        with pytest.raises(Exception, match="no"):
            change()
    with closing(sqlite3.connect(harness.local.state.database)) as connection:
        connection.execute("DROP TRIGGER full")
        connection.commit()
    assert said(harness) == before and not harness.jobs.queue().paused
    assert [job.state for job in harness.jobs.list().jobs] == ["QUEUED"]
    assert len(list(harness.local.state.jobs.iterdir())) == 1


def test_automatic_actions_are_audited_as_the_engine(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    store, id = harness.local._store, harness.submit(["print"]).id
    ended = store.move(store.get(id), JobState.CANCELLED)
    assert store.requeue(ended, ended.launch, why="restart", retries=1).retries == 1
    last = harness.jobs.audit()[-1]
    assert (last.actor, last.action, last.detail["why"]) == ("ilab-jupyter", "retry", "restart")
    assert [one.why for one in harness.jobs.attempts(id)] == ["submitted", "restart"]
    by_hand = harness.jobs.resume(harness.jobs.cancel(id).id)
    assert store.get(id).retries == 0 and by_hand.attempt == 3

"""The queue: waiting, order, and the reasons shown for waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Conflict, InvalidInput, NotFound
from ilab_jupyter.jobs.state import JobState
from tests.support.postgres import ON_BOTH
from tests.support.waiting import until


def test_second_batch_job_waits_with_a_reason(harness: Any, state: Path) -> None:
    first = harness.submit(["wait_for", str(state / "go")])
    harness.reach(first.id, JobState.RUNNING)
    second = harness.jobs.get(harness.submit(["print"]).id)
    third = harness.jobs.get(harness.submit(["print"]).id)
    assert (second.state, third.state) == (JobState.QUEUED, JobState.QUEUED)
    location = f"in the queue 'batch' (1 slot, used by {first.id})."
    assert (second.position, second.pending_reason) == (1, f"1 job is ahead of it {location}")
    assert (third.position, third.pending_reason) == (2, f"2 jobs are ahead of it {location}")
    assert harness.jobs.get(first.id).pending_reason is None
    (state / "go").touch()
    assert harness.end(third.id).state is JobState.SUCCEEDED
    assert harness.jobs.get(second.id).ended_at <= harness.jobs.get(third.id).started_at


def test_jobs_start_by_priority_then_submission(harness: Any, state: Path) -> None:
    order = state / "order"
    gate = harness.submit(["wait_for", str(state / "go")])
    harness.reach(gate.id, JobState.RUNNING)
    names = [("low", -5), ("a", 0), ("b", 0), ("high", 9), ("c", 0)]
    jobs = [harness.submit(["write", str(order), f"{name} "], priority=priority) for name, priority in names]
    (state / "go").touch()
    for job in [gate, *jobs]:
        harness.end(job.id)
    assert order.read_text().split() == ["high", "a", "b", "c", "low"]


def test_separate_queue_does_not_wait(harness: Any, state: Path) -> None:
    harness.submit(["wait_for", str(state / "go")])
    served = harness.submit(["print"], kind="serve", queue="serving")
    assert harness.end(served.id).state is JobState.SUCCEEDED


def test_slots_apply_to_every_process_on_the_folder(harness: Any, state: Path) -> None:
    type(harness)(state).local.configure(slots={"batch": 2})
    jobs = [harness.submit(["wait_for", str(state / "go")]) for _ in range(3)]
    harness.reach(jobs[0].id, JobState.RUNNING)
    harness.reach(jobs[1].id, JobState.RUNNING)
    assert harness.jobs.get(jobs[2].id).state is JobState.QUEUED
    assert "2 slots" in harness.jobs.get(jobs[2].id).pending_reason


def test_queue_without_slots_is_closed(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    job = harness.submit(["print"])
    assert harness.jobs.get(job.id).pending_reason == "The queue 'batch' is closed: it has no slots."
    harness.local.configure(slots={"batch": 1})
    assert harness.jobs.get(job.id).pending_reason == "It starts at the next turn of the queue."
    harness.local.turn()
    assert harness.end(job.id).state is JobState.SUCCEEDED


@pytest.mark.parametrize("slots", [{"batch": -1}, {"Batch!": 1}, {"batch": 10**9}])
def test_invalid_slots_are_refused(harness: Any, slots: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        harness.local.configure(slots=slots)


def test_cancelled_queued_job_ends_at_once(harness: Any, state: Path) -> None:
    harness.reach(harness.submit(["wait_for", str(state / "go")]).id, JobState.RUNNING)
    second, third = harness.submit(["print"]), harness.submit(["print"])
    cancelled = harness.jobs.cancel(second.id)
    assert (
        cancelled.state is JobState.CANCELLED
        and cancelled.cause == "cancelled"
        and cancelled.exit_code is None
    )
    assert harness.jobs.get(third.id).pending_reason.startswith("1 job is ahead")
    log = harness.jobs.logs(second.id)
    assert log.ended and log.size == 0


def held_up(harness: Any, count: int, **spec: Any) -> list[str]:
    """Submit jobs that wait in a closed queue."""
    harness.local.configure(slots={"batch": 0})
    return [harness.submit(["print"], **spec).id for _ in range(count)]


def waiting(harness: Any) -> list[str]:
    return harness.jobs.queue().waiting


@ON_BOTH
def test_paused_queue_starts_nothing_until_unpaused(harness: Any) -> None:
    paused = harness.jobs.pause("maintenance")
    assert (paused.paused, paused.paused_by, paused.paused_reason) == (
        True,
        harness.local.owner,
        "maintenance",
    )
    job = harness.submit(["print"])
    harness.local.turn()
    waits = harness.jobs.get(job.id)
    assert waits.state is JobState.QUEUED
    assert waits.pending_reason == f"The queue is paused by {harness.local.owner}: maintenance."
    assert waits.position == 1
    assert not harness.jobs.unpause().paused
    assert harness.end(job.id).state is JobState.SUCCEEDED


def test_pause_applies_to_every_process_but_not_live_jobs(harness: Any, state: Path) -> None:
    live = harness.submit(["wait_for", str(state / "go")])
    harness.reach(live.id, JobState.RUNNING)
    other = type(harness)(state)
    other.jobs.pause()
    job = harness.submit(["print"])
    (state / "go").touch()
    assert harness.end(live.id).state is JobState.SUCCEEDED
    harness.local.turn()
    assert harness.jobs.get(job.id).pending_reason == f"The queue is paused by {harness.local.owner}."


def test_pause_reason_of_several_lines_is_refused(harness: Any) -> None:
    for reason in ("two\nlines", "x" * 501):
        with pytest.raises(InvalidInput):
            harness.jobs.pause(reason)


@ON_BOTH
def test_reordered_job_starts_before_another(harness: Any, state: Path) -> None:
    harness.local.configure(slots={"batch": 0})
    order = state / "order"
    a, b, c, d = [harness.submit(["write", str(order), name]).id for name in "abcd"]
    assert harness.jobs.reorder(d, before=b).id == d
    assert waiting(harness) == [a, d, b, c]
    harness.jobs.reorder(c)
    assert waiting(harness) == [c, a, d, b]
    harness.jobs.reorder(c, before=b)
    assert waiting(harness) == [a, d, c, b]
    assert [harness.jobs.get(id).position for id in (a, d, c, b)] == [1, 2, 3, 4]
    harness.local.configure(slots={"batch": 1})
    harness.local.turn()
    for id in (a, b, c, d):
        harness.end(id)
    assert order.read_text() == "adcb"


def test_job_can_be_reordered_many_times(harness: Any) -> None:
    a, b, c = held_up(harness, 3)
    expected = [a, b, c]
    for _ in range(120):  # more often than a float can be halved
        last = expected.pop()
        expected.insert(1, last)
        harness.jobs.reorder(last, before=expected[2])
    assert waiting(harness) == expected


def test_reorder_does_not_pass_jobs_of_other_owners(harness: Any, state: Path) -> None:
    held_up(harness, 1)
    others = type(harness)(state, owner="another")
    theirs = others.submit(["print"]).id
    mine = harness.submit(["print"]).id
    harness.jobs.reorder(mine)
    assert waiting(harness)[0] == mine
    assert others.jobs.get(theirs).position == 2


def test_reorder_requires_same_owner_queue_and_priority(harness: Any, state: Path) -> None:
    running = harness.submit(["wait_for", str(state / "go")])
    harness.reach(running.id, JobState.RUNNING)
    job = harness.submit(["print"])
    urgent = harness.submit(["print"], priority=5)
    other = harness.submit(["wait_for", str(state / "go")], queue="elsewhere")
    foreign = type(harness)(state, owner="another").submit(["print"])
    for id, before in ((running.id, None), (job.id, running.id), (job.id, urgent.id), (job.id, other.id)):
        with pytest.raises(Conflict):
            harness.jobs.reorder(id, before=before)
    with pytest.raises(Conflict):
        harness.jobs.reorder(job.id, before=foreign.id)
    with pytest.raises(InvalidInput):
        harness.jobs.reorder(job.id, before=job.id)
    with pytest.raises(NotFound):
        harness.jobs.reorder(foreign.id)


def test_owners_take_turns(harness: Any, state: Path) -> None:
    gate = harness.submit(["wait_for", str(state / "go")])
    harness.reach(gate.id, JobState.RUNNING)
    order = state / "order"
    mine = [harness.submit(["write", str(order), "m"]).id for _ in range(3)]
    others = type(harness)(state, owner="another")
    theirs = [others.submit(["write", str(order), "t"]).id for _ in range(2)]
    (state / "go").touch()
    for id in mine:
        harness.end(id)
    for id in theirs:
        others.end(id)
    assert order.read_text() in ("mtmtm", "tmtmm"), "the gate was mine, and no job was waiting then"


def test_wait_is_estimated_from_past_runs(harness: Any, state: Path) -> None:
    harness.local.configure(slots={"batch": 3})
    for job in [harness.submit(["sleep", 2]) for _ in range(3)]:
        harness.end(job.id)
    harness.local.configure(slots={"batch": 1})
    live = harness.submit(["wait_for", str(state / "go")])
    harness.reach(live.id, JobState.RUNNING)
    first, second = harness.submit(["print"]), harness.submit(["print"])
    unknown = harness.submit(["print"], kind="generate")
    after = harness.submit(["print"])
    waits = [harness.jobs.get(job.id).wait_seconds for job in (first, second, unknown, after)]
    assert 0 <= waits[0] <= 4
    assert waits[0] + 2 <= waits[1] <= waits[0] + 6
    assert waits[2] >= waits[1] + 2
    assert waits[3] is None, "the duration of a job that never ran is unknown"


def test_wait_uses_estimate_of_running_job(harness: Any, state: Path) -> None:
    live = harness.submit(
        ["event", "progress", {"step": 1, "total": 9, "eta_seconds": 321.0}], ["wait_for", str(state / "go")]
    )
    harness.reach(live.id, JobState.RUNNING)
    job = harness.submit(["print"])
    until(lambda: harness.jobs.get(job.id).wait_seconds == 321.0)

"""The queue: who waits, who goes first, and that waiting is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.state import JobState


def test_a_second_batch_job_waits_and_says_for_whom(bench: Any, state: Path) -> None:
    first = bench.submit(["wait_for", str(state / "go")])
    bench.reach(first.id, JobState.RUNNING)
    second = bench.jobs.get(bench.submit(["print"]).id)
    third = bench.jobs.get(bench.submit(["print"]).id)
    assert (second.state, third.state) == (JobState.QUEUED, JobState.QUEUED)
    place = f"in the queue 'batch' (1 slot, used by {first.id})."
    assert (second.position, second.pending_reason) == (1, f"1 job is ahead of it {place}")
    assert (third.position, third.pending_reason) == (2, f"2 jobs are ahead of it {place}")
    assert bench.jobs.get(first.id).pending_reason is None
    (state / "go").touch()
    assert bench.end(third.id).state is JobState.SUCCEEDED
    assert bench.jobs.get(second.id).ended_at <= bench.jobs.get(third.id).started_at


def test_higher_priority_goes_first_and_equals_go_in_the_order_they_came(bench: Any, state: Path) -> None:
    order = state / "order"
    gate = bench.submit(["wait_for", str(state / "go")])
    bench.reach(gate.id, JobState.RUNNING)
    names = [("low", -5), ("a", 0), ("b", 0), ("high", 9), ("c", 0)]
    jobs = [bench.submit(["write", str(order), f"{name} "], priority=priority) for name, priority in names]
    (state / "go").touch()
    for job in [gate, *jobs]:
        bench.end(job.id)
    assert order.read_text().split() == ["high", "a", "b", "c", "low"]


def test_a_queue_of_its_own_does_not_wait_for_another(bench: Any, state: Path) -> None:
    bench.submit(["wait_for", str(state / "go")])
    served = bench.submit(["print"], kind="serve", queue="serving")
    assert bench.end(served.id).state is JobState.SUCCEEDED


def test_more_slots_let_more_run_at_once_for_every_process_on_the_folder(bench: Any, state: Path) -> None:
    type(bench)(state).local.configure(slots={"batch": 2})
    jobs = [bench.submit(["wait_for", str(state / "go")]) for _ in range(3)]
    bench.reach(jobs[0].id, JobState.RUNNING)
    bench.reach(jobs[1].id, JobState.RUNNING)
    assert bench.jobs.get(jobs[2].id).state is JobState.QUEUED
    assert "2 slots" in bench.jobs.get(jobs[2].id).pending_reason


def test_a_queue_without_slots_is_closed_and_opens_again(bench: Any) -> None:
    bench.local.configure(slots={"batch": 0})
    job = bench.submit(["print"])
    assert bench.jobs.get(job.id).pending_reason == "The queue 'batch' is closed: it has no slots."
    bench.local.configure(slots={"batch": 1})
    assert bench.jobs.get(job.id).pending_reason == "It starts at the next turn of the queue."
    bench.local.turn()
    assert bench.end(job.id).state is JobState.SUCCEEDED


@pytest.mark.parametrize("slots", [{"batch": -1}, {"Batch!": 1}, {"batch": 10**9}])
def test_senseless_slots_are_refused(bench: Any, slots: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        bench.local.configure(slots=slots)


def test_a_queued_job_is_cancelled_at_once_and_its_successor_moves_up(bench: Any, state: Path) -> None:
    bench.reach(bench.submit(["wait_for", str(state / "go")]).id, JobState.RUNNING)
    second, third = bench.submit(["print"]), bench.submit(["print"])
    cancelled = bench.jobs.cancel(second.id)
    assert (
        cancelled.state is JobState.CANCELLED
        and cancelled.cause == "cancelled"
        and cancelled.exit_code is None
    )
    assert bench.jobs.get(third.id).pending_reason.startswith("1 job is ahead")
    log = bench.jobs.logs(second.id)
    assert log.ended and log.size == 0

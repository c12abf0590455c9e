"""F18: random sequences of commands, compared with a model that holds the promises by its make; and what
several clients saw at once, explained by an order of their calls.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ilab_jupyter.errors import Conflict, PublicError
from ilab_jupyter.jobs.attempt.process import with_argument
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.queue import control
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.state import ENDS, LIVE, MOVES, JobState
from ilab_jupyter.jobs.store.rows import Row, Store
from ilab_jupyter.jobs.store.submission import Submissions
from ilab_jupyter.jobs.sync import SyncJobs
from tests.faults import actions
from tests.faults.checker import tally
from tests.faults.environment import FaultEnvironment, limit
from tests.faults.history import Client, History
from tests.faults.linearizability import Call, Value, linearizable
from tests.faults.pool import Pool

OWNER = "ada"
STORES = 3
STEPS = 12


@dataclass
class Known:
    """The model's state of a job."""

    id: str
    spec: JobSpec
    state: JobState = JobState.QUEUED
    attempt: int = 1
    version: int = 1
    resumed: bool = False


@dataclass
class Model:
    """Jobs in the order in which they start, and the keys in use."""

    jobs: dict[str, Known] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def waiting(self) -> list[str]:
        """Ids of jobs waiting for their first start, the next one first."""
        known = [self.jobs[id] for id in self.order]
        first = [job for job in known if job.state is JobState.QUEUED and not job.resumed]
        return [job.id for job in sorted(first, key=lambda job: -job.spec.priority)]


class Rows(RuleBasedStateMachine):
    """The rows of one state folder, accessed through several stores as by several processes."""

    stores: list[Store]
    ran = 0
    rows = Bundle("rows")
    which = st.integers(0, STORES - 1)

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.mark = f"{os.getpid()}-{Rows.ran}"
        Rows.ran += 1

    def _insert(self, store: int, spec: JobSpec, key: str | None) -> Row:
        return Submissions(self.stores[store], 1_000).add(OWNER, spec, {"cwd": "/"}, key=key)

    @rule(
        target=rows,
        store=which,
        key=st.sampled_from([None, None, "a", "b"]),
        seconds=st.sampled_from([1, 1, 2]),
        priority=st.sampled_from([0, 0, 5]),
    )
    def submit(self, store: int, key: str | None, seconds: int, priority: int) -> Any:
        spec = JobSpec(kind="train", arguments={"seconds": seconds}, priority=priority)
        used = None if key is None else self.model.keys.get(key)
        own_key = None if key is None else f"{self.mark}-{key}"
        if used is not None and self.model.jobs[used].spec != spec:
            with pytest.raises(Conflict):
                self._insert(store, spec, own_key)
            return multiple()
        row = self._insert(store, spec, own_key)
        if used is not None:
            assert row.id == used, "a key made a second job"
            return row
        assert row.id not in self.model.jobs
        self.model.jobs[row.id] = Known(row.id, spec)
        self.model.order.append(row.id)
        if key is not None:
            self.model.keys[key] = row.id
        return row

    @rule(target=rows, store=which, row=rows, choice=st.integers(0, 8))
    def move_again(self, store: int, row: Row, choice: int) -> Any:
        """Moves are the most frequent command."""
        return self.move(store, row, choice)

    @rule(target=rows, store=which, row=rows)
    def read(self, store: int, row: Row) -> Row:
        found = self.stores[store].get(row.id)
        assert found is not None, "a stored job is missing"
        return found

    def _is_stale(self, row: Row) -> bool:
        return row.version != self.model.jobs[row.id].version

    @rule(target=rows, store=which, row=rows, choice=st.integers(0, 9))
    def move(self, store: int, row: Row, choice: int) -> Any:
        known = self.model.jobs[row.id]
        allowed = sorted(MOVES[row.state])
        if choice == 9 or not allowed:
            to = sorted(set(JobState) - MOVES[row.state])[choice % 3]
            with pytest.raises(ValueError):
                self.stores[store].move(row, to)
            return multiple()
        to = allowed[choice % len(allowed)]
        moved = self.stores[store].move(row, to)
        assert (moved is None) == self._is_stale(row), "a stale row was changed, or the newest was not"
        if moved is None:
            return multiple()
        known.state, known.version = to, moved.version
        return moved

    @rule(target=rows, store=which, row=rows)
    def resume(self, store: int, row: Row) -> Any:
        if not row.state.resumable:
            with pytest.raises(ValueError):
                self.stores[store].requeue(row, row.launch)
            return multiple()
        again = self.stores[store].requeue(row, row.launch)
        assert (again is None) == self._is_stale(row)
        if again is None:
            return multiple()
        known = self.model.jobs[row.id]
        assert (again.state, again.attempt) == (JobState.QUEUED, known.attempt + 1)
        known.state, known.attempt, known.version = JobState.QUEUED, again.attempt, again.version
        known.resumed = True
        return again

    @rule(store=which, row=rows, before=rows)
    def reorder(self, store: int, row: Row, before: Row) -> None:
        known, other = self.model.jobs[row.id], self.model.jobs[before.id]
        now = self.stores[store].get(row.id)
        assert now is not None
        fits = known.state is other.state is JobState.QUEUED and known.spec.priority == other.spec.priority
        if not fits or known.id == other.id:
            with pytest.raises(PublicError):
                control.reorder(self.stores[store], now, before.id, OWNER)
            return
        control.reorder(self.stores[store], now, before.id, OWNER)
        self.model.order.remove(known.id)
        self.model.order.insert(self.model.order.index(other.id), known.id)

    @rule(store=which, pause=st.booleans())
    def pause(self, store: int, pause: bool) -> None:
        if pause:
            control.pause(self.stores[store], OWNER, self.mark)
        else:
            control.unpause(self.stores[store], OWNER)
        other = self.stores[(store + 1) % STORES]
        assert control.state(other, OWNER).paused == pause

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        for number, known in enumerate(self.model.jobs.values()):
            row = self.stores[number % STORES].get(known.id)
            assert row is not None
            assert (row.state, row.attempt) == (known.state, known.attempt)
            known.version = max(known.version, row.version) if row.state is JobState.QUEUED else known.version
            assert row.version == known.version, "the row changed without a command"

    def teardown(self) -> None:
        store = self.stores[0]
        if self.model.jobs:
            attempts = [store.attempts(id) for id in self.model.jobs]
            for known, rows in zip(self.model.jobs.values(), attempts, strict=True):
                assert [row.n for row in rows] == list(range(1, known.attempt + 1))
                assert rows[-1].state is known.state
                assert all(row.state.resumable for row in rows[:-1])
            shown = control.state(store, OWNER).waiting
            mine = self.model.waiting()
            assert [id for id in shown if id in mine] == mine, "the order of waiting jobs differs"
        for known in self.model.jobs.values():
            row = store.get(known.id)
            if row is not None and not row.state.ended:
                end = JobState.CANCELLED if row.state is JobState.QUEUED else JobState.FAILED
                store.move(row, end)


def run(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run without shrinking: each try costs real commits, and the sequences are short."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_command_sequences_match_the_model(tmp_path: Path, count: Any, figures: Any) -> None:
    sequences = count(ci=100, full=10_000)
    Rows.stores = [Store(StateFolder(tmp_path / "state")) for _ in range(STORES)]
    Rows.ran = 0
    try:
        run(Rows, sequences, STEPS)
    finally:
        figures.put(sequences=Rows.ran, steps_each=STEPS)
        for store in Rows.stores:
            store.close()


# What several clients see at once.


def race(stores: list[Store], id: str, chance: random.Random, calls: int) -> tuple[list[Call], Value]:
    """Let threads with separate stores read and move one row; return their calls and the first value."""
    first = stores[0].get(id)
    assert first is not None
    found: list[Call] = []
    start = threading.Barrier(len(stores))
    seeds = [chance.random() for _ in stores]

    def client(store: Store, own: random.Random) -> None:
        start.wait()
        row = first
        for _ in range(calls):
            began = time.monotonic()
            if own.random() < 0.4:
                read = store.get(id)
                assert read is not None
                row = read
                found.append(Call(began, time.monotonic(), value(row)))
                continue
            moves = sorted(MOVES[row.state])
            to = own.choice(moves) if moves else None
            if to is None and not row.state.resumable:
                row = store.get(id) or row
                continue
            moved = store.requeue(row, row.launch) if to is None else store.move(row, to)
            new = (str(to or JobState.QUEUED), row.attempt + (to is None), row.version + 1)
            found.append(Call(began, time.monotonic(), value(row), new, succeeded=moved is not None))
            row = moved or row

    threads = [
        threading.Thread(target=client, args=(store, random.Random(seed)))
        for store, seed in zip(stores, seeds, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, value(first)


def value(row: Row) -> Value:
    return (str(row.state), row.attempt, row.version)


def test_concurrent_calls_are_linearizable(tmp_path: Path, count: Any, figures: Any) -> None:
    stores = [Store(StateFolder(tmp_path / "state")) for _ in range(4)]
    chance = random.Random(18)
    unexplained = calls = 0
    rounds = count(ci=20, full=1000, adds=False)
    for number in range(rounds):
        spec = JobSpec(kind="train", arguments={"round": number})
        row = Submissions(stores[0], rounds).add(OWNER, spec, {"cwd": "/"})
        history, first = race(stores, row.id, chance, calls=6)
        calls += len(history)
        unexplained += not linearizable(history, first)
    figures.add(histories=rounds, calls=calls, unexplained=unexplained)
    assert unexplained == 0
    for store in stores:
        store.close()


A, B, C = ("QUEUED", 1, 1), ("STARTING", 1, 2), ("CANCELLED", 1, 2)


@pytest.mark.parametrize(
    ("calls", "fine"),
    [
        ([Call(0, 1, A), Call(2, 3, A, B), Call(4, 5, B)], True),
        ([Call(0, 5, A, B), Call(1, 2, B), Call(3, 4, B)], True),
        ([Call(0, 5, A, B), Call(1, 2, B), Call(3, 4, A)], False),
        ([Call(0, 1, A, B), Call(2, 3, A)], False),
        ([Call(0, 5, A, B), Call(0, 5, A, C)], False),
        ([Call(0, 5, A, B), Call(0, 5, A, C, succeeded=False)], True),
        ([Call(0, 5, A, B, succeeded=False)], False),
    ],
)
def test_history_that_is_not_linearizable_is_detected(calls: list[Call], fine: bool) -> None:
    assert linearizable(calls, A) is fine


# Whole processes.


class Processes(RuleBasedStateMachine):
    """Jobs with real supervisors and workers, and servers and supervisors that are killed."""

    make: Callable[[], FaultEnvironment]
    pool: Pool
    ran = 0
    totals: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        Processes.ran += 1
        self.submitted: dict[str, str] = {}
        self.given: dict[str, dict[str, Any]] = {}
        self.number = 0

    @initialize(
        seconds=st.sampled_from([0.02, 0.3, 2.0]), code=st.sampled_from([0, 7, -9]), repeated=st.booleans()
    )
    def begin(self, seconds: float, code: int, repeated: bool) -> None:
        self.environment = Processes.make()
        self.environment.local._background.stop()
        self.client = Client(
            SyncJobs(self.environment.local), History(self.environment.folder / "histories/commands.jsonl")
        )
        self.submit(again=False, seconds=seconds, code=code, chosen=0)
        self.submit(again=repeated, seconds=seconds, code=0, chosen=0)

    def _row(self, chosen: int) -> Row:
        row = self.environment.local._store.get(list(self.submitted.values())[chosen % len(self.submitted)])
        assert row is not None
        return row

    @rule(
        again=st.booleans(),
        seconds=st.sampled_from([0.02, 0.3, 2.0]),
        code=st.sampled_from([0, 0, 7, -9]),
        chosen=st.integers(0, 9),
    )
    def submit(self, again: bool, seconds: float, code: int, chosen: int) -> None:
        self.number += 1
        tag = f"t{self.number}"
        given = {
            "tag": tag,
            "world": str(self.environment.folder / "world"),
            "seconds": seconds,
            "exit": code,
        }
        if again and self.submitted:
            tag = list(self.submitted)[chosen % len(self.submitted)]
        given = self.given.setdefault(tag, given)
        job = self.client.submit(given)
        assert job is not None
        assert self.submitted.setdefault(tag, job.id) == job.id, "a key made a second job"

    @precondition(lambda self: self.submitted)
    @rule(chosen=st.integers(0, 9))
    def cancel(self, chosen: int) -> None:
        row = self._row(chosen)
        job = self.client.cancel(row.id)
        assert job is not None and (job.state.ended or job.state is JobState.STOPPING)

    @precondition(lambda self: self.submitted)
    @rule(chosen=st.integers(0, 9))
    def resume(self, chosen: int) -> None:
        row = self._row(chosen)
        job = self.client.resume(row.id)
        if row.state is JobState.SUCCEEDED:
            assert job is None, "a succeeded job was resumed"
        if job is not None:
            assert job.attempt == row.attempt + 1

    @rule()
    def turn(self) -> None:
        self.environment.local.turn()

    @precondition(lambda self: self.submitted)
    @rule(chosen=st.integers(0, 9))
    def finish(self, chosen: int) -> None:
        """Run the scheduler until the job has ended."""
        row = self._row(chosen)
        deadline = time.monotonic() + 30 + limit()
        while not self.environment.local._store.get(row.id).state.ended:  # type: ignore[union-attr]
            assert time.monotonic() < deadline, "it never ended"
            self.environment.local.turn()
            time.sleep(0.02)
        self.client.get(row.id)

    @precondition(lambda self: self.submitted)
    @rule(chosen=st.integers(0, 9), who=st.integers(0, 1))
    def kill_supervisor(self, chosen: int, who: int) -> None:
        """Kill the supervisor or the guardian."""
        live = [row for row in self.environment.local._store.in_states(LIVE) if row.token]
        if live:
            pids = with_argument(live[chosen % len(live)].token or "")
            with suppress(ProcessLookupError, IndexError):
                os.kill(sorted(pids)[who], signal.SIGKILL)
                Processes.totals["kills"] = Processes.totals.get("kills", 0) + 1

    @rule(moment=st.floats(0, 0.3))
    def kill_server(self, moment: float) -> None:
        """Start a server that opens the folder and runs the scheduler, then kill it."""
        server = self.pool.start(actions.recover, self.environment.folder, self.number)
        time.sleep(moment)
        self.pool.kill(server)
        Processes.totals["kills"] = Processes.totals.get("kills", 0) + 1

    def teardown(self) -> None:
        if not hasattr(self, "environment"):
            return
        _, late = self.environment.settle(10_000)
        world, violations = self.environment.close(supervisors_die=True, workers_die=True, late=late)
        for name, number in tally(violations).items():
            Processes.totals[name] = Processes.totals.get(name, 0) + number
        Processes.totals["jobs"] = Processes.totals.get("jobs", 0) + len(world.jobs)
        assert violations == []
        assert all(JobState(row["state"]) in ENDS for row in world.jobs.values())


def test_random_commands_and_kills_violate_no_guarantee(
    tmp_path: Path, pool: Pool, count: Any, figures: Any
) -> None:
    sequences = count(ci=4, full=200, adds=False)
    Processes.pool, Processes.ran, Processes.totals = pool, 0, {}
    Processes.make = staticmethod(lambda: FaultEnvironment(tmp_path / f"run-{Processes.ran}", pool, slots=2))  # type: ignore[assignment]
    try:
        run(Processes, sequences, 10)
    finally:
        figures.put(process_sequences=Processes.ran)
        figures.add(**Processes.totals)

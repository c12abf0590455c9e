"""The checker of the fault suite finds each kind of lie in histories that were forged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.checker import KINDS, World, check, tally

SEEN = {
    "id": "train-a",
    "exit_code": None,
    "cause": None,
    "result": {},
    "arguments": {"tag": "k"},
}


def honest() -> World:
    """A job that is submitted, seen running, seen succeeded; its worker ran once."""
    one = {"client": "c", "phase": "ok"}
    entries = [
        {"client": "c", "op": 1, "phase": "invoke", "what": "submit", "tag": "k", "at": 1},
        {**one, "op": 1, "at": 2, "jobs": [{**SEEN, "attempt": 1, "version": 1, "state": "QUEUED"}]},
        {"client": "c", "op": 2, "phase": "invoke", "what": "get", "id": "train-a", "at": 4},
        {**one, "op": 2, "at": 5, "jobs": [{**SEEN, "attempt": 1, "version": 3, "state": "RUNNING"}]},
        {"client": "d", "op": 1, "phase": "invoke", "what": "get", "id": "train-a", "at": 7},
        {
            **{"client": "d", "op": 1, "phase": "ok", "at": 8},
            "jobs": [{**SEEN, "attempt": 1, "version": 4, "state": "SUCCEEDED"}],
        },
    ]
    worker = {"job": "train-a", "attempt": 1, "nonce": "n", "pid": 2}
    workers = [
        {**worker, "what": "start", "alone": True, "at": 3},
        {**worker, "what": "end", "exit": 0, "terminated": False, "at": 6},
    ]
    row = {"id": "train-a", "attempt": 1, "version": 4, "state": "SUCCEEDED", "exit_code": 0}
    jobs = {"train-a": {**row, "arguments": {"tag": "k"}, "result": {"nonce": "n"}}}
    attempts = {("train-a", 1): {"state": "SUCCEEDED", "exit_code": 0, "cause": None}}
    return World(entries, workers, jobs, attempts)


def lose(world: Any) -> None:
    world.jobs.clear()
    world.attempts.clear()
    world.workers.clear()


def change(world: Any) -> None:
    world.jobs["train-a"]["arguments"] = {"tag": "k", "seconds": 9}


def double(world: Any) -> None:
    world.jobs["train-b"] = {**world.jobs["train-a"], "id": "train-b"}


def start_twice(world: Any) -> None:
    world.workers.append({**world.workers[0], "nonce": "m"})


def overlap(world: Any) -> None:
    world.workers[0]["alone"] = False


def go_back(world: Any) -> None:
    world.entries[-1]["jobs"][0].update(version=2, state="STARTING")


def overwrite(world: Any) -> None:
    """transformerlab-api #439: a FAILED was overwritten with COMPLETE."""
    world.entries[3]["jobs"][0].update(state="FAILED")


def lie(**columns: Any) -> Callable[[Any], None]:
    def tell(world: Any) -> None:
        world.attempts["train-a", 1].update(columns)
        world.jobs["train-a"].update(state=columns.get("state", "SUCCEEDED"))
        world.entries[-1]["jobs"][0].update(state=columns.get("state", "SUCCEEDED"))

    return tell


def worker_failed(world: Any) -> None:
    world.workers[1]["exit"] = 7


def other_result(world: Any) -> None:
    world.jobs["train-a"]["result"] = {}


def never_ended(world: Any) -> None:
    world.workers.pop()


def be_late(world: Any) -> None:
    world.late = ["train-a"]


def test_valid_history_has_no_violation() -> None:
    assert check(honest()) == []


@pytest.mark.parametrize(
    ("forge", "kind"),
    [
        (lose, "lost"),
        (change, "changed"),
        (double, "twins"),
        (start_twice, "double_starts"),
        (overlap, "overlaps"),
        (go_back, "wrong_moves"),
        (overwrite, "wrong_moves"),
        (lie(exit_code=1), "false_ends"),
        (lie(state="FAILED"), "false_ends"),
        (lie(state="CANCELLED"), "false_ends"),
        (lie(state="INTERRUPTED"), "false_ends"),
        (lie(state="RUNNING"), "false_ends"),
        (worker_failed, "false_ends"),
        (other_result, "false_ends"),
        (never_ended, "false_ends"),
        (be_late, "unfinished"),
    ],
)
def test_violation_is_detected(forge: Callable[[Any], None], kind: str) -> None:
    world = copy.deepcopy(honest())
    forge(world)
    assert kind in {violation.kind for violation in check(world)}
    assert tally(check(world))[kind] > 0 and set(tally([])) == set(KINDS)

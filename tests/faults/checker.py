"""Compares the clients' histories with what workers did and with what is stored at the end."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ilab_jupyter.jobs.state import MOVES, JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.rows import Store
from tests.faults import history

Entry = Mapping[str, Any]
KINDS = ("lost", "changed", "twins", "double_starts", "overlaps", "wrong_moves", "false_ends", "unfinished")


@dataclass(frozen=True)
class Violation:
    """A violated guarantee: its kind, the job, and a description."""

    kind: str
    job: str
    what: str


@dataclass
class World:
    """All data of a run.

    `entries`: the clients' histories, see history.py. `workers`: the records of trainer.py. `jobs`: the final
    rows by id, `attempts`: their attempts by (id, number). `supervisors_die`: an attempt whose worker ran may
    be INTERRUPTED. `workers_die`: an attempt whose worker did not finish may be FAILED. `late`: jobs that had
    not ended in time.
    """

    entries: Sequence[Entry]
    workers: Sequence[Entry]
    jobs: Mapping[str, Entry]
    attempts: Mapping[tuple[str, int], Entry]
    supervisors_die: bool = False
    workers_die: bool = False
    late: Sequence[str] = ()


@dataclass
class _Violations:
    violations: list[Violation] = field(default_factory=list)

    def __call__(self, kind: str, job: str, what: str) -> None:
        assert kind in KINDS
        self.violations.append(Violation(kind, job, what))


def read_world(store: Store, histories: Path, world: Path, **more: Any) -> World:
    """Read the files of a run and its store."""
    with store.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sa.select(schema.job))]
        attempts = [dict(row._mapping) for row in connection.execute(sa.select(schema.attempt))]
    for row in rows:
        row["arguments"] = history.plain(json.loads(row["spec"])["arguments"])
        row["result"] = json.loads(row["result"] or "{}")
    return World(
        history.read(histories),
        history.read_lines(world / "workers.log"),
        {row["id"]: row for row in rows},
        {(row["job"], row["n"]): row for row in attempts},
        **more,
    )


def check(world: World) -> list[Violation]:
    """Return all violations."""
    mark = _Violations()
    _acknowledged(world, mark)
    _starts(world, mark)
    _observations(world, mark)
    _ends(world, mark)
    for id in world.late:
        mark("unfinished", id, "it had not ended in time")
    return mark.violations


def tally(violations: Iterable[Violation]) -> dict[str, int]:
    """Count the violations of each kind."""
    found = Counter(violation.kind for violation in violations)
    return {kind: found[kind] for kind in KINDS}


def _acknowledged(world: World, mark: _Violations) -> None:
    """R1: every acknowledged job is stored as submitted, and one key is one job."""
    calls = {(entry["client"], entry["op"]): entry for entry in world.entries if entry["phase"] == "invoke"}
    for entry in world.entries:
        if entry["phase"] != "ok":
            continue
        call = calls[entry["client"], entry["op"]]
        for job in entry["jobs"]:
            row = world.jobs.get(job["id"])
            if row is None:
                mark("lost", job["id"], f"{call['what']} gave it, and it is not stored")
            elif row["arguments"] != job["arguments"]:
                mark("changed", job["id"], "its arguments are not those that were shown")
            elif call["what"] == "submit" and row["arguments"]["tag"] != call["tag"]:
                mark("changed", job["id"], "it was given for another submission")
    tags = defaultdict(set)
    for id, row in world.jobs.items():
        tags[row["arguments"]["tag"]].add(id)
    for tag, ids in tags.items():
        if len(ids) > 1:
            mark("twins", min(ids), f"the key {tag} made {len(ids)} jobs")


def _starts(world: World, mark: _Violations) -> None:
    """R3: one worker per attempt, and never two of a job at once."""
    starts = Counter((one["job"], one["attempt"]) for one in world.workers if one["what"] == "start")
    for (job, attempt), count in starts.items():
        if count > 1:
            mark("double_starts", job, f"attempt {attempt} was started {count} times")
        if (job, attempt) not in world.attempts:
            mark("lost", job, f"attempt {attempt} ran and is not stored")
    for one in world.workers:
        if one["what"] == "start" and not one["alone"]:
            mark("overlaps", one["job"], f"attempt {one['attempt']} began while another worker lived")


def _reachable() -> dict[str, set[str]]:
    found = {}
    for state in JobState:
        open_list, closed = [state], {state}
        while open_list:
            for following in MOVES[open_list.pop()] - closed:
                closed.add(following)
                open_list.append(following)
        found[str(state)] = {str(one) for one in closed}
    return found


REACHABLE = _reachable()


def _observations(world: World, mark: _Violations) -> None:
    """R2, over all clients: a request made after a response never returns an older row."""
    invoked: dict[tuple[str, int], dict[str, Entry]] = {}
    newest: dict[str, Entry] = {}
    versions: dict[tuple[str, int], Entry] = {}
    for entry in world.entries:
        call = (entry["client"], entry["op"])
        if entry["phase"] == "invoke":
            invoked[call] = dict(newest)
        if entry["phase"] != "ok":
            continue
        for job in entry["jobs"]:
            before = invoked[call].get(job["id"])
            if before is not None and (reason := _wrong(before, job)):
                mark("wrong_moves", job["id"], reason)
            same = versions.setdefault((job["id"], job["version"]), job)
            if (same["state"], same["attempt"]) != (job["state"], job["attempt"]):
                mark("wrong_moves", job["id"], f"one version was {same['state']} and {job['state']}")
            if job["id"] not in newest or newest[job["id"]]["version"] < job["version"]:
                newest[job["id"]] = job
            stored = world.attempts.get((job["id"], job["attempt"]))
            if JobState(job["state"]).ended and stored is not None and stored["state"] != job["state"]:
                mark("wrong_moves", job["id"], f"its end {job['state']} became {stored['state']}")
    for id, job in newest.items():
        if id in world.jobs and (reason := _wrong(job, world.jobs[id])):
            mark("wrong_moves", id, f"in the end: {reason}")


def _wrong(before: Entry, after: Entry) -> str:
    if after["version"] < before["version"] or after["attempt"] < before["attempt"]:
        return f"version {before['version']} was followed by {after['version']}"
    if after["attempt"] == before["attempt"] and after["state"] not in REACHABLE[before["state"]]:
        return f"{before['state']} was followed by {after['state']}"
    return ""


def _ends(world: World, mark: _Violations) -> None:
    """R2, R4: the stored outcome is the actual one."""
    started = {(one["job"], one["attempt"]): one for one in world.workers if one["what"] == "start"}
    ended = {(one["job"], one["attempt"]): one for one in world.workers if one["what"] == "end"}
    stops = {entry["id"] for entry in world.entries if entry.get("what") == "cancel"}
    for (id, number), attempt in world.attempts.items():
        start, end, row = started.get((id, number)), ended.get((id, number)), world.jobs.get(id)
        if row is None:
            mark("lost", id, "it has attempts and no row")
            continue
        if row["attempt"] == number and row["state"] != attempt["state"]:
            mark("false_ends", id, f"its row says {row['state']}, its attempt {attempt['state']}")
        if reason := _false(world, attempt, start, end, id in stops):
            mark("false_ends", id, f"attempt {number} {attempt['state']}: {reason}")
        newest = row["attempt"] == number and attempt["state"] == "SUCCEEDED"
        if newest and start is not None and row["result"] != {"nonce": start["nonce"]}:
            mark("false_ends", id, "its result is not its worker's")


def _false(world: World, attempt: Entry, start: Entry | None, end: Entry | None, stopped: bool) -> str:
    state, code = attempt["state"], attempt["exit_code"]
    if code is not None and end is not None and code != end["exit"] and not (stopped and code == -9):
        return f"exit code {code} is stored, it was {end['exit']}"
    if state == "SUCCEEDED" and (end is None or end["exit"] != 0):
        return "its worker did not end well"
    if state == "FAILED" and end is None and start is not None and not (world.workers_die and code == -9):
        return "its worker never came to an end"
    if state == "FAILED" and end is not None and end["exit"] == 0:
        return "its worker ended well"
    if state == "CANCELLED" and not stopped:
        return "it had not been cancelled"
    if state == "CANCELLED" and end is not None and end["exit"] == 0:
        return "its worker had ended well"
    if state == "INTERRUPTED" and start is not None and not world.supervisors_die:
        return f"its worker had run, and no supervisor was killed ({attempt['cause']})"
    if state in ("QUEUED", "STARTING", "RUNNING", "STOPPING") and end is not None and not end["terminated"]:
        return f"its worker ended with {end['exit']}"
    return ""

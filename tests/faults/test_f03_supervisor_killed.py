"""F3: supervisor or guardian is killed: the process tree ends at once, the job is INTERRUPTED, the slot is
free."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from ilab_jupyter.jobs.attempt.process import Identity, with_argument, with_token
from ilab_jupyter.jobs.state import LIVE, JobState
from tests.faults.processes import supervisor, written

LIMIT = 2.0


def tree(harness: Any, id: str, *pid_files: Path) -> list[Identity]:
    """Return the worker, the processes with its token, and the processes named in files."""
    pids = [*with_token(harness.local._store.get(id).token), *map(written, pid_files)]
    found = [Identity.of(pid) for pid in set(pids)]
    assert all(found)
    return [identity for identity in found if identity is not None]


def until_dead(processes: list[Identity], since: float) -> float:
    """Return the seconds from `since` until none of them is alive."""
    deadline = time.monotonic() + 20
    while any(process.alive for process in processes):
        assert time.monotonic() < deadline, "a process of the job lives on"
        time.sleep(0.002)
    return time.monotonic() - since


def leases(harness: Any, id: str) -> int:
    with harness.local._store.read() as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM lease WHERE job = ?", (id,))
        return int(found.scalar_one())


def watchers(harness: Any, row: Any) -> list[int]:
    """Return guardian and supervisor, excluding a worker between its fork and its exec."""
    path = harness.local.folder(row.id) / f"attempts/{row.attempt}/supervisor.json"
    known = json.loads(path.read_text())["pid"] if path.exists() else None
    found = []
    for pid in with_argument(row.token):
        with suppress(psutil.Error):
            if known is None or psutil.Process(pid).ppid() != known:
                found.append(pid)
    return found


def test_killed_supervisor_leaves_no_process_and_frees_the_slot(
    harness: Any, running: Any, tmp_path: Path, count: Any, figures: Any
) -> None:
    times, reported = [], []
    for number in range(count(3, 150)):
        child, daemon = tmp_path / f"child-{number}", tmp_path / f"daemon-{number}"
        job = running(["ignore_term"], ["child", str(child)], ["daemon", str(daemon)])
        next_one = harness.submit(["print", "next"])
        processes = tree(harness, job.id, child, daemon)
        assert len(processes) == 3 and harness.jobs.get(next_one.id).state is JobState.QUEUED
        killed = time.monotonic()
        os.kill(supervisor(harness, job.id), signal.SIGKILL)
        times.append(until_dead(processes, killed))
        # No client is active: the guardian alone records the end and runs the scheduler.
        ended = harness.end(job.id)
        reported.append(time.monotonic() - killed)
        assert (ended.state, ended.cause, ended.exit_code) == (JobState.INTERRUPTED, "supervisor_lost", None)
        assert ended.remedy == f"resume {job.id}"
        assert "Resume" in ended.hint and harness.log(job.id) == "ready\n"
        assert leases(harness, job.id) == 0
        assert harness.end(next_one.id).state is JobState.SUCCEEDED, "the slot is free"
        figures.add(kills=1)
        figures.most(tree_dead_seconds=times[-1], reported_seconds=reported[-1])
    assert max(times) <= LIMIT


def test_any_process_cleans_up_after_killed_supervisor_and_guardian(
    harness: Any, running: Any, abandon: Any, tmp_path: Path, count: Any, figures: Any
) -> None:
    times = []
    for number in range(count(2, 50)):
        child = tmp_path / f"child-{number}"
        job = running(["ignore_term"], ["child", str(child)])
        worker, orphan = sorted(tree(harness, job.id, child), key=lambda one: one.pid == written(child))
        killed = time.monotonic()
        abandon(job.id)
        until_dead([worker], killed)
        assert orphan.alive, "no process was left to kill it"
        harness.local.turn()
        assert harness.jobs.get(job.id).state is JobState.INTERRUPTED
        assert not orphan.alive, "the job was reported to have ended before all of it was dead"
        times.append(time.monotonic() - killed)
        assert with_token(harness.local._store.get(job.id).token) == [] and leases(harness, job.id) == 0
        figures.add(kills=1)
        figures.most(tree_dead_without_guardian_seconds=times[-1])
    assert max(times) <= LIMIT


def test_supervisors_killed_at_random_leave_correct_states(
    harness: Any, tmp_path: Path, count: Any, figures: Any
) -> None:
    chance = random.Random(7)
    harness.local.configure(slots={"batch": 3})
    files, ids, kills = [], [], 0
    for number in range(count(6, 100)):
        files.append(tmp_path / f"ran-{number}")
        ids.append(harness.submit(["write", str(files[-1]), "x"], ["sleep", 0.2]).id)
        time.sleep(chance.random() * 0.4)
        live = [row for row in harness.local._store.in_states(LIVE) if row.token]
        if live:
            pids = watchers(harness, chance.choice(live))[:: chance.choice((1, -1))]
            for pid in pids[: chance.choice((1, 2))]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
    deadline = time.monotonic() + 60 + len(ids)
    while harness.local.active() and time.monotonic() < deadline:
        harness.local.turn()
        time.sleep(0.1)
    for id, file in zip(ids, files, strict=True):
        job = harness.jobs.get(id)
        assert job.state in (JobState.SUCCEEDED, JobState.INTERRUPTED)
        assert job.state is not JobState.SUCCEEDED or job.exit_code == 0
        assert not file.exists() or file.read_text() == "x", "it ran twice"
        assert job.state is JobState.INTERRUPTED or file.exists()
    figures.add(kills=kills, false_ends=0)


def test_watcher_sees_end_after_all_processes_were_killed(harness: Any, running: Any, abandon: Any) -> None:
    job = running()
    stream = harness.jobs.watch(job.id)
    assert next(stream).fields["job"]["state"] == "RUNNING"
    abandon(job.id)
    assert list(stream)[-1].fields["state"] == "INTERRUPTED"

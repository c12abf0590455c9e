"""Processes that are killed: what had been promised is kept, and the outcome that is told is the true one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.process import Identity, boot_clock, boot_id, with_argument, with_token
from ilab_jupyter.jobs.state import LIVE, JobState


def record(bench: Any, id: str) -> dict[str, Any]:
    row = bench.local._store.get(id)
    return json.loads((bench.local.folder(id) / f"attempts/{row.attempt}/supervisor.json").read_text())


def token(bench: Any, id: str) -> str:
    return bench.local._store.get(id).token


def supervisor(bench: Any, id: str) -> int:
    return int(record(bench, id)["pid"])


def worker(bench: Any, id: str) -> int:
    (pid,) = with_token(token(bench, id))
    return pid


def test_a_job_outlives_the_kill_of_the_server_that_runs_it(bench: Any, servers: Any, tmp_path: Path) -> None:
    server = servers.start(
        f"submit(['numbered', 50], ['sleep', 1], ['write', {str(tmp_path / 'ran')!r}, 'x'], ['exit', 7])\n"
        "time.sleep(60)"
    )
    id = server.stdout.readline().strip()
    bench.reach(id, JobState.RUNNING)
    server.kill()
    server.wait()
    # Nobody is there any more who could tell: the next one who asks hears the truth.
    time.sleep(0.1)
    assert bench.jobs.get(id).state is JobState.RUNNING
    ended = bench.end(id)
    assert (ended.state, ended.exit_code, ended.attempt) == (JobState.FAILED, 7, 1)
    assert (tmp_path / "ran").read_text() == "x" and bench.log(id).endswith("line 49\n")


def test_the_queue_moves_on_with_no_server_at_all(
    bench: Any, servers: Any, tmp_path: Path, wait: Any
) -> None:
    order = str(tmp_path / "order")
    server = servers.start(
        f"for n in range(4): submit(['sleep', 0.2], ['write', {order!r}, str(n)])\ntime.sleep(60)"
    )
    ids = [server.stdout.readline().strip() for _ in range(4)]
    server.kill()
    server.wait()
    wait(lambda: Path(order).exists() and Path(order).read_text() == "0123")
    assert [bench.end(id).state for id in ids] == [JobState.SUCCEEDED] * 4


def test_a_server_killed_at_any_moment_loses_no_job_it_had_accepted_and_runs_none_twice(
    bench: Any, servers: Any, tmp_path: Path
) -> None:
    bench.local.configure(slots={"batch": 2})
    ran = tmp_path / "ran"
    accepted: list[str] = []
    chance = random.Random(20)
    for _ in range(5):
        server = servers.start(
            f"for n in range(8): submit(['write', {str(ran)!r}, f'{{time.monotonic_ns()}}\\n'])"
        )
        first = server.stdout.readline().strip()
        time.sleep(chance.random() * 0.3)
        server.kill()
        accepted += [first, *server.communicate()[0].split()]
    ids = {job.id for job in bench.jobs.list(limit=500).jobs}
    assert set(accepted) <= ids, "an accepted job is not in the list"
    deadline = time.monotonic() + 60
    while bench.local.active() and time.monotonic() < deadline:
        bench.local.turn()
        time.sleep(0.2)
    for job in bench.jobs.list(limit=500).jobs:
        assert job.state is JobState.SUCCEEDED and job.exit_code == 0, job
    assert len(set(ran.read_text().split())) == len(ran.read_text().split()) == len(ids)


def test_when_a_supervisor_is_killed_its_tree_dies_and_the_job_is_interrupted_by_itself(
    bench: Any, running: Any, wait: Any, tmp_path: Path
) -> None:
    child, daemon = tmp_path / "child", tmp_path / "daemon"
    job = running(["ignore_term"], ["child", str(child)], ["daemon", str(daemon)])
    pids = [*with_token(token(bench, job.id)), int(daemon.read_text())]
    assert int(child.read_text()) in pids and len(pids) == 3
    killed = time.monotonic()
    os.kill(supervisor(bench, job.id), signal.SIGKILL)
    wait(lambda: not any(Identity.of(pid) for pid in pids), seconds=10)
    assert time.monotonic() - killed < 4  # 2 s on a machine that has nothing else to do
    ended = bench.end(job.id)
    assert (ended.state, ended.cause, ended.exit_code) == (JobState.INTERRUPTED, "supervisor_lost", None)
    assert "Resume" in ended.next_step and bench.log(job.id) == "ready\n"


def test_when_supervisor_and_guardian_are_killed_the_next_turn_clears_up(
    bench: Any, running: Any, abandon: Any
) -> None:
    job = running(["ignore_term"])
    abandon(job.id)
    bench.local.turn()
    assert bench.jobs.get(job.id).state is JobState.INTERRUPTED
    assert with_token(token(bench, job.id)) == []


def test_processes_of_a_dead_supervisor_are_recognised_and_killed_before_the_job_counts_as_ended(
    bench: Any, running: Any, abandon: Any, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    job = running(["child", str(child)])
    abandon(job.id)
    assert Identity.of(int(child.read_text())) is not None, "the child did not die with the others"
    bench.local.turn()
    assert bench.jobs.get(job.id).state is JobState.INTERRUPTED
    assert Identity.of(int(child.read_text())) is None


@pytest.mark.parametrize(
    ("number", "end", "cause"),
    [
        (signal.SIGKILL, JobState.FAILED, "killed"),
        (signal.SIGSEGV, JobState.FAILED, "crashed"),
        (signal.SIGTERM, JobState.INTERRUPTED, "terminated"),
    ],
)
def test_a_killed_worker_is_told_as_what_it_is(
    bench: Any, running: Any, number: int, end: JobState, cause: str
) -> None:
    job = running(["numbered", 100])
    os.kill(worker(bench, job.id), number)
    ended = bench.end(job.id)
    assert (ended.state, ended.cause, ended.exit_code) == (end, cause, -number)
    assert bench.log(job.id).endswith("line 99\nready\n")


def test_a_shutdown_lets_the_worker_save_and_interrupts_the_job(
    bench: Any, running: Any, tmp_path: Path
) -> None:
    job = running(["save_when_told", str(tmp_path / "saved")])
    os.kill(supervisor(bench, job.id), signal.SIGTERM)
    ended = bench.end(job.id)
    assert (ended.state, ended.cause) == (JobState.INTERRUPTED, "shutdown")
    assert (tmp_path / "saved").exists()


def test_a_worker_that_ignores_the_request_is_killed_with_all_that_it_started_after_its_grace(
    bench: Any, running: Any, tmp_path: Path
) -> None:
    bench.local.configure(grace_seconds=0.7)
    child, daemon = tmp_path / "child", tmp_path / "daemon"
    job = running(["ignore_term"], ["child", str(child)], ["daemon", str(daemon)])
    asked = time.monotonic()
    assert bench.jobs.cancel(job.id).state is JobState.STOPPING
    assert bench.jobs.cancel(job.id).state is JobState.STOPPING, "asking twice shortens nothing"
    ended = bench.end(job.id)
    assert 0.7 <= time.monotonic() - asked < 10
    assert (ended.state, ended.exit_code) == (JobState.CANCELLED, -9) and "killed" in ended.message
    assert [Identity.of(int(file.read_text())) for file in (child, daemon)] == [None, None]


def test_a_canceller_that_was_killed_before_its_signal_is_made_up_for(bench: Any, running: Any) -> None:
    job = running()
    store = bench.local._store
    assert store.move(store.get(job.id), JobState.STOPPING, stop_reason="cancel")
    assert bench.end(job.id, seconds=10).state is JobState.CANCELLED, "the supervisor looks at its row"


def test_a_spawner_killed_between_row_and_process_leaves_a_job_that_starts_again_by_itself(
    bench: Any, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    bench.local.configure(slots={"batch": 0})
    job = bench.submit(["write", str(ran), "x"])
    store = bench.local._store
    moved = store.move(
        store.get(job.id), JobState.STARTING, token="0" * 32, boot_id=boot_id(), spawned=boot_clock()
    )
    assert moved is not None
    bench.local.configure(slots={"batch": 1})
    bench.local.turn()
    assert bench.jobs.get(job.id).state is JobState.STARTING, "it might still be coming"
    time.sleep(2.1)
    bench.local.turn()
    ended = bench.end(job.id)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2) and ran.read_text() == "x"
    assert store.attempts(job.id)[0].cause == "lost"


def test_a_supervisor_that_comes_too_late_starts_nothing(bench: Any, state: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    bench.local.configure(slots={"batch": 0})
    job = bench.submit(["write", str(ran), "x"])
    store, mark = bench.local._store, "f" * 32
    starting = store.move(
        store.get(job.id), JobState.STARTING, token=mark, boot_id="another boot", spawned=0.0
    )
    assert starting is not None
    bench.local.turn()  # sees that it is lost, and queues it again
    assert bench.jobs.get(job.id).attempt == 2
    late = [sys.executable, "-m", "ilab_jupyter.jobs.supervisor", str(state), job.id, "1", mark]
    assert subprocess.run(late, timeout=30).returncode == 0
    assert not ran.exists() and bench.jobs.get(job.id).state is JobState.QUEUED


def test_a_job_whose_supervisor_never_starts_is_given_up_after_three_attempts(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("ILAB_JUPYTER_WORKER_PYTHON", sys.exec_prefix + "/bin/python")
    job = bench.submit(["print"])
    deadline = time.monotonic() + 30
    while not bench.jobs.get(job.id).state.ended and time.monotonic() < deadline:
        bench.local.turn()
        time.sleep(0.1)
    ended = bench.jobs.get(job.id)
    assert (ended.state, ended.attempt, ended.cause) == (JobState.INTERRUPTED, 3, "lost")
    assert "supervisor.log" in ended.message


def test_supervisors_killed_at_any_moment_leave_true_ends_and_run_nothing_twice(
    bench: Any, tmp_path: Path, wait: Callable[..., Any]
) -> None:
    chance = random.Random(7)
    bench.local.configure(slots={"batch": 3})
    files, ids = [], []
    for number in range(12):
        files.append(tmp_path / f"ran-{number}")
        ids.append(bench.submit(["write", str(files[-1]), "x"], ["sleep", 0.2]).id)
        time.sleep(chance.random() * 0.4)
        live = [row for row in bench.local._store.in_states(LIVE) if row.token]
        if live:
            for pid in with_argument(chance.choice(live).token)[:: chance.choice((1, -1))][
                : chance.choice((1, 2))
            ]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 40
    while bench.local.active() and time.monotonic() < deadline:
        bench.local.turn()
        time.sleep(0.1)
    for id, file in zip(ids, files, strict=True):
        job = bench.jobs.get(id)
        assert job.state in (JobState.SUCCEEDED, JobState.INTERRUPTED)
        assert job.state is not JobState.SUCCEEDED or job.exit_code == 0
        assert not file.exists() or file.read_text() == "x", "it ran twice"
        assert job.state is JobState.INTERRUPTED or file.exists()


def test_a_stopped_supervisor_is_not_taken_for_dead(bench: Any, running: Any) -> None:
    job = running()
    pid = supervisor(bench, job.id)
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(5):
            bench.local.turn()
            time.sleep(0.2)
        assert bench.jobs.get(job.id).state is JobState.RUNNING
    finally:
        os.kill(pid, signal.SIGCONT)
    bench.jobs.cancel(job.id)
    assert bench.end(job.id).state is JobState.CANCELLED


def test_a_second_supervisor_of_the_same_attempt_starts_nothing(
    bench: Any, state: Path, tmp_path: Path
) -> None:
    job = bench.submit(["write", str(tmp_path / "ran"), "x"], ["sleep", 1])
    bench.reach(job.id, JobState.RUNNING)
    command = [
        sys.executable,
        "-m",
        "ilab_jupyter.jobs.supervisor",
        str(state),
        job.id,
        "1",
        token(bench, job.id),
    ]
    assert subprocess.run(command, timeout=60).returncode == 0
    assert bench.end(job.id).state is JobState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x"


def test_whoever_only_follows_a_job_learns_that_everything_of_it_was_killed(
    bench: Any, running: Any, abandon: Any
) -> None:
    job = running()
    stream = bench.jobs.watch(job.id)
    assert next(stream).fields["job"]["state"] == "RUNNING"
    abandon(job.id)
    assert list(stream)[-1].fields["state"] == "INTERRUPTED"

"""Processes that share files, PIDs and connections do not affect each other."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ilab_jupyter.client.stream import EventStream
from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.attempt.lock import is_held, locked
from ilab_jupyter.jobs.attempt.supervisor import Assignment, Supervisor
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.logs import tails
from ilab_jupyter.jobs.queue import scheduler
from ilab_jupyter.jobs.state import JobState


def test_forked_process_keeps_no_lock(tmp_path: Path) -> None:
    path, inside = tmp_path / "turn.lock", threading.Event()
    forked = threading.Event()

    def turn() -> None:
        with locked(path, 5):
            inside.set()
            forked.wait(10)

    thread = threading.Thread(target=turn)
    thread.start()
    inside.wait(10)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        forked.set()
        thread.join()
        assert not is_held(path)
        with locked(path, 0) as got:
            assert got
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


HOLD = "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, 2); print(1, flush=True); input()"


@pytest.fixture
def elsewhere(harness: Any) -> Iterator[Any]:
    """Start a job whose supervisor holds its lock in another container, where it has the PID `pid`."""
    held = []

    def start(pid: int) -> Any:
        harness.jobs.pause()
        job = harness.submit(["print"])
        store = harness.local._store
        attempt = store.state.job(job.id).attempt(1)
        attempt.path.mkdir(parents=True)
        command = [sys.executable, "-c", HOLD, str(attempt.lock)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        held.append(holder)
        assert holder.stdout is not None and holder.stdout.readline()
        record = {"pid": pid, "starttime": "77", "boot_id": "another", "namespace": "pid:[4026539999]"}
        attempt.record.write_text(json.dumps({**record, "token": "t" * 32}))
        row = store.move(store.get(job.id), JobState.STARTING, token="t" * 32, boot_id="another", spawned=5.0)
        store.move(row, JobState.RUNNING, started=time.time())
        return job

    yield start
    for holder in held:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("ours", [False, True])
def test_remote_supervisor_with_our_pid_counts_as_alive(harness: Any, elsewhere: Any, ours: bool) -> None:
    job = elsewhere(os.getpid() if ours else os.getpid() + 100_000)
    scheduler._reconcile(harness.local._store, harness.local._store.get(job.id))
    assert harness.jobs.get(job.id).state is JobState.RUNNING


def test_supervisor_runs_if_response_to_its_move_was_lost(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.jobs.pause()
    job = harness.submit(["print"])
    store = harness.local._store
    store.move(store.get(job.id), JobState.STARTING, token="t" * 32, boot_id="b", spawned=5.0)
    store.state.job(job.id).attempt(1).path.mkdir(parents=True)
    move, worked, unheard = store.move, [], []

    def lost(*arguments: Any, **fields: Any) -> Any:
        moved = move(*arguments, **fields)
        if fields.get("started") and not unheard:
            unheard.append(moved)
            raise Unavailable("the connection was closed while it committed")
        return moved

    monkeypatch.setattr(store, "move", lost)
    supervisor = object.__new__(Supervisor)
    supervisor.assignment = Assignment(harness.local.state, job.id, 1, "t" * 32)
    supervisor.stop_requested = supervisor._forced = False
    supervisor._oom_kills, supervisor._memory_over_limit = 0, None
    monkeypatch.setattr(supervisor, "_work", lambda *_: worked.append(1) or 0)
    supervisor._supervise(store)
    assert worked == [1] and harness.jobs.get(job.id).state.ended


@pytest.mark.parametrize("since", [1.0, 60.0])
def test_supervisor_just_started_on_another_machine_is_waited_for(harness: Any, since: float) -> None:
    harness.jobs.pause()
    job = harness.submit(["print"])
    store = harness.local._store
    store.move(store.get(job.id), JobState.STARTING, token="t" * 32, boot_id="another", spawned=5.0)
    attempt = store.state.job(job.id).attempt(1)
    attempt.path.mkdir(parents=True)
    attempt.supervisor_log.touch()
    os.utime(attempt.supervisor_log, times=(time.time() - since,) * 2)
    scheduler._reconcile(store, store.get(job.id))
    seen = harness.jobs.get(job.id)
    assert (seen.state, seen.attempt) == ((JobState.STARTING, 1) if since < 8 else (JobState.QUEUED, 2))


def test_stream_survives_short_database_errors(
    harness: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    newer, failed = tails.Hub._newer, []

    def failing(*arguments: Any) -> Any:
        if len(failed) < 3:
            failed.append(1)
            raise Unavailable("the disk was slow")
        (tmp_path / "go").touch()
        return newer(*arguments)

    monkeypatch.setattr(tails.Hub, "_newer", failing)
    job = harness.submit(["wait_for", str(tmp_path / "go")], ["print", "x"])
    events = list(harness.jobs.watch(job.id, log_offset=0))
    assert len(failed) == 3 and events[-1].type == "end"
    assert "".join(event.fields["text"] for event in events if event.type == "log") == "x\n"


def test_reconnected_reader_starts_no_second_poller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "_STORE_ERROR_SECONDS", 0.0)

    class Failing:
        state = StateFolder(tmp_path)

        def read(self) -> Any:
            raise Unavailable("down")

    store: Any = Failing()
    attempt = store.state.job("train-aaaaaaaa").attempt(1)
    attempt.path.mkdir(parents=True)
    attempt.log.write_text("x")
    row: Any = SimpleNamespace(id="train-aaaaaaaa", attempt=1, version=1)

    async def watch() -> None:
        hub = tails.hub(store)
        slow = await hub.join(row)
        with pytest.raises(Unavailable):
            await slow.changed(slow.changes)
        again = await hub.join(row)
        assert [task.get_name() for task in asyncio.all_tasks()].count("ilab watch") == 1
        hub.leave(again)
        hub.leave(slow)
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(watch())


def test_stream_reports_its_failure_and_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    from ilab_jupyter.client import stream as streams

    monkeypatch.setattr(streams, "RETRY_SECONDS", 0.05)
    polled = []

    class Service:
        async def watch(self, id: str, **_: Any) -> Any:
            polled.append(id)
            raise OSError(24, "Too many open files")
            yield

    stream = EventStream(SimpleNamespace(service=Service()), "train-x")  # type: ignore[arg-type]
    deadline = time.monotonic() + 10
    while len(polled) < 3 and time.monotonic() < deadline:
        assert stream.batch(0.05) == ([], True)
    assert len(polled) >= 3 and stream.error is not None and "Too many open files" in stream.error.message
    stream.close()

"""Several processes on one state folder, records that lie, and a disk that is full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.events import EventWriter
from ilab_jupyter.jobs.lock import locked
from ilab_jupyter.jobs.process import Identity, boot_id
from ilab_jupyter.jobs.state import JobState


def test_servers_that_share_a_folder_start_each_job_once(bench: Any, servers: Any, tmp_path: Path) -> None:
    bench.local.configure(slots={"batch": 4})
    ran = str(tmp_path / "ran")
    code = f"""
for n in range(6):
    submit(['write', {ran!r}, f'{{sys.argv[1]}}-{{time.monotonic_ns()}}\\n'])
    local.turn()
print('done', flush=True)
while True:
    local.turn()
    time.sleep(0.02)
"""
    both = [servers.start(code) for _ in range(2)]
    ids = [line.strip() for server in both for line in iter(server.stdout.readline, "done\n")]
    assert len(set(ids)) == 12
    for id in ids:
        job = bench.end(id, seconds=60)
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
    counted = Counter(Path(ran).read_text().split())
    assert len(counted) == 12 and set(counted.values()) == {1}


def test_both_see_the_same_jobs_and_either_may_cancel(bench: Any, servers: Any, state: Path) -> None:
    server = servers.start("submit(['sleep', 60])\ntime.sleep(60)")
    id = server.stdout.readline().strip()
    bench.reach(id, JobState.RUNNING)
    bench.jobs.cancel(id)
    assert bench.end(id).state is JobState.CANCELLED


def test_a_server_that_is_stopped_in_the_middle_of_a_turn_holds_up_nobodys_submission(
    bench: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilab_jupyter.jobs import scheduler

    turn = scheduler.turn
    monkeypatch.setattr(scheduler, "turn", lambda store: turn(store, timeout=0.3))
    with locked(bench.local.state.turn_lock, 5) as got:
        assert got
        job = bench.submit(["print"])
        assert job.state is JobState.QUEUED
    bench.local.turn()
    assert bench.end(job.id).state is JobState.SUCCEEDED


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    "forged", ["bystander", "recycled", "self", "init", "zero", "minus one", "huge", "text", "torn"]
)
def test_a_record_that_names_another_process_gets_nobody_signalled(
    bench: Any, running: Any, abandon: Any, bystander: subprocess.Popen[bytes], forged: str
) -> None:
    job = running()
    path = bench.local.folder(job.id) / "attempts/1/supervisor.json"
    record = json.loads(path.read_text())
    abandon(job.id)
    someone = Identity.of(bystander.pid)
    assert someone is not None
    lies = {
        "bystander": {**record, **someone.to_dict()},
        "recycled": {**record, "pid": bystander.pid},
        "self": {**record, **Identity.of(os.getpid()).to_dict()},  # type: ignore[union-attr]
        **{name: {**record, "pid": pid} for name, pid in {"init": 1, "zero": 0, "minus one": -1}.items()},
        "huge": {**record, "pid": 2**40},
        "text": {**record, "pid": str(bystander.pid)},
    }
    path.write_text(json.dumps(lies[forged]) if forged in lies else '{"pid": 1')
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        bench.jobs.cancel(job.id)
        ended = bench.end(job.id)
        assert ended.state is JobState.CANCELLED, "it was asked to stop, and nothing of it lives"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [] and bystander.poll() is None


def test_a_record_of_another_boot_or_with_another_token_is_not_believed(
    bench: Any, running: Any, abandon: Any
) -> None:
    for change in ({"boot_id": "another"}, {"token": "another"}):
        job = running()
        path = bench.local.folder(job.id) / "attempts/1/supervisor.json"
        record = json.loads(path.read_text())
        abandon(job.id)
        path.write_text(json.dumps({**record, **change}))
        bench.local.turn()
        assert bench.jobs.get(job.id).state is JobState.INTERRUPTED


def test_an_exit_of_another_attempt_is_not_believed(bench: Any, running: Any, abandon: Any) -> None:
    job = running()
    abandon(job.id)
    lie = {
        "token": "another",
        "exit_code": 0,
        "shutdown": False,
        "forced": False,
        "cleared": True,
        "ended": time.time(),
    }
    (bench.local.folder(job.id) / "attempts/1/exit.json").write_text(json.dumps(lie))
    bench.local.turn()
    assert bench.jobs.get(job.id).state is JobState.INTERRUPTED


def test_an_exit_whose_row_was_not_moved_any_more_is_taken_up(bench: Any, running: Any, abandon: Any) -> None:
    """The supervisor died between the file and the row."""
    job = running()
    row = bench.local._store.get(job.id)
    abandon(job.id)
    true = {
        "token": row.token,
        "exit_code": 0,
        "shutdown": False,
        "forced": False,
        "cleared": True,
        "ended": time.time(),
    }
    EventWriter(bench.local.folder(job.id) / "events.jsonl", attempt=1).write("result", result={"steps": 3})
    (bench.local.folder(job.id) / "attempts/1/exit.json").write_text(json.dumps(true))
    bench.local.turn()
    ended = bench.jobs.get(job.id)
    assert (ended.state, ended.result) == (JobState.SUCCEEDED, {"steps": 3})


def test_after_a_reboot_the_first_who_looks_finds_the_job_interrupted(
    bench: Any, running: Any, abandon: Any, state: Path
) -> None:
    job = running()
    abandon(job.id)
    path = bench.local.folder(job.id) / "attempts/1/supervisor.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": boot_id()[::-1]}))
    fresh = type(bench)(state)
    seen = fresh.jobs.list().jobs[0]
    assert (seen.state, seen.cause) == (JobState.INTERRUPTED, "supervisor_lost")


def fill(disk: Path) -> None:
    """Until not one page is left."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 1024)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    until_gone = time.monotonic() + 10
    while (
        subprocess.run(["umount", str(disk)], capture_output=True).returncode
        and time.monotonic() < until_gone
    ):
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", str(disk)], capture_output=True)


def test_on_a_full_disk_a_submission_is_refused_with_advice_and_what_was_stored_is_intact(
    bench: Any, small_disk: Path
) -> None:
    small = type(bench)(small_disk / "state")
    kept = small.submit(["print", "x"])
    assert small.end(kept.id).state is JobState.SUCCEEDED
    fill(small_disk)
    with pytest.raises(Unavailable) as refused:
        for _ in range(50):
            small.submit(["print", "x" * 5000])
    assert refused.value.cause == "disk_full" and "space" in refused.value.next_step
    assert small.jobs.get(kept.id).state is JobState.SUCCEEDED
    (small_disk / "filler").unlink()
    for job in small.jobs.list(limit=500).jobs:
        small.local.turn()
        assert small.end(job.id).state.ended
    assert small.end(small.submit(["print", "again"]).id).state is JobState.SUCCEEDED
    small.clean()
    small.local.close()


def test_a_disk_that_fills_while_a_job_ends_delays_its_end_and_does_not_falsify_it(
    bench: Any, small_disk: Path, tmp_path: Path
) -> None:
    small = type(bench)(small_disk / "state")
    job = small.submit(["wait_for", str(tmp_path / "go")], ["exit", 5])
    small.reach(job.id, JobState.RUNNING)
    fill(small_disk)
    (tmp_path / "go").touch()
    time.sleep(1.5)
    assert small.jobs.get(job.id).state is JobState.RUNNING, "an end that cannot be written is not told"
    (small_disk / "filler").unlink()
    ended = small.end(job.id)
    assert (ended.state, ended.exit_code) == (JobState.FAILED, 5)
    small.clean()
    small.local.close()

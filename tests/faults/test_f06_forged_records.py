"""F6: records that lie get nobody signalled and no end believed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.events import EventWriter
from ilab_jupyter.jobs.process import Identity, boot_id
from ilab_jupyter.jobs.state import JobState


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

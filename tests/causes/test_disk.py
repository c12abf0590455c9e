"""A disk that is full: where checkpoints, artifacts, the log or all of a job's files lie."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.state import JobState

fill = importlib.import_module("tests.causes.conftest").fill
Disk = Callable[[Path, str], Path]


def test_a_training_whose_checkpoint_does_not_fit_any_more_goes_on_from_the_last_one(
    works: Any, tiny: Path, pairs: Path, small_disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_disk(tmp_path / "data", "64m")
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    job = works.submit("train", model=str(tiny), data=[str(pairs)], batch_size=1, save_steps=3, max_steps=240)
    while "artifact" not in {event.type for event in works.jobs.events(job.id)}:
        assert not works.jobs.get(job.id).state.ended, works.log(job)
        time.sleep(0.05)
    ballast = fill(data, leave=100_000)
    failed = works.end(job)
    assert (failed.state, failed.cause) == (JobState.FAILED, "disk_full"), works.log(job)
    assert "Free some space" in failed.next_step and failed.remedy == f"resume {job.id}"
    ballast.unlink()
    works.jobs.resume(job.id)
    done = works.end(job)
    assert done.state is JobState.SUCCEEDED and done.result["resumed_from"] >= 3, works.log(job)


def held(works: Any, code: str) -> Any:
    """A job that does not start yet."""
    works.local.configure(slots={"batch": 0})
    return works.code(code)


def let_go(works: Any) -> None:
    works.local.configure(slots={"batch": 1})
    works.local.turn()


def test_artifacts_that_do_not_fit(works: Any, small_disk: Disk) -> None:
    job = held(works, "(context.artifacts / 'weights').write_bytes(bytes(3_000_000))")
    small_disk(works.local.state.job(job.id).artifacts, "1m")
    let_go(works)
    ended = works.end(job)
    assert (ended.state, ended.cause, ended.message) == (JobState.FAILED, "disk_full", "The disk is full.")


def test_a_log_that_does_not_fit(works: Any, small_disk: Disk) -> None:
    job = held(works, "for number in range(100_000): print('line', number)")
    folder = small_disk(works.local.state.job(job.id).attempt(1).path, "256k")
    let_go(works)
    while "error" not in {event.type for event in works.jobs.events(job.id)}:
        time.sleep(0.05)
    assert not works.jobs.get(job.id).state.ended, "an end that cannot be kept is not told"
    log = (folder / "log.txt").read_text()
    assert log.startswith("line 0\nline 1\n") and len(log) > 100_000
    (folder / "log.txt").write_text("")
    ended = works.end(job)
    assert (ended.state, ended.cause) == (JobState.FAILED, "disk_full")


def test_a_full_log_does_not_end_a_work_that_only_tells_how_far_it_is(works: Any, small_disk: Disk) -> None:
    code = (
        "reporter.phase('training')\n"
        "for step in range(1, 20_001): reporter.progress(step, 20_000, loss=1.0)\n"
        "reporter.warning('w')\n"
    )
    job = held(works, code)
    folder = small_disk(works.local.state.job(job.id).attempt(1).path, "16k")
    fill(folder, leave=5_000)
    let_go(works)
    while "result" not in {event.type for event in works.jobs.events(job.id)}:
        assert not works.jobs.get(job.id).state.ended
        time.sleep(0.05)
    (folder / "ballast").unlink()
    ended = works.end(job)
    assert (ended.state, ended.progress.step) == (JobState.SUCCEEDED, 20_000)


def test_where_not_even_the_last_word_fits_the_cause_is_still_known(works: Any, small_disk: Disk) -> None:
    """All of a job's files lie on the disk that is full, as they mostly do."""
    code = (
        "from pathlib import Path\n"
        "try:\n    (context.artifacts / 'weights').write_bytes(bytes(8_000_000))\n"
        "finally:\n"
        "    with (context.artifacts / 'rest').open('ab', buffering=0) as rest:\n"
        "        while True: rest.write(b'x')\n"
    )
    folder = small_disk(works.local.state.jobs, "2m")
    job = works.code(code)
    events = works.local.state.job(job.id).events
    supervisor_log = works.local.state.job(job.id).attempt(1).supervisor_log
    deadline = time.monotonic() + 60
    while not (folder / job.id / "artifacts/rest").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(3)
    assert not works.jobs.get(job.id).state.ended, "an end that cannot be kept is not told"
    assert not events.exists() or b'"error"' not in events.read_bytes()
    (folder / job.id / "artifacts/weights").unlink()
    ended = works.end(job)
    assert (ended.state, ended.cause, ended.exit_code) == (JobState.FAILED, "disk_full", 74), (
        supervisor_log.read_text()
    )
    assert "not even its end" in ended.message and ended.remedy == f"resume {job.id}"

"""A full disk that a job's last event does not survive; F9 in tests/faults has the other full disks."""

from __future__ import annotations

import time
from typing import Any

from ilab_jupyter.jobs.state import JobState
from tests.support.disk import fill, small_disk
from tests.support.waiting import until


def test_work_succeeds_when_only_its_progress_cannot_be_stored(works: Any) -> None:
    works.local.configure(slots={"batch": 0})
    job = works.code(
        "reporter.phase('training')\n"
        "for step in range(1, 20_001): reporter.progress(step, 20_000, loss=1.0)\n"
        "reporter.warning('w')\n"
    )
    with small_disk(works.local.state.job(job.id).attempt(1).path, "16k") as disk:
        filler = fill(disk, leave=5_000)
        works.local.configure(slots={"batch": 1})
        works.local.turn()
        until(lambda: "result" in {event.type for event in works.jobs.events(job.id)}, 240)
        assert not works.jobs.get(job.id).state.ended
        filler.unlink()
        ended = works.end(job)
    assert (ended.state, ended.progress.step) == (JobState.SUCCEEDED, 20_000)


def test_cause_is_known_when_no_event_can_be_stored(works: Any) -> None:
    """All files of the job are on the full disk."""
    code = (
        "from pathlib import Path\n"
        "try:\n    (context.artifacts / 'weights').write_bytes(bytes(8_000_000))\n"
        "finally:\n"
        "    with (context.artifacts / 'rest').open('ab', buffering=0) as rest:\n"
        "        while True: rest.write(b'x')\n"
    )
    with small_disk(works.local.state.jobs, "2m") as disk:
        job = works.code(code)
        folder = works.local.state.job(job.id)
        until((disk / job.id / "artifacts/rest").exists, 60)
        time.sleep(1.5)
        assert not works.jobs.get(job.id).state.ended, "the end cannot be stored yet"
        assert not folder.events.exists() or b'"error"' not in folder.events.read_bytes()
        (disk / job.id / "artifacts/weights").unlink()
        ended = works.end(job)
        supervisor_log = folder.attempt(1).supervisor_log.read_text()
        assert (ended.state, ended.cause, ended.exit_code) == (JobState.FAILED, "disk_full", 74), (
            supervisor_log
        )
        assert "not even its result" in ended.message and ended.remedy == f"resume {job.id}"

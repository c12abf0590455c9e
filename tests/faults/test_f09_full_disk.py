"""F9: a disk that is full refuses with advice, delays, and falsifies nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.state import JobState


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

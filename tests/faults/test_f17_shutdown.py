"""F17: a shutdown lets the worker save, and the job is interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.state import JobState
from tests.faults.processes import supervisor


def test_a_shutdown_lets_the_worker_save_and_interrupts_the_job(
    bench: Any, running: Any, tmp_path: Path
) -> None:
    job = running(["save_when_told", str(tmp_path / "saved")])
    os.kill(supervisor(bench, job.id), signal.SIGTERM)
    ended = bench.end(job.id)
    assert (ended.state, ended.cause) == (JobState.INTERRUPTED, "shutdown")
    assert (tmp_path / "saved").exists()

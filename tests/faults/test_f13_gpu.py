"""F13: a job that exhausts the GPU's memory or breaks its context fails with that cause and frees the GPU."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.process import with_token
from ilab_jupyter.jobs.state import JobState
from tests.faults.processes import token

LIMIT = 10.0
NEAR = 64  # MiB that a driver may keep for itself

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def a_gpu() -> None:
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("no NVIDIA GPU here")


def used() -> int:
    """MiB in use on the first GPU, by any process."""
    query = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip())


def until_free(before: int) -> int:
    """Return the MiB in use once they are close to `before`, or after a timeout."""
    deadline = time.monotonic() + LIMIT
    while (now := used()) > before + NEAR and time.monotonic() < deadline:
        time.sleep(0.1)
    return now


@pytest.mark.parametrize(
    ("how", "causes"),
    [("out of memory", {"gpu_out_of_memory"}), ("cuda error", {"crashed"})],
    ids=["out of memory", "cuda error"],
)
def test_gpu_failure_has_its_cause_and_frees_the_gpu(
    harness: Any, tmp_path: Path, count: Any, figures: Any, how: str, causes: set[str]
) -> None:
    before = used()
    for number in range(count(1, 10)):
        broken = tmp_path / f"broken-{number}"
        job = harness.submit(["on_gpu", how, 3 + number, str(broken)])
        following = harness.submit(["on_gpu", "well", 3, str(tmp_path / f"well-{number}")])
        ended = harness.end(job.id, seconds=180)
        took = ended.ended_at.timestamp() - broken.stat().st_mtime
        assert (ended.state, ended.exit_code) == (JobState.FAILED, 1) and ended.cause in causes
        assert ended.message and ended.hint
        assert took <= LIMIT
        assert with_token(token(harness, job.id)) == []
        after = harness.end(following.id, seconds=180)
        assert after.state is JobState.SUCCEEDED and after.result["memory"] > 0
        assert until_free(before) <= before + NEAR, "memory of a job that has ended is still in use"
        figures.add(breaks=1, false_causes=0)
        figures.most(reported_seconds=took)

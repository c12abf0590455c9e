"""F5: a worker that ignores SIGTERM, and processes that escaped from it, end after the grace period."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.attempt.process import Identity, with_token
from ilab_jupyter.jobs.state import JobState
from tests.faults.processes import token, written

GRACE = 0.7
LIMIT = 30.0


def test_worker_that_ignores_sigterm_is_killed_after_grace_period(
    harness: Any, running: Any, tmp_path: Path, count: Any, figures: Any
) -> None:
    harness.local.configure(grace_seconds=GRACE)
    times = []
    for number in range(count(3, 45)):
        child, daemon = tmp_path / f"child-{number}", tmp_path / f"daemon-{number}"
        job = running(["ignore_term"], ["child", str(child)], ["daemon", str(daemon)])
        ours = with_token(token(harness, job.id))
        pids = {*ours, written(child), written(daemon)}
        left = [Identity.of(pid) for pid in pids]
        assert len(left) == 3 and all(left)
        assert written(daemon) not in ours, "the daemon does not have our environment"
        cancelled_at = time.monotonic()
        assert harness.jobs.cancel(job.id).state is JobState.STOPPING
        assert harness.jobs.cancel(job.id).state is JobState.STOPPING, (
            "a second request does not shorten the grace period"
        )
        ended = harness.end(job.id)
        took = time.monotonic() - cancelled_at
        assert not any(one.alive for one in left if one is not None), "ended before all of it was gone"
        assert took >= GRACE
        assert (ended.state, ended.exit_code) == (JobState.CANCELLED, -9) and "killed" in ended.message
        times.append(took)
        figures.add(stops=1)
        figures.most(gone_after_grace_seconds=took - GRACE)
    assert max(times) <= GRACE + 10


def test_default_grace_period_ends_within_thirty_seconds(
    harness: Any, running: Any, tmp_path: Path, count: Any, figures: Any
) -> None:
    """The default grace period: the worker may use all of it, but no more."""
    n = count(1, 5)
    if n == 1:
        harness.local.configure(grace_seconds=3)
    grace = harness.local._store.grace_seconds()
    harness.local.configure(slots={"batch": n})
    jobs = {}
    for number in range(n):
        daemon = tmp_path / f"daemon-{number}"
        job = running(["ignore_term"], ["daemon", str(daemon)])
        jobs[job.id] = Identity.of(written(daemon))
    cancelled_at = time.monotonic()
    for id in jobs:
        harness.jobs.cancel(id)
    for id, daemon in jobs.items():
        assert harness.end(id, seconds=60).state is JobState.CANCELLED
        assert daemon is not None and not daemon.alive
    took = time.monotonic() - cancelled_at
    figures.add(stops=len(jobs))
    figures.most(usual_grace_seconds=grace, gone_seconds=took)
    assert grace <= took <= LIMIT

"""F4: the death of a worker is reported with its cause, and its log is complete."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.process import Identity, with_token
from ilab_jupyter.jobs.state import JobState
from tests.faults.processes import token, worker

LINES = [f"line {number}" for number in range(300)]

RANK = """
import os, sys, time, torch, torch.distributed as dist
dist.init_process_group("gloo")
rank, folder = dist.get_rank(), sys.argv[1]
for step in range(10**6):
    value = torch.ones(1)
    dist.all_reduce(value)
    if step == 2:
        if rank == 0:
            for number in range(300):
                print(f"line {number}", flush=True)
        dist.barrier()
        open(f"{folder}/rank-{rank}.tmp", "w").write(str(os.getpid()))
        os.rename(f"{folder}/rank-{rank}.tmp", f"{folder}/rank-{rank}")
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("how", "code", "end", "cause", "said", "remedy"),
    [
        (
            "kill -9",
            -signal.SIGKILL,
            JobState.FAILED,
            "killed",
            "memory ran out",
            "resume {}",
        ),
        ("SIGSEGV", -signal.SIGSEGV, JobState.FAILED, "crashed", "SIGSEGV", "logs {} --tail 100"),
        ("exit 1", 1, JobState.FAILED, "crashed", "exit code 1", "logs {} --tail 100"),
        ("exit 137", 137, JobState.FAILED, "killed", "possibly because memory", "resume {}"),
        ("SIGTERM", -signal.SIGTERM, JobState.INTERRUPTED, "terminated", "", "resume {}"),
    ],
)
def test_death_of_worker_has_the_right_cause(
    harness: Any,
    running: Callable[..., Any],
    count: Any,
    figures: Any,
    how: str,
    code: int,
    end: JobState,
    cause: str,
    said: str,
    remedy: str,
) -> None:
    harness.local.configure(slots={"batch": 2})
    for _ in range(count(2, 50)):
        before = time.monotonic()
        if code > 0:
            id = harness.submit(["lines", 300], ["exit", code]).id
        else:
            id = running(["lines", 300]).id
            before = time.monotonic()
            os.kill(worker(harness, id), -code)
        ended = harness.end(id)
        reported = time.monotonic() - before
        assert (ended.state, ended.cause, ended.exit_code) == (end, cause, code)
        assert ended.message and said in ended.message and ended.hint
        assert ended.remedy == remedy.format(id)
        lines = [line for line in harness.log(id).splitlines() if line != "ready"]
        assert lines[-100:] == LINES[-100:]
        figures.add(deaths=1, false_causes=0)
        figures.most(reported_seconds=reported)


def test_death_of_one_rank_fails_the_job(
    harness: Any, tmp_path: Path, wait: Callable[..., Any], count: Any, figures: Any
) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    for number in range(count(1, 50)):
        folder = tmp_path / f"ranks-{number}"
        folder.mkdir()
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        job = harness.submit(["run", sys.executable, *torchrun, str(script), str(folder)])
        wait(lambda folder=folder: len(list(folder.glob("rank-[01]"))) == 2, seconds=120)
        ranks = [Identity.of(int((folder / f"rank-{rank}").read_text())) for rank in (0, 1)]
        assert all(ranks)
        before = time.monotonic()
        os.kill(ranks[number % 2].pid, signal.SIGKILL)
        ended = harness.end(job.id, seconds=60)
        reported = time.monotonic() - before
        assert (ended.state, ended.exit_code) == (JobState.FAILED, 1)
        assert ended.cause in ("crashed", "killed") and ended.hint
        assert not any(rank.alive for rank in ranks) and with_token(token(harness, job.id)) == []
        log = harness.log(job.id)
        assert [line for line in log.splitlines() if line.startswith("line ")][-100:] == LINES[-100:]
        assert "SIGKILL" in log, "the launcher's own report is in the log"
        figures.add(rank_deaths=1)
        figures.most(rank_reported_seconds=reported)

"""F12: several servers and kernels on one state folder see the same jobs and start each once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

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


def test_a_second_service_in_a_process_takes_no_lock_from_the_first(bench: Any, state: Path) -> None:
    """Without its lock a database in use looks unused to others, who then remove its journal."""

    def locks() -> int:
        inode = (state / "jobs.db").stat().st_ino
        held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return sum(
            line[4] == str(os.getpid()) and line[5].endswith(f":{inode}") for line in held if "->" not in line
        )

    bench.submit(["print"])
    before = locks()
    assert before
    type(bench)(state).local.close()
    assert locks() == before

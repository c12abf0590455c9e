"""F19: a backup under load, restored elsewhere, has every job that was acknowledged before it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.postgres import ON_BOTH

# Submits continuously, and records when each was acknowledged.
CLIENT = """
number = 0
while True:
    job = jobs.submit(JobSpec(kind="train", arguments={"do": [["print", "hello"], ["sleep", 0.2]]}))
    print(job.id, time.time(), flush=True)
    number += 1
    time.sleep(0.02)
"""


@ON_BOTH
def test_restored_backup_has_every_acknowledged_job(
    harness: Any,
    servers: Any,
    count: Any,
    figures: Any,
    tmp_path: Path,
    database_url: str | None,
    monkeypatch: Any,
) -> None:
    if database_url is not None:
        monkeypatch.setenv("ILAB_JUPYTER_DATABASE_URL", database_url)
    harness.local.configure(slots={"batch": 2})
    done = harness.end(harness.submit(["print", "first"]).id)
    clients = [servers.start(CLIENT) for _ in range(2)]
    firsts = [client.stdout.readline() for client in clients]
    archives = []
    for number in range(count(ci=1, full=10)):
        time.sleep(1)
        archive = tmp_path / f"{number}.tar.gz"
        command = [sys.executable, "-m", "ilab_jupyter", "backup", str(archive)]
        taken = subprocess.run(
            [*command, "--state", str(harness.local.state.path)], capture_output=True, text=True, check=True
        )
        archives.append(archive)
        assert "jobs" in taken.stdout
    for client in clients:
        client.kill()
    lines = [line for client in clients for line in client.stdout.read().splitlines()] + firsts
    acknowledged = {id: float(when) for id, when in (line.split() for line in lines)}
    monkeypatch.delenv("ILAB_JUPYTER_DATABASE_URL", raising=False)

    for number, archive in enumerate(archives):
        elsewhere = tmp_path / f"elsewhere-{number}"
        began = time.monotonic()
        command = [sys.executable, "-m", "ilab_jupyter", "restore", str(archive), "--state", str(elsewhere)]
        subprocess.run(command, capture_output=True, check=True)
        local = LocalJobs(elsewhere, worker_module="scripted")
        local.configure(slots={"batch": 0})
        jobs = SyncJobs(local)
        found, cursor = {}, None
        while True:
            page = jobs.list(limit=500, cursor=cursor)
            found |= {job.id: job for job in page.jobs}
            if (cursor := page.cursor) is None:
                break
        took = time.monotonic() - began
        (restored,) = [row for row in local._store.audit_rows(0, 10**6) if row["action"] == "restore"]
        as_of = restored["detail"]["as_of"]
        missing = [when for id, when in acknowledged.items() if id not in found and when < as_of]
        figures.most(rpo_seconds=max([0.0, *(as_of - when for when in missing)]), rto_seconds=took)
        figures.add(restores=1, jobs=len(found), lost=len(missing))
        assert missing == [] and took <= 60
        assert found[done.id] == done and jobs.logs(done.id).text == "first\n"
        live = {job.state for job in found.values()} & {
            JobState.STARTING,
            JobState.RUNNING,
            JobState.STOPPING,
        }
        assert not live, "no job is mistaken for a running one"
        cut = [job for job in found.values() if job.state is JobState.INTERRUPTED]
        assert all(job.cause == "restored" for job in cut)
        for job in found.values():
            spec = (
                json.loads((elsewhere / f"jobs/{job.id}/spec.json").read_text()) if job.started_at else None
            )
            assert spec is None or spec["kind"] == "train"
        local.close()

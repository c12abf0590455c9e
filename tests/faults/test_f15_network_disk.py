"""F15: without file locks or shared memory, jobs work or the folder is refused with the reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import WORKER

HERE = Path(__file__).parent
# A separate process; the failing file system applies to it and to its supervisors.
PROGRAM = """
import json, sqlite3, sys, time
from pathlib import Path
from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.sync import SyncJobs
state = Path(sys.argv[1])
try:
    local = LocalJobs(state, worker_module="scripted")
    jobs = SyncJobs(local)
    id = jobs.submit(JobSpec(kind="train", arguments={"do": [["print", "hello"]]})).id
    deadline = time.monotonic() + 60
    while not jobs.get(id).state.ended and time.monotonic() < deadline:
        time.sleep(0.05)
    mode = sqlite3.connect(state / "jobs.db").execute("PRAGMA journal_mode").fetchone()[0]
    said = {"state": jobs.get(id).state, "log": jobs.logs(id).text, "mode": mode}
    said |= {"advice": local._store.advice, "jobs": len(jobs.list().jobs)}
except PublicError as error:
    said = error.to_dict()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "refusing.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "refusing.c", "-ldl"], check=True)
    return library


def on(shim: Path, state: Path, **refusal: str) -> Any:
    environment = {**os.environ, "LD_PRELOAD": str(shim), **refusal}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent.parent), str(WORKER)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(state)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("refusal", ["flock-ENOLCK", "flock-ENOTSUP", "fcntl-ENOLCK"])
def test_file_system_without_locks_is_refused(
    refusal: str, shim: Path, state: Path, count: Any, figures: Any
) -> None:
    count(1, 1)
    said = on(shim, state, REFUSE=refusal)
    assert said["cause"] == "state_folder" and str(state) in said["message"] and "locks" in said["message"]
    assert "ILAB_JUPYTER_STATE" in said["hint"]
    figures.add(refused=1)


@pytest.mark.parametrize("refusal", ["shm-mmap", "shm-open"])
def test_jobs_run_with_rollback_journal_without_shared_memory(
    refusal: str, shim: Path, state: Path, count: Any, figures: Any
) -> None:
    count(1, 1)
    first = on(shim, state, REFUSE=refusal)
    assert first["state"] == "SUCCEEDED" and first["log"] == "hello\n" and first["mode"] == "delete"
    assert len(first["advice"]) == 1 and "write-ahead log" in first["advice"][0]
    assert "PostgreSQL" in first["advice"][0] and str(state) in first["advice"][0]
    assert not list(state.glob(".wal*")), "the probe leaves no file behind"
    # A database created on a local disk and moved there, and back again.
    local = on(shim, state)
    assert local["mode"] == "wal" and local["advice"] == [] and local["jobs"] == 2
    again = on(shim, state, REFUSE=refusal)
    assert again["state"] == "SUCCEEDED" and again["mode"] == "delete" and again["jobs"] == 3
    figures.add(rollback_journal=1)


def test_network_file_system_is_detected_before_writing(
    shim: Path, state: Path, tmp_path: Path, count: Any, figures: Any
) -> None:
    count(1, 1)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw,vers=4.2 0 0\n")
    said = on(shim, state, MOUNTS=str(mounts))
    assert said["state"] == "SUCCEEDED" and said["mode"] == "delete"
    assert "nfs4" in said["advice"][0] and "PostgreSQL" in said["advice"][0]
    figures.add(rollback_journal=1)

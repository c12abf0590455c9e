"""Jobs that fail for real: the real worker, a tiny model, a teacher on a socket, a disk that is small."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job, JobSpec, Resources
from ilab_jupyter.jobs.state import LIVE
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.tasks.catalog import job_spec
from tests.support.training import pairs, tiny
from tests.support.waiting import until

__all__ = ["pairs", "tiny"]

# The real worker, with one more kind of job whose work is the code in its arguments.
WORKER = """
import sys
from typing import Any
from ilab_jupyter.tasks import catalog, worker
from ilab_jupyter.tasks.context import Context, TaskSpec

class Code(TaskSpec):
    code: str

def run(spec: Code, context: Context) -> dict[str, Any]:
    names: dict[str, Any] = {"context": context, "reporter": context.reporter}
    exec(spec.code, names)
    return {}

catalog.KINDS["code"] = catalog.Kind("code", Code, run, "batch")
sys.exit(worker.main(sys.argv[1:]))
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not Path("/dev/nvidiactl").exists():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="this machine has no NVIDIA GPU"))


class Works:
    """A service whose jobs are the real ones, and what its tests say about it."""

    def __init__(self, folder: Path) -> None:
        self.local = LocalJobs(folder, worker_module="code_worker")
        self.jobs = SyncJobs(self.local)

    def submit(self, kind: str, **arguments: Any) -> Job:
        return self.jobs.submit(job_spec(kind, arguments))

    def code(self, code: str, **resources: Any) -> Job:
        spec = JobSpec(kind="code", arguments={"code": code}, resources=Resources(**resources))
        return self.jobs.submit(spec)

    def end(self, job: Job, seconds: float = 240) -> Job:
        until(lambda: self.jobs.get(job.id).state.ended, seconds)
        return self.jobs.get(job.id)

    def ended(self, kind: str, **arguments: Any) -> Job:
        return self.end(self.submit(kind, **arguments))

    def log(self, job: Job) -> str:
        return str(self.jobs.logs(job.id, limit=1_000_000).text)

    def clean(self) -> None:
        self.local.configure(grace_seconds=0)
        for job in self.jobs.list(limit=500).jobs:
            if not job.state.ended:
                self.jobs.cancel(job.id)
        until(lambda: self.local.turn() or not self.local._store.count(LIVE))


@pytest.fixture
def works(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    (tmp_path / "code_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    works = Works(state)
    yield works
    works.clean()


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], Path]]:
    """`small_disk(folder, "4m")`: a file system of so much in that folder, until the test ends."""
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        options = f"size={size},uid={os.getuid()},mode=700"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "small", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"mounting a file system needs a right that this user does not have: {done.stderr}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, *, leave: int) -> Path:
    """A file that takes all of the folder's disk but so many bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize) > leave:
            file.write(bytes(min(free - leave, 1_000_000)))
    return ballast

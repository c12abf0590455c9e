"""Backup of running jobs, and restore: all or nothing, verified, and no job mistaken for a running one."""

from __future__ import annotations

import gzip
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.__main__ import main
from ilab_jupyter.errors import Conflict, NotFound, PublicError, Unavailable, Unprocessable
from ilab_jupyter.jobs.backup.create import create_backup
from ilab_jupyter.jobs.backup.restore import restore_backup
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.jobs import WORKER
from tests.support.postgres import ON_BOTH

pytestmark = pytest.mark.slow

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StateFolder, Path]]:
    """A state folder with one job that has ended, and a backup of it."""
    folder = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(WORKER))
        local = LocalJobs(folder / "state", worker_module="scripted")
        jobs = SyncJobs(local)
        Finish(jobs, jobs.submit(JobSpec(kind="train", arguments={"do": [["print", "hello"]]})).id)()
        yield local.state, create_backup(local.state, folder / "jobs.tar.gz").path
        local.close()


@pytest.fixture
def archive(sample: tuple[StateFolder, Path]) -> Path:
    return sample[1]


@ON_BOTH
def test_backup_of_running_jobs_is_restored(
    harness: Any, tmp_path: Path, database_url: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    done = harness.end(harness.submit(["print", "hello"], key="once", name="Grüße").id)
    failed = harness.end(harness.submit(["nonsense"]).id)
    harness.end(harness.jobs.resume(failed.id).id)
    live = harness.submit(["print", "working"], ["sleep", 60], secrets={"MY_KEY": "open sesame 123"})
    harness.reach(live.id, JobState.RUNNING)
    waiting = harness.submit(["print", "later"], priority=3, key="later")
    artifacts = harness.local.folder(done.id) / "artifacts"
    (artifacts / "run.sh").write_text("echo hello")
    (artifacts / "run.sh").chmod(0o700)
    (artifacts / "link").symlink_to("/etc/passwd")
    (artifacts / "deep").mkdir()
    (artifacts / "deep/weights.bin").write_bytes(bytes(range(256)) * 5000)

    taken = create_backup(harness.local.state, tmp_path / "jobs.tar.gz", url=database_url)
    assert (taken.jobs, taken.live, taken.queued) == (4, 1, 1)
    assert taken.left_out == (f"jobs/{done.id}/artifacts/link",)
    assert b"sesame" not in gzip.decompress(taken.path.read_bytes())

    # Backups of both kinds of database are restored into SQLite.
    other = tmp_path / "other"
    assert main(["restore", str(taken.path), "--state", str(other)]) == 0
    said = capsys.readouterr().out
    assert "4 jobs" in said and "1 were running then and are INTERRUPTED" in said
    local = LocalJobs(other, worker_module="scripted")
    local.configure(slots={"batch": 0})
    jobs = SyncJobs(local)
    before = {job.id: job for job in harness.jobs.list().jobs}
    after = {job.id: job for job in jobs.list().jobs}
    assert list(after) == list(before), "also in the same order"
    for id in (done.id, failed.id):
        assert after[id] == before[id] and jobs.attempts(id) == harness.jobs.attempts(id)
        assert jobs.logs(id).text == harness.log(id) and jobs.events(id) == harness.jobs.events(id)
    copied = local.folder(done.id) / "artifacts"
    assert (copied / "deep/weights.bin").read_bytes() == (artifacts / "deep/weights.bin").read_bytes()
    assert (copied / "run.sh").stat().st_mode & 0o777 == 0o700 and not (copied / "link").exists()
    assert after[live.id].state is JobState.INTERRUPTED and after[live.id].cause == "restored"
    assert after[live.id].remedy == f"resume {live.id}"
    assert after[waiting.id].state is JobState.QUEUED
    same = JobSpec(kind="train", arguments={"do": [["print", "later"]]}, priority=3)
    assert jobs.submit(same, key="later").id == waiting.id
    assert "restore" in [entry.action for entry in jobs.audit(limit=1000)]
    assert jobs.resume(live.id).attempt == 2, "a live job can be resumed, and the original is unchanged"
    assert harness.jobs.get(live.id).state is JobState.RUNNING
    assert jobs.cancel(live.id).state is JobState.CANCELLED
    local.configure(slots={"batch": 1})
    local.turn()
    Finish(jobs, waiting.id)()
    assert jobs.logs(waiting.id).text == "later\n"
    local.close()


class Finish:
    """Waits for the end of a job."""

    def __init__(self, jobs: SyncJobs, id: str) -> None:
        self.jobs, self.id = jobs, id

    def __call__(self) -> None:
        deadline = time.monotonic() + 20
        while self.jobs.get(self.id).state is not JobState.SUCCEEDED:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_backup_of_sqlite_is_restored_into_postgresql(
    archive: Path, tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(WORKER))
    restore_backup(StateFolder(tmp_path / "other"), archive, url=postgres_database, actor="ada")
    local = LocalJobs(tmp_path / "other", worker_module="scripted", database_url=postgres_database)
    jobs = SyncJobs(local)
    (job,) = jobs.list().jobs
    assert job.state is JobState.SUCCEEDED and jobs.logs(job.id).text == "hello\n"
    new = jobs.submit(JobSpec(kind="train", arguments={"do": [["print", "new"]]}))
    Finish(jobs, new.id)()
    assert [one.id for one in jobs.list().jobs] == [new.id, job.id]
    local.close()


def test_backup_without_artifacts(harness: Any, tmp_path: Path) -> None:
    job = harness.end(harness.submit(["print"]).id)
    (harness.local.folder(job.id) / "artifacts/large.bin").write_bytes(b"x" * 1000)
    path = tmp_path / "small.tar.gz"
    assert main(["backup", str(path), "--state", str(harness.local.state.path), "--without-artifacts"]) == 0
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert not any("artifacts" in name for name in names)
    assert not any(name.endswith((".lock", "supervisor.json")) for name in names)
    assert path.stat().st_mode & 0o077 == 0


def test_backup_neither_overwrites_a_file_nor_creates_a_store(harness: Any, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    with pytest.raises(Conflict):
        create_backup(harness.local.state, tmp_path / "there")
    with pytest.raises(NotFound):
        create_backup(StateFolder(tmp_path / "typo"), tmp_path / "new.tar.gz")
    assert not (tmp_path / "typo").exists()


def test_restore_refuses_folder_with_jobs_and_missing_file(
    sample: tuple[StateFolder, Path], tmp_path: Path
) -> None:
    state, archive = sample
    with pytest.raises(Conflict, match="has jobs"):
        restore_backup(state, archive, actor="ada")
    with pytest.raises(NotFound):
        restore_backup(StateFolder(tmp_path / "other"), tmp_path / "nonesuch", actor="ada")
    assert len(list(state.jobs.iterdir())) == 1 and not state.restoring.exists()


def members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def pack(path: Path, content: Members) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in content:
            if info.isreg():
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def inserted(name: Callable[[str], str], **fields: Any) -> Callable[[Members], None]:
    """A change that inserts a member before the manifest, named after the prefix of the job."""

    def change(content: Members) -> None:
        job = next(one.name for one, _ in content if one.name.startswith("jobs/")).split("/")[1]
        info = tarfile.TarInfo(name(f"jobs/{job}"))
        for field, value in fields.items():
            setattr(info, field, value)
        content.insert(-1, (info, b"evil"))

    return change


def altered(name: str, old: bytes, new: bytes) -> Callable[[Members], None]:
    def change(content: Members) -> None:
        at, info, data = next(
            (n, one, data) for n, (one, data) in enumerate(content) if one.name.endswith(name)
        )
        assert old in data
        content[at] = (info, data.replace(old, new))

    return change


def twice(content: Members) -> None:
    content.insert(-1, content[-2])


def without_list(content: Members) -> None:
    content.pop()


def bomb(content: Members) -> None:
    info = tarfile.TarInfo(content[-2][0].name + "x")
    content.insert(-1, (info, b"\0" * 200_000_000))


@pytest.mark.parametrize(
    "change",
    [
        inserted(lambda job: f"{job}/../../../evil"),
        inserted(lambda job: f"{job}/artifacts/../../evil"),
        inserted(lambda job: "/tmp/evil"),
        inserted(lambda job: "evil"),
        inserted(lambda job: "jobs/train-zzzzzzzz/spec.json"),
        inserted(lambda job: f"{job}//evil"),
        inserted(lambda job: f"{job}/attempts/1/supervisor.json"),
        inserted(lambda job: f"{job}/artifacts/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        inserted(lambda job: f"{job}/artifacts/link", type=tarfile.LNKTYPE, linkname=f"{'jobs'}/x"),
        inserted(lambda job: f"{job}/artifacts/device", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        inserted(lambda job: f"{job}/artifacts/pipe", type=tarfile.FIFOTYPE),
        inserted(lambda job: f"{job}/artifacts/more"),
        inserted(lambda job: f"{job}/artifacts/" + "/".join("d" * 100) + "/evil"),
        altered("log.txt", b"hello", b"hallo"),
        altered("rows.jsonl", b'"SUCCEEDED"', b'"FAILED"'),
        altered("rows.jsonl", b'"kind"', b'"kino"'),
        altered("rows.jsonl", b'{"table": "job"', b'{"table": "jab"'),
        altered("backup.json", b'"format": 1', b'"format": 2'),
        altered("backup.json", b"{", b"[" * 50_000),
        twice,
        without_list,
        bomb,
    ],
)
def test_invalid_archive_leaves_nothing(
    archive: Path, tmp_path: Path, change: Callable[[Members], None]
) -> None:
    content = members(archive)
    change(content)
    other = StateFolder(tmp_path / "other")
    with pytest.raises(Unprocessable) as refused:
        restore_backup(other, pack(tmp_path / "evil.tar.gz", content), actor="ada")
    assert "Nothing was restored" in refused.value.hint
    assert not list(other.jobs.iterdir()) and not other.restoring.exists()
    assert not [path for path in tmp_path.rglob("evil") if path.name == "evil"]
    jobs = LocalJobs(other.path)
    assert jobs.active() == 0
    jobs.close()
    assert restore_backup(other, archive, actor="ada").jobs == 1, "the folder can still be used"


def changed(intact: bytes, position: int) -> bytes:
    """Flip a bit at the offset, or next to it if the gzip would still decode equally."""
    while True:
        data = bytearray(intact)
        data[position] ^= 4
        try:
            if gzip.decompress(data) != gzip.decompress(intact):
                return bytes(data)
        except (OSError, EOFError, zlib.error):
            return bytes(data)
        position += 1


def test_truncated_or_changed_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    intact = archive.read_bytes()
    broken = tmp_path / "broken.tar.gz"
    for part in range(1, 8):
        broken.write_bytes(intact[: len(intact) * part // 8])
        with pytest.raises(Unprocessable):
            restore_backup(StateFolder(tmp_path / "other"), broken, actor="ada")
    for part in range(1, 8):
        broken.write_bytes(changed(intact, len(intact) * part // 8))
        with pytest.raises(Unprocessable):
            restore_backup(StateFolder(tmp_path / "other"), broken, actor="ada")
    assert not list((tmp_path / "other/jobs").iterdir())


def test_backup_that_does_not_fit_is_refused_before_unpacking(archive: Path, tmp_path: Path) -> None:
    content = members(archive)
    head = json.loads(content[0][1])
    content[0] = (content[0][0], json.dumps({**head, "bytes": 10**16}).encode())
    with pytest.raises(Unavailable) as refused:
        restore_backup(StateFolder(tmp_path / "other"), pack(tmp_path / "large.tar.gz", content), actor="ada")
    assert refused.value.cause == "disk_full"


def test_killed_restore_leaves_nothing_and_can_be_repeated(harness: Any, tmp_path: Path) -> None:
    job = harness.end(harness.submit(["print"]).id)
    for n in range(300):
        (harness.local.folder(job.id) / f"artifacts/{n}").write_bytes(b"x" * 20_000)
    archive = create_backup(harness.local.state, tmp_path / "jobs.tar.gz").path
    other = tmp_path / "other"
    command = [sys.executable, "-m", "ilab_jupyter", "restore", str(archive), "--state", str(other)]
    outcomes = set()
    for step in range(7):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not (other / "restoring.json").exists() and process.poll() is None:
            assert time.monotonic() < until
        time.sleep(0.03 * step)
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            jobs = LocalJobs(other)
            outcomes.add(len(SyncJobs(jobs).list().jobs))
            jobs.close()
            break
        except PublicError as error:
            assert error.cause == "store_restoring" and "again" in error.hint
            outcomes.add(-1)
    assert -1 in outcomes and outcomes <= {-1, 1}
    if (other / "restoring.json").exists():
        assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    jobs = LocalJobs(other)
    assert SyncJobs(jobs).get(job.id) == job
    assert len(list((other / f"jobs/{job.id}/artifacts").iterdir())) == 300
    jobs.close()

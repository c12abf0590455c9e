"""F14: a truncated, changed or older database, or one without its journal, is read correctly or refused."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.jobs import WORKER

PAGE = 4096
OLDER = sorted((Path(__file__).parent.parent / "jobs/data").glob("schema_*.sql"))
Truth = list[dict[str, Any]]


def read_jobs(state: Path, owner: str | None = None) -> Truth | PublicError:
    """Return what a service on this folder answers, or its error."""
    try:
        local = LocalJobs(state, owner=owner)
    except PublicError as error:
        return error
    try:
        jobs, found, cursor = SyncJobs(local), [], None
        while True:
            page = jobs.list(limit=5, cursor=cursor)
            found += [jobs.get(job.id) for job in page.jobs]
            if (cursor := page.cursor) is None:
                return [job.model_dump(mode="json", exclude={"version", "ended_at"}) for job in found]
    except PublicError as error:
        return error
    finally:
        local.close()


@dataclass
class Original:
    """A state folder with jobs in every final state, as it is while a service has it open, and closed."""

    open: Path
    closed: Path
    truth: Truth


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(WORKER))
        local = LocalJobs(folder / "state", worker_module="scripted")
        jobs = SyncJobs(local)
        local.configure(slots={"batch": 4})
        for number in range(6):
            spec = JobSpec(kind="train", name=f"job {number}", arguments={"do": [["print", "x" * 300]]})
            jobs.submit(spec, key=f"key-{number}")
        failed = jobs.submit(JobSpec(kind="train", arguments={"do": [["nonsense"]]})).id
        _wait(jobs)
        jobs.resume(failed)
        _wait(jobs)
        local.configure(slots={"batch": 0})
        jobs.cancel(jobs.submit(JobSpec(kind="train")).id)
    shutil.copytree(folder / "state", folder / "open")
    local.close()
    whole(folder / "state")
    found = read_jobs(folder / "state")
    assert isinstance(found, list) and len(found) == 8
    return Original(folder / "open", folder / "state", found)


def _wait(jobs: SyncJobs) -> None:
    deadline = time.monotonic() + 60
    while not all(job.state.ended for job in jobs.list().jobs):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def judge(tmp_path: Path, original: Original, figures: Any) -> Callable[[str, Path, Any], None]:
    """Damage a copy of a state folder; it must be refused or read correctly."""
    truth = original.truth

    def look(what: str, state: Path, damage: Callable[[Path], None]) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(state, copy)
        damage(copy)
        before = sorted(path.name for path in (copy / "jobs").iterdir())
        found = read_jobs(copy)
        if isinstance(found, PublicError):
            assert found.hint and found.cause.startswith(("store_", "state_")), (what, found)
            assert sorted(path.name for path in (copy / "jobs").iterdir()) == before
            figures.add(refused=1, false=0)
        else:
            figures.add(read_correctly=found == truth, false=found != truth)
            assert found == truth, what
        shutil.rmtree(copy)

    return look


def whole(state: Path) -> Path:
    """Checkpoint the database into its main file."""
    with closing(sqlite3.connect(state / "jobs.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return state / "jobs.db"


def test_truncated_database_file_is_refused(judge: Any, count: Any, original: Original) -> None:
    """Truncate at every page, then at random offsets."""
    whole_size = original.closed.joinpath("jobs.db").stat().st_size
    dice, pages = random.Random(), list(range(PAGE, whole_size, PAGE))
    dice.shuffle(pages)
    number = count(ci=5, full=40)
    sizes = [*pages, *(dice.randrange(1, whole_size) for _ in range(number))][:number]
    for size in sizes:

        def cut(copy: Path, size: int = size) -> None:
            database = whole(copy)
            with database.open("r+b") as file:
                file.truncate(size)

        judge(f"cut at {size}", original.closed, cut)


def test_flipped_bits_are_detected_or_harmless(judge: Any, count: Any, original: Original) -> None:
    dice = random.Random()
    for _ in range(count(ci=12, full=120)):
        seed = dice.getrandbits(32)

        def flip(copy: Path, seed: int = seed) -> None:
            database, dice = whole(copy), random.Random(seed)
            data = bytearray(database.read_bytes())
            for _ in range(dice.choice([1, 1, 1, 8])):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            database.write_bytes(data)

        judge(f"flipped with seed {seed}", original.closed, flip)


@pytest.mark.parametrize("how", ["deleted", "cut", "flipped", "deleted with its index"])
def test_lost_journal_loses_no_job(how: str, judge: Any, count: Any, original: Original) -> None:
    """While a service has the database open, recent writes are only in the journal."""
    journal = original.open / "jobs.db-wal"
    assert journal.stat().st_size > 10 * PAGE
    dice = random.Random()
    for _ in range(count(ci=1, full=9)):
        seed = dice.getrandbits(32)

        def damage(copy: Path, seed: int = seed) -> None:
            wal, dice = copy / journal.name, random.Random(seed)
            data = bytearray(wal.read_bytes())
            if how == "cut":
                wal.write_bytes(data[: dice.randrange(len(data))])
            elif how == "flipped":
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
                wal.write_bytes(data)
            else:
                wal.unlink()
            if how != "deleted":
                (copy / "jobs.db-shm").unlink()

        judge(f"journal {how} with seed {seed}", original.open, damage)


@pytest.mark.parametrize("move", ["cancel", "resume"])
def test_truncated_journal_does_not_revert_acknowledged_changes(
    move: str, figures: Any, tmp_path: Path
) -> None:
    """Only the last transaction is lost, which SQLite does not detect."""
    state = tmp_path / "state"
    local = LocalJobs(state)
    jobs = SyncJobs(local)
    local.configure(slots={"batch": 0})
    id = jobs.submit(JobSpec(kind="train")).id
    if move == "resume":
        jobs.cancel(id)
    journal = state / "jobs.db-wal"
    size = journal.stat().st_size
    getattr(jobs, move)(id)
    assert journal.stat().st_size > size
    shutil.copytree(state, tmp_path / "copy")
    local.close()
    (tmp_path / "copy/jobs.db-shm").unlink()
    with (tmp_path / "copy/jobs.db-wal").open("r+b") as file:
        file.truncate(size)
    found = read_jobs(tmp_path / "copy")
    assert isinstance(found, PublicError) and found.cause == "store_damaged" and id in found.message, found
    figures.add(refused=1)


def test_database_of_older_version_keeps_its_jobs(count: Any, figures: Any, tmp_path: Path) -> None:
    for number in range(count(ci=2, full=4)):
        state = tmp_path / f"old-{number}"
        (state / "jobs").mkdir(parents=True)
        with closing(sqlite3.connect(state / "jobs.db")) as connection:
            connection.executescript(OLDER[number % len(OLDER)].read_text(encoding="utf-8"))
            connection.execute("UPDATE setting SET value = '{\"batch\": 0}' WHERE name = 'slots'")
            connection.commit()
            ids = [id for (id,) in connection.execute("SELECT id FROM job ORDER BY seq DESC")]
        found = read_jobs(state, "ada")
        assert isinstance(found, list) and [job["id"] for job in found] == ids
        figures.add(read_correctly=1)

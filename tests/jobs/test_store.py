"""The store: compare-and-swap, and a damaged or lost database that is never replaced by an empty one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import ENDS, MOVES, JobState
from ilab_jupyter.jobs.store.rows import Store, filesystem


@pytest.fixture
def queued(harness: Any) -> tuple[Store, str]:
    harness.local.configure(slots={"batch": 0})
    return harness.local._store, harness.submit(["print"]).id


def test_final_state_is_never_overwritten(queued: tuple[Store, str]) -> None:
    store, id = queued
    row = store.get(id)
    assert row is not None
    ended = store.move(row, JobState.CANCELLED, cause="cancelled")
    assert ended is not None
    assert store.move(row, JobState.STARTING) is None, "a stale row cannot be moved"
    for state in JobState:
        with pytest.raises(ValueError, match="is not an allowed transition"):
            store.move(ended, state)
    assert store.get(id) == ended


def test_every_state_leads_to_a_final_state() -> None:
    assert all(MOVES[end] == frozenset() for end in ENDS)
    for state in JobState:
        reached = {state}
        while more := {to for one in reached for to in MOVES[one]} - reached:
            reached |= more
        assert state in ENDS or reached & ENDS


def test_stale_row_cannot_be_resumed(queued: tuple[Store, str]) -> None:
    store, id = queued
    row = store.get(id)
    assert row is not None
    ended = store.move(row, JobState.CANCELLED)
    assert ended is not None
    again = store.requeue(ended, ended.launch)
    assert again is not None and again.attempt == 2 and store.get(id) == again
    assert store.requeue(ended, ended.launch) is None


def shut(harness: Any) -> Path:
    """Close the service, so that no scheduler runs, and checkpoint the journal into the main file."""
    harness.local.close()
    connection = sqlite3.connect(harness.local.state.database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return harness.local.state.database


def refuse(state: Path) -> Unavailable:
    with pytest.raises(Unavailable) as refused:
        LocalJobs(state)
    assert str(state) in str(refused.value) and refused.value.hint
    return refused.value


@pytest.mark.parametrize("junk", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\0" * 5000])
def test_corrupt_database_is_refused_unchanged(harness: Any, state: Path, junk: bytes) -> None:
    harness.end(harness.submit(["print"]).id)
    database = shut(harness)
    for extra in ("-wal", "-shm"):
        Path(f"{database}{extra}").unlink(missing_ok=True)
    intact = database.read_bytes()
    database.write_bytes(junk)
    assert refuse(state).cause == "store_damaged"
    assert database.read_bytes() == junk
    database.write_bytes(intact)


def test_truncated_database_is_refused(harness: Any, state: Path) -> None:
    for number in range(20):
        harness.local.configure(slots={f"q{number}": 1, "batch": 0})
        harness.submit(["print", "x" * 500])
    database = shut(harness)
    intact = database.read_bytes()
    for size in range(4096, len(intact), 4096):
        database.write_bytes(intact[:size])
        for extra in ("-wal", "-shm"):
            Path(f"{database}{extra}").unlink(missing_ok=True)
        refuse(state)
    database.write_bytes(intact)


@pytest.mark.parametrize("empty", [True, False])
def test_missing_database_with_jobs_is_not_recreated(
    harness: Any, state: Path, tmp_path: Path, empty: bool
) -> None:
    harness.end(harness.submit(["print"]).id)
    database = shut(harness)
    kept = database.rename(tmp_path / "kept.db")
    if empty:
        database.touch()
    assert refuse(state).cause == "store_damaged"
    kept.replace(database)


def test_removal_of_database_in_use_is_detected(harness: Any, tmp_path: Path) -> None:
    harness.end(harness.submit(["print"]).id)
    database = harness.local.state.database
    kept = database.rename(tmp_path / "kept.db")
    with pytest.raises(Unavailable, match="removed or replaced"):
        harness.submit(["print"])
    with pytest.raises(Unavailable):
        harness.jobs.list()
    kept.rename(database)
    assert len(harness.jobs.list().jobs) == 1


def test_incomplete_new_database_is_recreated(state: Path) -> None:
    state.mkdir()
    connection = sqlite3.connect(state / "jobs.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert (state / "jobs.db").stat().st_size > 0
    jobs = LocalJobs(state)
    assert jobs.active() == 0
    jobs.close()


def test_a_database_of_another_version_is_refused(harness: Any, state: Path) -> None:
    harness.local._store.put_setting("schema", "99")
    assert refuse(state).cause == "store_version"
    harness.local._store.put_setting("schema", "1")


def test_foreign_database_is_refused(state: Path) -> None:
    state.mkdir()
    connection = sqlite3.connect(state / "jobs.db")
    connection.execute("CREATE TABLE other (x)")
    connection.commit()
    connection.close()
    assert refuse(state).cause == "store_damaged"


def test_folder_without_permission_is_refused_with_hint(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    # Root may write everywhere except where the kernel allows no folders.
    where = Path("/sys/kernel") if os.geteuid() == 0 else closed
    assert "ILAB_JUPYTER_STATE" in refuse(where / "ilab-state").hint


def test_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert "ILAB_JUPYTER_STATE" in refuse(tmp_path / "state").hint


def test_several_processes_open_a_new_folder_at_once(state: Path) -> None:
    code = "import sys, pathlib, ilab_jupyter.jobs.local as jobs; jobs.LocalJobs(pathlib.Path(sys.argv[1]))"
    opened = [subprocess.Popen([sys.executable, "-c", code, str(state)]) for _ in range(4)]
    assert [process.wait() for process in opened] == [0] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are read where Linux has them")
def test_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    assert filesystem(Path("/proc/self")) == "proc" and filesystem(Path("/sys")) == "sysfs"
    (tmp_path / "link").symlink_to("/proc")
    assert filesystem(tmp_path / "link") == "proc"


@pytest.mark.parametrize("seal", ["seal", "NULL"])
def test_row_with_unknown_state_is_refused(harness: Any, seal: str) -> None:
    job = harness.submit(["print"])
    harness.end(job.id)
    intact = harness.local._store.get(job.id)
    with sqlite3.connect(harness.local.state.database) as connection:
        kept = connection.execute("SELECT seal FROM job").fetchone()[0]
        connection.execute(f"UPDATE job SET state = 'ODD', seal = {seal}")
    with pytest.raises(Unavailable, match=job.id if seal == "seal" else "ODD"):
        harness.jobs.get(job.id)
    with sqlite3.connect(harness.local.state.database) as connection:
        connection.execute("UPDATE job SET state = 'SUCCEEDED', seal = ?", (kept,))
    assert harness.local._store.get(job.id) == intact


def test_row_changed_on_disk_is_detected(harness: Any) -> None:
    job = harness.submit(["print"])
    harness.end(job.id)
    with sqlite3.connect(harness.local.state.database) as connection:
        connection.execute("UPDATE job SET launch = replace(launch, 'scripted', 'scriptex')")
    with pytest.raises(Unavailable) as refused:
        harness.jobs.list()
    assert refused.value.cause == "store_damaged" and job.id in refused.value.message
    with sqlite3.connect(harness.local.state.database) as connection:
        connection.execute("UPDATE job SET launch = replace(launch, 'scriptex', 'scripted')")

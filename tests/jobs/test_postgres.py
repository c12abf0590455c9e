"""Rows in PostgreSQL: the same guarantees as on SQLite; errors never contain a password."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ilab_jupyter.errors import Conflict, InvalidInput, PublicError, Unavailable
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.postgres import ON_BOTH, Server

ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
SECRET = re.compile(r"s3cret|p@ss|p%40ss")


@ON_BOTH
def test_job_runs_and_resumes(harness: Any) -> None:
    note = ["event", "note", {"text": "\0"}]
    job = harness.submit(["print", "hello"], note, key="once", name="Grüße an \u4e16\u754c")
    ended = harness.end(job.id)
    assert ended.state is JobState.SUCCEEDED and harness.log(job.id) == "hello\n"
    failed = harness.end(harness.submit(["nonsense"]).id)
    assert failed.state is JobState.FAILED
    assert harness.end(harness.jobs.resume(failed.id).id).attempt == 2
    assert [job.id for job in harness.jobs.list().jobs] == [failed.id, job.id]
    assert [(one.n, one.why) for one in harness.jobs.attempts(failed.id)] == [
        (1, "submitted"),
        (2, "resumed"),
    ]
    said = [(entry.action, entry.target) for entry in harness.jobs.audit() if entry.target != "queue"]
    assert said == [("submit", job.id), ("submit", failed.id), ("resume", failed.id)]


@ON_BOTH
def test_many_submissions_with_one_key_create_one_job(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    spec = JobSpec(kind="train", arguments={"do": []})
    with ThreadPoolExecutor(25) as pool:
        got = list(pool.map(lambda _: harness.jobs.submit(spec, key="same").id, range(100)))
    assert len(set(got)) == 1 and len(harness.jobs.list().jobs) == 1
    assert len(list(harness.local.state.jobs.iterdir())) == 1
    with pytest.raises(Conflict, match="was used for another job"):
        harness.jobs.submit(JobSpec(kind="train"), key="same")


@ON_BOTH
def test_concurrent_moves_of_a_row_succeed_once(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    store, id = harness.local._store, harness.submit(["print"]).id
    row = store.get(id)
    with ThreadPoolExecutor(16) as pool:
        moved = list(pool.map(lambda n: store.move(row, JobState.CANCELLED, message=str(n)), range(16)))
    winners = [new for new in moved if new is not None]
    assert len(winners) == 1 and store.get(id) == winners[0]


@ON_BOTH
def test_list_continues_after_its_last_page(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    ids = [harness.submit(["print"], name=f"Job {n} of 100%").id for n in range(7)]
    first = harness.jobs.list(limit=4)
    second = harness.jobs.list(limit=4, cursor=first.cursor)
    assert [job.id for job in first.jobs + second.jobs] == ids[::-1] and second.cursor is None


@ON_POSTGRES
def test_database_address_reaches_supervisors_only(
    harness: Any, state: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    job = harness.submit(["show_env", "ILAB_JUPYTER_DATABASE_URL"], ["sleep", 0.5])
    assert harness.end(job.id).state is JobState.SUCCEEDED
    assert harness.log(job.id) == '{"ILAB_JUPYTER_DATABASE_URL": null}\n'
    assert not (state / "jobs.db").exists()
    for path in state.rglob("*"):
        assert not path.is_file() or not SECRET.search(path.read_text(errors="replace")), path
    assert not SECRET.search(caplog.text)


def test_invalid_database_address_is_refused_and_not_repeated(state: Path) -> None:
    for address in (
        "mysql://u:s3cret@h/d",
        "postgresql://u:s3cret@h:port/d",
        "s3cret",
        "sqlite:///s3cret.db",
    ):
        with pytest.raises(InvalidInput) as refused:
            LocalJobs(state, database_url=address)
        assert "s3cret" not in str(refused.value) and "postgresql://" in refused.value.hint


def refused(state: Path, url: str) -> PublicError:
    with pytest.raises(PublicError) as caught:
        LocalJobs(state, database_url=url)
    assert caught.value.hint and not SECRET.search(str(caught.value))
    return caught.value


def test_unreachable_database_server_is_reported_with_hint(state: Path, postgres_server: Server) -> None:
    gone = "postgresql://tester:s3cret@/jobs?host=/nonexistent"
    assert refused(state, gone).cause == "store_unreachable"
    assert refused(state, "postgresql://tester:s3cret@127.0.0.1:9/jobs").cause == "store_unreachable"
    assert refused(state, postgres_server.url("nonesuch")).cause == "store_refused"
    assert refused(state, postgres_server.url("postgres", password="s3cret wrong")).cause == "store_refused"


@ON_POSTGRES
def test_restart_of_database_server_loses_no_job(harness: Any, postgres_server: Server) -> None:
    job = harness.submit(["print", "before"], ["sleep", 2])
    harness.reach(job.id, JobState.RUNNING)
    postgres_server.kill()
    try:
        with pytest.raises(Unavailable) as away:
            harness.jobs.list()
        assert away.value.cause == "store_unreachable" and not SECRET.search(str(away.value))
    finally:
        postgres_server.start()
    assert harness.end(job.id, 40).state is JobState.SUCCEEDED


@ON_POSTGRES
def test_database_server_without_free_connection_is_reported(
    harness: Any, state: Path, tmp_path: Path, database_url: str
) -> None:
    held = []
    try:
        with pytest.raises(psycopg.OperationalError):
            while True:
                held.append(psycopg.connect(database_url))
        busy = refused(state, database_url)
        assert busy.cause == "store_busy" and "max_connections" in busy.hint
    finally:
        for connection in held:
            connection.close()


@ON_POSTGRES
def test_read_only_database_is_reported(harness: Any, database_url: str, postgres_server: Server) -> None:
    name = harness.local._store.where.split(" ")[0]
    harness.local.configure(slots={"batch": 0})
    postgres_server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    harness.local._store.close()
    with pytest.raises(Unavailable) as refused:
        harness.submit(["print"])
    assert refused.value.cause == "store_readonly"
    assert harness.jobs.list().jobs == []
    postgres_server.run(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    harness.local._store.close()


@ON_POSTGRES
def test_database_belongs_to_one_state_folder(
    harness: Any, state: Path, tmp_path: Path, database_url: str, postgres_server: Server
) -> None:
    harness.end(harness.submit(["print"]).id)
    assert refused(tmp_path / "other", database_url).cause == "store_elsewhere"
    with pytest.raises(Unavailable, match="ILAB_JUPYTER_DATABASE_URL"):
        LocalJobs(state)
    postgres_server.run("CREATE DATABASE fresh_one")
    assert refused(state, postgres_server.url("fresh_one")).cause == "store_damaged"
    postgres_server.run("DROP DATABASE fresh_one WITH (FORCE)")
    here = LocalJobs(tmp_path / "sqlite")
    here.close()
    assert refused(tmp_path / "sqlite", database_url).cause == "store_elsewhere"


@ON_POSTGRES
def test_several_processes_open_one_database_at_once(state: Path, database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: LocalJobs(state, database_url=database_url), range(4)))
    assert [len(SyncJobs(one).list().jobs) for one in opened] == [0] * 4
    for one in opened:
        one.close()

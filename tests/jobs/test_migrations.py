"""A database of an older version is upgraded when it is opened, completely or not at all, without losses."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.attempt.process import Identity
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.postgres import read_url
from ilab_jupyter.jobs.store.rows import Store
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.postgres import ON_BOTH

pytestmark = pytest.mark.slow

DATA = {version: Path(__file__).parent / f"data/schema_{version}.sql" for version in ("1", "2", "3")}
DONE, TWICE, LIVE, OVER, LOST = (
    *("generate-3q4tfyns", "train-pxdon3ek", "serve-g4k5hvqq", "train-qohzzywf", "train-iy3gbtv6"),
)
WAITING, CANCELLED = {"train-6n2csxk7", "train-3uy5zj2z"}, "train-obj7ltqg"


@pytest.fixture(params=DATA)
def version(request: pytest.FixtureRequest) -> str:
    """The version to upgrade from."""
    return str(request.param)


@pytest.fixture
def old(state: Path, version: str) -> Path:
    """A state folder of an older version: its database, and a folder for each job."""
    (state / "jobs").mkdir(parents=True)
    with closing(sqlite3.connect(state / "jobs.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(DATA[version].read_text(encoding="utf-8"))
        for (id,) in connection.execute("SELECT id FROM job"):
            (state / "jobs" / id / "attempts/1").mkdir(parents=True)
    return state


@pytest.fixture
def supervisor(old: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Hold the lock of the live job and write its supervisor's record."""
    folder = StateFolder(old).job(LIVE).attempt(1)
    code = f"import fcntl, time; f = open({str(folder.lock)!r}, 'w'); fcntl.flock(f, 2); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code])
    me = None
    while me is None or not _locked(folder.lock):
        me = Identity.of(process.pid)
        time.sleep(0.02)
    folder.record.write_text(json.dumps({**me.to_dict(), "token": row(old, LIVE)["token"]}))
    yield process
    process.kill()
    process.wait()


def _locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def row(state: Path, id: str) -> sqlite3.Row:
    with closing(sqlite3.connect(state / "jobs.db")) as connection:
        connection.row_factory = sqlite3.Row
        found: sqlite3.Row = connection.execute("SELECT * FROM job WHERE id = ?", (id,)).fetchone()
        return found


def statements(version: str) -> list[str]:
    text = re.sub(r"^--.*$", "", DATA[version].read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [one.strip() for one in re.split(r";\s*\n", text) if one.strip()]


def test_upgrade_keeps_every_job_key_and_attempt(old: Path, supervisor: subprocess.Popen[bytes]) -> None:
    over = StateFolder(old).job(OVER)
    events = [
        {
            "seq": 1,
            "time": "2026-11-20T12:00:00+00:00",
            "type": "result",
            "attempt": 1,
            "result": {"saved": "m"},
        }
    ]
    over.events.write_text("".join(json.dumps(line) + "\n" for line in events))
    exit = {"token": row(old, OVER)["token"], "exit_code": 0, "shutdown": False, "forced": False}
    over.attempt(1).exit.write_text(json.dumps({**exit, "cleared": True, "ended": time.time()}))
    with closing(sqlite3.connect(old / "jobs.db")) as connection:
        connection.execute(
            "UPDATE setting SET value = ? WHERE name = 'slots'", ('{"batch": 0, "serving": 4}',)
        )
        connection.commit()
    local = LocalJobs(old, owner="ada", worker_module="scripted")
    jobs = SyncJobs(local)
    try:
        listed = {job.id: job for job in jobs.list().jobs}
        assert len(listed) == 8
        assert listed[DONE].name == "Grüße an 世界" and listed[DONE].spec.arguments == {
            "do": [["print", "hello"]]
        }
        assert listed[DONE].state is JobState.SUCCEEDED and listed[TWICE].state is JobState.FAILED
        assert listed[LIVE].state is JobState.RUNNING, "its supervisor is alive: it is adopted"
        assert listed[OVER].state is JobState.SUCCEEDED and listed[OVER].result == {"saved": "m"}
        assert listed[LOST].state is JobState.INTERRUPTED and listed[LOST].cause == "supervisor_lost"
        assert {id for id, job in listed.items() if job.state is JobState.QUEUED} == WAITING
        assert [(one.n, one.why, one.state) for one in jobs.attempts(TWICE)] == [
            (1, "submitted", JobState.FAILED),
            (2, "resumed", JobState.FAILED),
        ]
        same = JobSpec(kind="generate", name="Grüße an 世界", arguments={"do": [["print", "hello"]]})
        assert jobs.submit(same, key="nightly").id == DONE, "a key of an older version still finds its job"
        assert local._store.grace_seconds() == 7
        assert jobs.resume(LOST).attempt == 2 and jobs.audit()[-1].action == "resume"
    finally:
        local.close()


def test_upgrade_keeps_a_copy_of_the_old_database(old: Path) -> None:
    before = [tuple(found) for found in _dump(old / "jobs.db")]
    Store(StateFolder(old)).close()
    kept = old / f"jobs.db.before-{schema.VERSION}"
    assert [tuple(found) for found in _dump(kept)] == before and kept.stat().st_mode & 0o077 == 0
    assert Store(StateFolder(old)).setting("schema", "") == schema.VERSION
    assert [path.name for path in old.glob("jobs.db.*")] == [kept.name], "it is upgraded once"


def _dump(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [(line,) for line in connection.iterdump()]


@ON_BOTH
def test_upgraded_tables_are_the_same_as_new_ones(
    old: Path, version: str, tmp_path: Path, database_url: str | None
) -> None:
    if database_url is None:
        Store(StateFolder(old)).close()
        engine = sa.create_engine(f"sqlite:///{old / 'jobs.db'}")
    else:
        engine = sa.create_engine(read_url(database_url))
        upgrade_postgres(engine, version, tmp_path / "there", database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, schema.metadata) == []
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.job)).scalar() == 8
        why = (
            sa.select(schema.attempt.c.why).where(schema.attempt.c.job == TWICE).order_by(schema.attempt.c.n)
        )
        assert connection.execute(why).scalars().all() == ["submitted", "resumed"]
    engine.dispose()


def upgrade_postgres(engine: sa.Engine, version: str, state: Path, url: str) -> None:
    state.mkdir()
    (state / "database.json").write_text('{"folder": "f"}')
    with engine.begin() as connection:
        for text in statements(version):
            text = text.replace(" DOUBLE", " DOUBLE PRECISION")
            text = text.replace("seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "seq BIGSERIAL PRIMARY KEY")
            connection.exec_driver_sql(text)
        connection.exec_driver_sql("INSERT INTO setting VALUES ('folder', 'f')")
        inspector = sa.inspect(connection)
        for table in inspector.get_table_names():
            for column in inspector.get_columns(table):
                name = schema.RENAMED.get(column["name"], column["name"])
                ours = schema.metadata.tables[table].c[name]
                if ours.comment:
                    connection.execute(sa.schema.SetColumnComment(ours))
    Store(StateFolder(state), url).close()


def test_killed_upgrade_leaves_old_or_new_database(old: Path, version: str) -> None:
    code = (
        "import sys, pathlib; from ilab_jupyter.jobs.store.rows import Store;"
        "from ilab_jupyter.jobs.folder import StateFolder; Store(StateFolder(pathlib.Path(sys.argv[1])))"
    )
    pristine, before = (old / "jobs.db").read_bytes(), shape(old)
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code, str(old)], check=True)
    whole, after = time.monotonic() - started, shape(old)
    assert (before[0], after[0]) == (version, schema.VERSION) and before[1] != after[1]
    seen = set()
    for step in range(8):
        for path in old.glob("jobs.db*"):
            path.unlink()
        (old / "jobs.db").write_bytes(pristine)
        process = subprocess.Popen([sys.executable, "-c", code, str(old)], stderr=subprocess.DEVNULL)
        time.sleep(whole * (0.3 + 0.1 * step))
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = shape(old)
        assert found in (before, after)
        seen.add(found)
        store = Store(StateFolder(old), thorough=True)
        assert store.setting("schema", "") == schema.VERSION and len(store.select()) == 8
        store.close()
    assert before in seen


def shape(state: Path) -> tuple[str, str]:
    """Return the stored schema version, the tables and the indexes."""
    with closing(sqlite3.connect(state / "jobs.db")) as connection:
        said = connection.execute("SELECT value FROM setting WHERE name = 'schema'").fetchone()[0]
        parts = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return said, "\n".join(sql for (sql,) in parts)


def test_database_of_newer_version_is_refused_unchanged(old: Path) -> None:
    Store(StateFolder(old)).put_setting("schema", "99")
    before = _dump(old / "jobs.db")
    with pytest.raises(Unavailable, match="schema 99") as refused:
        LocalJobs(old)
    assert refused.value.cause == "store_version" and "newer" in refused.value.hint
    assert _dump(old / "jobs.db") == before


def test_running_process_of_version_1_may_move_its_job(old: Path) -> None:
    """It does not know the new columns and writes as before."""
    store = Store(StateFolder(old))
    waiting = store.get(CANCELLED)
    assert waiting is not None
    again = store.requeue(waiting, waiting.launch)
    assert again is not None
    with closing(sqlite3.connect(old / "jobs.db")) as connection:
        connection.execute(
            "UPDATE job SET state = 'STARTING', version = version + 1, token = 't' WHERE id = ?", (CANCELLED,)
        )
        connection.commit()
    found = store.get(CANCELLED)
    assert found is not None and found.state is JobState.STARTING and found.attempt == 2
    store.close()


def test_alembic_is_not_imported_without_upgrade(state: Path) -> None:
    code = (
        "import sys, pathlib; from ilab_jupyter.jobs.local import LocalJobs;"
        "LocalJobs(pathlib.Path(sys.argv[1]));"
        "print('alembic' in sys.modules, 'psycopg' in sys.modules)"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, str(state)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["False", "False"]

"""A real PostgreSQL server for the tests, and a new database on it for each test that asks for one."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

_PASSWORD = "s3cret:p@ss/word"  # with characters that a URL must quote
ON_BOTH = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


def programs() -> Path:
    """The folder of initdb and postgres."""
    folders = [Path("/usr/lib/postgresql")]
    found = sorted(path.parent for folder in folders for path in folder.glob("*/bin/initdb"))
    if shutil.which("pg_config"):
        output = subprocess.run(
            ["pg_config", "--bindir"], capture_output=True, text=True, check=True
        ).stdout.strip()
        found += [Path(output)] if (Path(output) / "initdb").exists() else []
    if not found:
        pytest.fail("These tests run a PostgreSQL server of their own: apt-get install postgresql")
    return found[-1]


@dataclass
class Server:
    """A server on a socket in a separate folder."""

    folder: Path
    process: subprocess.Popen[bytes]
    options: list[str]

    def url(self, database: str, *, user: str = "tester", password: str = _PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@/{database}?host={self.folder}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """Stop at once, as when its machine fails; `start` restarts it."""
        self.process.send_signal(3)
        self.process.wait()

    def start(self) -> None:
        self.process = _spawn(self.folder, self.options)
        _wait(self)


def _unprivileged(folder: Path) -> list[str]:
    """Return a command prefix: the server refuses to run as root, and must not outlive the tests."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "QUIT"]
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid)
    who = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *who, "--pdeathsig", "QUIT"]


def _spawn(folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*_unprivileged(folder), str(programs() / "postgres"), "-D", str(folder / "data"), *options],
            stdout=log,
            stderr=log,
            cwd=folder,
        )


def _wait(server: Server) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(server.url("postgres"), connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            said = (server.folder / "log").read_text(errors="replace")[-2000:]
            assert server.process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="ilab-pg-"))
    (folder / "password").write_text(_PASSWORD)
    try:
        (folder / "log").touch()
        initdb = ["--username=tester", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-N"]
        done = subprocess.run(
            [*_unprivileged(folder), str(programs() / "initdb"), "-D", str(folder / "data"), *initdb],
            capture_output=True,
            text=True,
            cwd=folder,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "max_connections=40"]
        options += ["-c", "fsync=off", "-c", "shared_buffers=16MB"]
        server = Server(folder, _spawn(folder, options), options)
        try:
            _wait(server)
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres_server: Server) -> Iterator[str]:
    """The address of an empty database."""
    name = f"jobs_{secrets.token_hex(4)}"
    postgres_server.run(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    postgres_server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """None for SQLite; the address of an empty PostgreSQL database where `ON_BOTH` asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    return str(request.getfixturevalue("postgres_database"))

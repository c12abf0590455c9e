"""The job service on disk and over HTTP: one contract, held by both."""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.client.connect import connect
from ilab_jupyter.client.remote import RemoteJobs
from ilab_jupyter.errors import Conflict, Forbidden, InvalidInput, PublicError, Unavailable
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobFilter, JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec
from tests.support.interpreter import make_interpreter
from tests.support.server import TOKEN, JupyterServerProcess


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def interpreter(folder: Path) -> Path:
    return make_interpreter(folder / "scripted-python")


@pytest.fixture(scope="module")
def address(folder: Path, interpreter: Path) -> Iterator[str]:
    """The URL of a real Jupyter server with the extension, in its own process."""
    settings = (
        "--ServerApp.base_url=/user/x/",
        "--IlabApp.slots={'batch': 4}",
        f"--IlabApp.state_dir={folder / 'remote-state'}",
    )
    process = JupyterServerProcess(folder, *settings, python=interpreter)
    process.start()
    yield f"{process.url}user/x/"
    process.kill()


@pytest.fixture(params=["on disk", "over HTTP"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path, interpreter: Path) -> Iterator[SyncJobs]:
    if request.param == "on disk":
        local = LocalJobs(tmp_path / "state", worker_python=str(interpreter))
        local.configure(slots={"batch": 4})
        service = SyncJobs(local)
    else:
        service = SyncJobs(RemoteJobs(request.getfixturevalue("address"), TOKEN))
    yield service
    live = JobFilter(states=(JobState.QUEUED, JobState.STARTING, JobState.RUNNING))
    for job in service.list(live).jobs:
        service.cancel(job.id)


def spec(*todo: str, name: str = "") -> JobSpec:
    return job_spec("train", {"data": list(todo) or ["print:hello"]}, name=name)


def ended(jobs: SyncJobs, id: str) -> Any:
    for event in jobs.watch(id):
        if event.type == "end":
            return jobs.get(id)
    raise AssertionError("the stream ended without an end")


def test_remote_idempotency_key_returns_same_job_or_conflict(jobs: SyncJobs) -> None:
    key = secrets.token_hex(4)
    first = jobs.submit(spec("print:a"), key=key)
    assert jobs.submit(spec("print:a"), key=key).id == first.id
    with pytest.raises(Conflict) as refused:
        jobs.submit(spec("print:b"), key=key)
    assert first.id in refused.value.message and refused.value.hint


def test_cancel_and_resume(jobs: SyncJobs) -> None:
    id = jobs.submit(spec("first:30", "print:x")).id
    with pytest.raises(Conflict):
        jobs.resume(id)
    jobs.cancel(id)
    assert ended(jobs, id).state is JobState.CANCELLED
    assert jobs.cancel(id).state is JobState.CANCELLED
    assert jobs.resume(id).attempt == 2
    assert ended(jobs, id).state is JobState.SUCCEEDED
    with pytest.raises(Conflict):
        jobs.resume(id)


def test_a_failure_brings_its_words(jobs: SyncJobs) -> None:
    job = ended(jobs, jobs.submit(spec("fail:No yeast.")).id)
    assert (job.state, job.cause, job.message) == (JobState.FAILED, "requested", "No yeast.")
    assert job.hint == "Change the script."


def test_lists_are_filtered_and_paged(jobs: SyncJobs) -> None:
    mark = secrets.token_hex(4)
    ids = [jobs.submit(spec("print:x", name=f"{mark} {number}")).id for number in range(3)]
    mine = JobFilter(text=mark)
    page = jobs.list(mine, limit=2)
    rest = jobs.list(mine, limit=2, cursor=page.cursor)
    assert [job.id for job in page.jobs + rest.jobs] == ids[::-1] and rest.cursor is None
    assert jobs.list(JobFilter(text=mark, kinds=("serve",))).jobs == []
    for id in ids:
        ended(jobs, id)
    assert len(jobs.list(JobFilter(text=mark, states=(JobState.SUCCEEDED, JobState.FAILED))).jobs) == 3
    for wrong in ({"cursor": "made up"}, {"limit": 0}, {"limit": 501}):
        with pytest.raises(InvalidInput):
            jobs.list(**wrong)


@pytest.mark.parametrize(
    "id", ["nothing-aaaaaaaa", "", ".", "..", "../x", "a/b", "a b", "x" * 300, "\x00", "ä", "%2e%2e"]
)
def test_an_id_of_no_job_is_not_found(jobs: SyncJobs, id: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: jobs.get(id), lambda: jobs.logs(id), lambda: jobs.events(id), lambda: jobs.cancel(id),
        lambda: jobs.resume(id), lambda: list(jobs.watch(id)),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(PublicError) as refused:
            call()
        assert refused.value.status in (400, 404) and not isinstance(refused.value, Unavailable)


def test_a_secret_with_a_dangerous_name_is_refused(jobs: SyncJobs) -> None:
    with pytest.raises(InvalidInput) as refused:
        jobs.submit(spec(), secrets={"LD_PRELOAD": "s3cr3t"})
    assert "s3cr3t" not in str(refused.value)


class Relay:
    """Passes connections on to a server; cuts each after it has brought so many bytes, or all on request."""

    def __init__(self, port: int, cut_after: int | None = None) -> None:
        self._target = port
        self._cut_after = cut_after
        self._open: list[socket.socket] = []
        self.connections = 0
        self.blocked = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.blocked:
                near.close()
                continue
            self.connections += 1
            self._open.append(near)
            far = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, self._cut_after), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, left: int | None) -> None:
        try:
            while data := source.recv(512):
                sink.sendall(data)
                if left is not None and (left := left - len(data)) <= 0:
                    break
        except OSError:
            pass
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for near in self._open:
            with suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def test_a_watch_over_a_bad_line_loses_and_repeats_nothing(address: str) -> None:
    direct = SyncJobs(RemoteJobs(address, TOKEN))
    todo = [
        item for number in range(1, 11) for item in (f"step:{number}/10", f"print:line {number}", "sleep:0.1")
    ]
    id = direct.submit(spec(*todo)).id
    relay = Relay(int(re.search(r":(\d+)/", address)[1]), cut_after=4000)  # type: ignore[index]
    through = SyncJobs(RemoteJobs(f"http://127.0.0.1:{relay.port}/user/x", TOKEN))
    events = list(through.watch(id, log_offset=0))
    relay.close()
    assert relay.connections > 1, "the line was never cut"
    assert [event.fields["step"] for event in events if event.type == "progress"] == list(range(1, 11))
    text = "".join(event.fields["text"] for event in events if event.type == "log")
    assert text == "".join(f"line {number}\n" for number in range(1, 11))
    assert [event.type for event in events].count("end") == 1 and events[-1].type == "end"


def test_reconnection_after_resume_delivers_both_logs(address: str) -> None:
    direct = SyncJobs(RemoteJobs(address, TOKEN))
    id = direct.submit(spec("print:one", "sleep:0.5", "print:two", "first:30", "print:done")).id
    relay = Relay(int(re.search(r":(\d+)/", address)[1]))  # type: ignore[index]
    through = SyncJobs(RemoteJobs(f"http://127.0.0.1:{relay.port}/user/x", TOKEN))
    logs: dict[int, str] = {}
    for event in through.watch(id, log_offset=0):
        if event.type == "log":
            attempt = event.fields["attempt"]
            logs[attempt] = logs.get(attempt, "") + event.fields["text"]
            if attempt == 1 and "two" not in logs[1]:
                relay.blocked = True
                relay.cut()
                while "two" not in direct.logs(id).text:
                    time.sleep(0.05)
                direct.cancel(id)
                ended(direct, id)
                direct.resume(id)
                ended(direct, id)
                relay.blocked = False
    relay.close()
    assert logs == {1: "one\ntwo\n", 2: "one\ntwo\ndone\n"}
    assert event.type == "end" and event.fields["state"] == "SUCCEEDED"


def test_wrong_token_missing_server_and_foreign_server_are_distinguished(address: str) -> None:
    with pytest.raises(Forbidden):
        SyncJobs(RemoteJobs(address, "wrong")).list()
    with pytest.raises(Forbidden):
        list(SyncJobs(RemoteJobs(address, "wrong")).watch("train-aaaaaaaa"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unavailable) as missing:
        SyncJobs(RemoteJobs(f"http://127.0.0.1:{port}", TOKEN)).list()
    assert missing.value.cause == "unreachable"
    with pytest.raises(Unavailable):
        list(SyncJobs(RemoteJobs(f"http://127.0.0.1:{port}", TOKEN, patience=0.5)).watch("train-aaaaaaaa"))
    with pytest.raises(Unavailable) as foreign:
        SyncJobs(RemoteJobs(f"{address}nothing/", TOKEN)).list()
    assert foreign.value.cause == "no_extension"
    for nonsense in ("", "127.0.0.1:8888", "file:///etc/passwd", "ftp://x"):
        with pytest.raises(InvalidInput):
            RemoteJobs(nonsense)


def test_a_page_address_with_a_token_is_cleaned_before_use(address: str) -> None:
    service = RemoteJobs(f"{address}?token=abc#x", TOKEN)
    assert service.url == address
    assert service.v1_url == f"{address}ilab/v1"
    assert service.headers == {"Authorization": f"token {TOKEN}"}


def test_connect_prefers_argument_then_environment_then_disk(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(connect(), LocalJobs)
    monkeypatch.setenv("ILAB_SERVICE_URL", address)
    monkeypatch.setenv("ILAB_SERVICE_TOKEN", TOKEN)
    from_environment = connect()
    assert isinstance(from_environment, RemoteJobs) and from_environment.url == address
    assert SyncJobs(from_environment).list().jobs is not None
    given = connect("http://127.0.0.1:9/other", "t")
    assert isinstance(given, RemoteJobs) and given.url.endswith("/other/")
    assert isinstance(connect(state_dir=tmp_path / "own"), LocalJobs)

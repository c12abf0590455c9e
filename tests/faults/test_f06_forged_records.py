"""F6: forged records cause no signal to other processes and no wrong outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.process import Identity, boot_id, with_argument, with_token
from ilab_jupyter.jobs.logs.events import EventWriter
from ilab_jupyter.jobs.queue import background
from ilab_jupyter.jobs.state import JobState

BYSTANDER = """
import os, signal, sys, time
def signals(number, frame):
    with open(sys.argv[1], "a") as file:
        file.write(f"{number}\\n")
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signals)
    except OSError:
        pass
print("ready", flush=True)
time.sleep(300)
"""


@pytest.fixture(autouse=True)
def no_turn_but_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent turns of the background scheduler between the death of a supervisor and the forgery."""
    monkeypatch.setattr(background, "INTERVAL_SECONDS", 3600.0)


@dataclass
class Bystander:
    """A process unrelated to any job that records every signal it receives."""

    process: subprocess.Popen[str]
    heard: Path

    @property
    def unharmed(self) -> bool:
        return self.process.poll() is None and not self.heard.exists()


@pytest.fixture
def start_bystander(tmp_path: Path) -> Iterator[Callable[[], Bystander]]:
    started: list[Bystander] = []

    def start() -> Bystander:
        heard = tmp_path / f"heard-{len(started)}"
        command = [sys.executable, "-S", "-c", BYSTANDER, str(heard)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        started.append(Bystander(process, heard))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Record the termination signals that this process receives."""
    numbers: list[int] = []
    wanted = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = {one: signal.signal(one, lambda number, _: numbers.append(number)) for one in wanted}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def lies(record: dict[str, Any], bystander: int) -> dict[str, Any]:
    """Return forged contents of a record by name; a text is written as it is."""

    def who(pid: int) -> dict[str, Any]:
        identity = Identity.of(pid)
        assert identity is not None
        return identity.to_dict()

    pids: dict[str, Any] = {
        **{"of an older process": bystander, "negative": -bystander, "zero": 0, "init": 1, "minus one": -1},
        **{"ours": os.getpid(), "our parent's": os.getppid(), "huge": 2**40, "largest": 2**31 - 1},
        **{"text": str(bystander), "half": bystander + 0.5, "true": True, "null": None, "list": [bystander]},
    }
    return {
        **{f"pid {name}": {**record, "pid": pid} for name, pid in pids.items()},
        "the whole identity of another": {**record, **who(bystander)},
        "the whole identity of ourselves": {**record, **who(os.getpid())},
        "the whole identity of init": {**record, **who(1)},
        "no pid": {name: value for name, value in record.items() if name != "pid"},
        "another boot": {**record, **who(bystander), "boot_id": boot_id()[::-1]},
        "another namespace": {**record, **who(bystander), "namespace": "pid:[1]"},
        "another token": {**record, **who(bystander), "token": "f" * 32},
        "torn": json.dumps(record)[:9],
        "empty": "",
        "no object": json.dumps([record]),
        "without end": "[" * 200_000,
        "no text": "\ud800\udfff\0",
    }


LIES = tuple(lies(dict.fromkeys(("pid", "starttime", "boot_id", "namespace", "token"), ""), os.getpid()))


def test_forged_record_signals_no_process_and_interrupts_the_job(
    harness: Any,
    running: Any,
    abandon: Any,
    start_bystander: Callable[[], Bystander],
    signals: list[int],
    count: Any,
    figures: Any,
) -> None:
    for lie in LIES[:: len(LIES) // count(5, len(LIES))]:
        bystander = start_bystander()
        job = running()
        path = harness.local.folder(job.id) / "attempts/1/supervisor.json"
        record = json.loads(path.read_text())
        abandon(job.id)
        content = lies(record, bystander.process.pid)[lie]
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(text.encode(errors="surrogatepass"))
        for _ in range(3):
            harness.local.turn()
        ended = harness.jobs.get(job.id)
        assert (ended.state, ended.cause) == (JobState.INTERRUPTED, "supervisor_lost"), lie
        assert bystander.unharmed and signals == [], lie
        figures.add(forms=1, signalled=0)


@pytest.mark.parametrize("lie", ["pid of an older process", "the whole identity of another", "pid ours"])
def test_cancel_with_forged_record_signals_no_process(
    harness: Any,
    running: Any,
    abandon: Any,
    start_bystander: Callable[[], Bystander],
    signals: list[int],
    lie: str,
) -> None:
    bystander = start_bystander()
    job = running()
    path = harness.local.folder(job.id) / "attempts/1/supervisor.json"
    record = json.loads(path.read_text())
    abandon(job.id)
    path.write_text(json.dumps(lies(record, bystander.process.pid)[lie]))
    harness.jobs.cancel(job.id)
    ended = harness.end(job.id)
    assert ended.state is JobState.CANCELLED, "it was cancelled, and none of its processes is alive"
    assert bystander.unharmed and signals == []


def take_number(pid: int, start: Callable[[], Bystander]) -> Bystander:
    """Create a bystander with the PID of a process that has ended."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError):
            last.write_text(str(pid - 1))
        ahead = (pid - int(last.read_text())) % int(Path("/proc/sys/kernel/pid_max").read_text())
        if ahead == 1:
            one = start()
            if one.process.pid == pid:
                return one
            one.process.kill()
        elif (child := os.fork()) == 0:  # where the counter may not be set, it is worn out
            os._exit(0)
        else:
            os.waitpid(child, 0)
    pytest.fail("The kernel did not give the number again: ns_last_pid is closed, pid_max large.")


def test_process_with_reused_pid_is_not_signalled(
    harness: Any,
    running: Any,
    abandon: Any,
    start_bystander: Callable[[], Bystander],
    wait: Callable[..., Any],
    count: Any,
    figures: Any,
) -> None:
    for cancelled in [False, True][: count(2, 2)]:
        job = running()
        record = json.loads((harness.local.folder(job.id) / "attempts/1/supervisor.json").read_text())
        abandon(job.id)
        wait(lambda pid=record["pid"]: not Path(f"/proc/{pid}").exists())
        bystander = take_number(record["pid"], start_bystander)
        assert Identity.of(record["pid"]) is not None, "a process has that PID"
        if cancelled:
            harness.jobs.cancel(job.id)
        harness.local.turn()
        ended = harness.jobs.get(job.id).state
        assert ended is (JobState.CANCELLED if cancelled else JobState.INTERRUPTED)
        assert bystander.unharmed
        figures.add(forms=1)


@pytest.mark.parametrize("torn", ['{"pid": ', "[" * 200_000], ids=["cut", "without end"])
def test_truncated_record_of_live_supervisor_does_not_end_the_job(
    harness: Any, tmp_path: Path, wait: Callable[..., Any], torn: str
) -> None:
    harness.local.configure(slots={"batch": 2})
    go = tmp_path / "go"
    job, other = (harness.submit(["wait_for", str(go)]) for _ in range(2))
    for one in (job, other):
        harness.reach(one.id, JobState.RUNNING)
        (harness.local.folder(one.id) / "attempts/1/supervisor.json").write_text(torn)
    harness.local.turn()
    assert [harness.jobs.get(one.id).state for one in (job, other)] == [JobState.RUNNING] * 2
    harness.jobs.cancel(other.id)
    assert harness.end(other.id).state is JobState.CANCELLED, "its supervisor reads its row"
    go.touch()
    ended = harness.end(job.id)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1)
    token = harness.local._store.get(job.id).token
    wait(lambda: not with_token(token) and not with_argument(token))


def exit_of(token: str | None) -> str:
    flags = {"shutdown": False, "forced": False, "cleared": True}
    return json.dumps({"token": token, "exit_code": 0, **flags, "ended": time.time()})


def test_exit_of_another_attempt_is_ignored(harness: Any, running: Any, abandon: Any) -> None:
    job = running()
    abandon(job.id)
    (harness.local.folder(job.id) / "attempts/1/exit.json").write_text(exit_of("another"))
    harness.local.turn()
    assert harness.jobs.get(job.id).state is JobState.INTERRUPTED


def test_exit_is_applied_if_supervisor_died_before_moving_row(
    harness: Any, running: Any, abandon: Any
) -> None:
    """The supervisor died between the file and the row."""
    job = running()
    row = harness.local._store.get(job.id)
    abandon(job.id)
    EventWriter(harness.local.folder(job.id) / "events.jsonl", attempt=1).write("result", result={"steps": 3})
    (harness.local.folder(job.id) / "attempts/1/exit.json").write_text(exit_of(row.token))
    harness.local.turn()
    ended = harness.jobs.get(job.id)
    assert (ended.state, ended.result) == (JobState.SUCCEEDED, {"steps": 3})


def test_first_reader_after_reboot_finds_job_interrupted(
    harness: Any, running: Any, abandon: Any, state: Path
) -> None:
    job = running()
    abandon(job.id)
    path = harness.local.folder(job.id) / "attempts/1/supervisor.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": boot_id()[::-1]}))
    fresh = type(harness)(state)
    seen = fresh.jobs.list().jobs[0]
    assert (seen.state, seen.cause) == (JobState.INTERRUPTED, "supervisor_lost")

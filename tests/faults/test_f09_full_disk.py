"""F9: full disk, quota, failing disk: errors have hints, states are delayed but correct, nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.state import JobState
from tests.support.disk import fill, may_mount, small_disk

SIZE = 20_000  # bytes of a checkpoint


def check_database(state: Path) -> None:
    connection = sqlite3.connect(f"file:{state / 'jobs.db'}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def check_checkpoints(folder: Path) -> int:
    """Return the number of the last checkpoint; all must be complete."""
    steps = sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*"))
    assert steps == list(range(1, len(steps) + 1)) and steps
    for step in steps:
        assert (folder / f"checkpoint-{step}").read_bytes() == bytes([step]) * SIZE, (
            "an incomplete checkpoint"
        )
    return steps[-1]


def test_submission_on_full_disk_is_refused_with_hint(
    harness: Any, tmp_path: Path, count: Any, figures: Any
) -> None:
    for number in range(count(1, 2)):
        with small_disk(tmp_path / f"disk-{number}") as disk:
            small = type(harness)(disk / "state")
            kept = small.submit(["print", "x"])
            assert small.end(kept.id).state is JobState.SUCCEEDED
            filler = fill(disk)
            with pytest.raises(Unavailable) as refused:
                for _ in range(50):
                    small.submit(["print", "x" * 5000])
            assert refused.value.cause == "disk_full" and "space" in refused.value.hint
            assert small.jobs.get(kept.id).state is JobState.SUCCEEDED
            filler.unlink()
            for job in small.jobs.list(limit=500).jobs:
                small.local.turn()
                assert small.end(job.id).state.ended
            assert small.end(small.submit(["print", "again"]).id).state is JobState.SUCCEEDED
            check_database(disk / "state")
            small.clean()
            small.local.close()
            figures.add(full_disks=1, false_ends=0)


def test_full_disk_delays_the_end_of_a_job(harness: Any, tmp_path: Path, count: Any, figures: Any) -> None:
    for number in range(count(1, 2)):
        with small_disk(tmp_path / f"disk-{number}") as disk:
            small = type(harness)(disk / "state")
            job = small.submit(["wait_for", str(tmp_path / f"go-{number}")], ["exit", 5])
            small.reach(job.id, JobState.RUNNING)
            filler = fill(disk)
            (tmp_path / f"go-{number}").touch()
            time.sleep(1.5)
            assert small.jobs.get(job.id).state is JobState.RUNNING, "an end that is not stored is not shown"
            filler.unlink()
            ended = small.end(job.id)
            assert (ended.state, ended.exit_code) == (JobState.FAILED, 5)
            check_database(disk / "state")
            small.clean()
            small.local.close()
            figures.add(full_disks=1, false_ends=0)


def test_full_log_disk_fails_the_job_with_disk_full(
    harness: Any, state: Path, tmp_path: Path, wait: Callable[..., Any], count: Any, figures: Any
) -> None:
    for number in range(count(1, 2)):
        saved = tmp_path / f"checkpoints-{number}"
        saved.mkdir()
        with small_disk(state / "jobs"):
            job = harness.submit(["save_checkpoints", str(saved), 60, SIZE])
            wait(lambda saved=saved: (saved / "checkpoint-3").exists())
            filler = fill(state / "jobs")
            time.sleep(1.5)
            assert not harness.jobs.get(job.id).state.ended, "the end cannot be stored yet"
            assert harness.log(job.id).startswith("saved 1 ."), "what was printed before is there"
            filler.unlink()
            ended = harness.end(job.id)
            assert (ended.state, ended.cause) == (JobState.FAILED, "disk_full") and ended.hint
            last = check_checkpoints(saved)
            harness.jobs.resume(job.id)
            ended = harness.end(job.id)
            assert (ended.state, ended.result["first"]) == (JobState.SUCCEEDED, last + 1)
            assert check_checkpoints(saved) == 60
            check_database(state)
            figures.add(full_disks=1, false_ends=0)
            with harness.local._store.write() as connection:  # its folder is removed with the disk
                for table in ("attempt", "lease", "job"):
                    column = "id" if table == "job" else "job"
                    connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = ?", (job.id,))


def test_full_checkpoint_disk_fails_the_job_and_keeps_checkpoints(
    harness: Any, state: Path, tmp_path: Path, count: Any, figures: Any
) -> None:
    for number in range(count(1, 2)):
        with small_disk(tmp_path / f"disk-{number}", "256k") as saved:
            job = harness.submit(["save_checkpoints", str(saved), 20, SIZE])
            ended = harness.end(job.id)
            assert (ended.state, ended.cause) == (JobState.FAILED, "disk_full") and "space" in ended.hint
            assert (ended.message, ended.remedy) == ("The disk is full.", f"resume {job.id}")
            last = check_checkpoints(saved)
            assert 3 < last < 20 and f"saved {last}" in harness.log(job.id)
            subprocess.run(["mount", "-o", "remount,size=1m", str(saved)], check=True)
            harness.jobs.resume(job.id)
            ended = harness.end(job.id)
            assert (ended.state, ended.attempt, ended.result["first"]) == (JobState.SUCCEEDED, 2, last + 1)
            assert check_checkpoints(saved) == 20
            check_database(state)
            figures.add(full_disks=1, false_ends=0)


# A failing disk: writes below a prefix fail with the error named in a file.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refused(const char *path) {
    char text[4200];
    int kept = errno, number = 0, used = 0;
    int file = syscall(SYS_openat, AT_FDCWD, getenv("REFUSALS"), O_RDONLY | O_CLOEXEC);
    if (file < 0) { errno = kept; return 0; }
    ssize_t size = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    errno = kept;
    if (size <= 0) return 0;
    text[size] = 0;
    if (sscanf(text, "%d %n", &number, &used) < 1) return 0;
    if (strncmp(path, text + used, strlen(text + used))) return 0;
    errno = number;
    return 1;
}

static int refused_file(int file) {
    char link[64], path[4200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return refused(path);
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define ON_FILE(type, name, declared, ...) \
    type name declared { REAL(name); if (refused_file(file)) return -1; return real(__VA_ARGS__); }
#define ON_PATH(name, declared, path, ...) \
    int name declared { REAL(name); if (refused(path)) return -1; return real(__VA_ARGS__); }
#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
        if ((flags & O_CREAT) && access(path, F_OK) && refused(path)) return -1; \
        return real(path, flags, mode); }

ON_FILE(ssize_t, write, (int file, const void *data, size_t size), file, data, size)
ON_FILE(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), file, data, size, at)
ON_FILE(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), file, data, size, at)
ON_FILE(int, fsync, (int file), file)
ON_FILE(int, fdatasync, (int file), file)
ON_PATH(rename, (const char *from, const char *to), to, from, to)
ON_PATH(mkdir, (const char *path, mode_t mode), path, path, mode)
OPENING(open)
OPENING(open64)
"""

# A server process that executes commands from files and answers each with a line.
SERVER = """
import json, os
from pathlib import Path
from ilab_jupyter.errors import PublicError
number = 0
while True:
    command = Path(sys.argv[2]) / str(number)
    if not command.exists():
        try:
            local.turn()
        except PublicError:
            pass
        time.sleep(0.05)
        continue
    verb, *rest = json.loads(command.read_text())
    number += 1
    try:
        if verb == "submit":
            job = jobs.submit(JobSpec(kind="train", arguments={"do": rest}))
        else:
            job = getattr(jobs, verb)(rest[0])
        print(json.dumps(job.model_dump(mode="json")), flush=True)
    except PublicError as error:
        print(json.dumps({"refused": True, **error.to_dict()}), flush=True)
"""


@dataclass
class CommandServer:
    """The server under the shim, and the disk that fails on demand."""

    process: subprocess.Popen[str]
    folder: Path
    refusals: Path
    number: int = field(default=0)

    def ask(self, verb: str, *what: Any) -> dict[str, Any]:
        part = self.folder / "part"
        part.write_text(json.dumps([verb, *what]))
        part.replace(self.folder / str(self.number))
        self.number += 1
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server has died"
        return json.loads(line)  # type: ignore[no-any-return]

    def end(self, id: str, seconds: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while not (job := self.ask("get", id)).get("ended_at"):
            assert time.monotonic() < deadline, job
            time.sleep(0.1)
        return job

    def refuse(self, number: int, prefix: Path) -> None:
        part = self.refusals.with_suffix(".part")
        part.write_text(f"{number} {prefix}")
        part.replace(self.refusals)

    def allow(self) -> None:
        self.refusals.unlink()


@pytest.fixture
def command_server(
    harness: Any, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], CommandServer]]:
    source, shim, refusals = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "refusals"
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-w", "-o", shim, source, "-ldl"], check=True)
    started: list[CommandServer] = []

    def start(folder: Path) -> CommandServer:
        folder.mkdir()
        environment = {**os.environ, "LD_PRELOAD": str(shim), "REFUSALS": str(refusals)}
        code = (
            "import sys, time\nfrom pathlib import Path\nfrom ilab_jupyter.jobs.local import LocalJobs\n"
            "from ilab_jupyter.jobs.record import JobSpec\nfrom ilab_jupyter.jobs.sync import SyncJobs\n"
            "local = LocalJobs(Path(sys.argv[1]), worker_module='scripted')\njobs = SyncJobs(local)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code + SERVER, str(state), str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(CommandServer(process, folder, refusals))
        return started[-1]

    yield start
    refusals.unlink(missing_ok=True)
    for one in started:
        one.process.kill()
        one.process.communicate()


REFUSALS = [
    (where, number, moment)
    for number in (errno.EDQUOT, errno.EIO, errno.ENOSPC)
    for where, moment in (
        *(("state", moment) for moment in ("submission", "run", "end")),
        *(("jobs", moment) for moment in ("submission", "run", "end")),
        ("checkpoints", "run"),
    )
]


def test_server_reports_disk_errors_and_recovers(
    command_server: Any, state: Path, tmp_path: Path, wait: Callable[..., Any], count: Any, figures: Any
) -> None:
    server = command_server(tmp_path / "command_server")
    kept = server.ask("submit", ["print", "x"])["id"]
    assert server.end(kept)["state"] == "SUCCEEDED"
    for round, (where, number, moment) in enumerate(REFUSALS[:: len(REFUSALS) // count(3, len(REFUSALS))]):
        fault = f"{errno.errorcode[number]} of the {where} at the {moment}"
        saved, go = tmp_path / f"checkpoints-{round}", tmp_path / f"go-{round}"
        saved.mkdir()
        prefix = {"state": state, "jobs": state / "jobs", "checkpoints": saved}[where]
        full = number != errno.EIO
        if moment == "submission":
            server.refuse(number, prefix)
            answer = server.ask("submit", ["print", "y"])
            assert answer.get("refused") and answer["message"] and answer["hint"], fault
            assert answer["cause"] == "disk_full" or not full, f"{fault}: {answer}"
            assert server.ask("get", kept)["state"] == "SUCCEEDED", fault
            server.allow()
        elif moment == "run":
            job = server.ask("submit", ["save_checkpoints", str(saved), 40, SIZE])["id"]
            wait(lambda saved=saved: (saved / "checkpoint-3").exists())
            server.refuse(number, prefix)
            time.sleep(1)
            seen = server.ask("get", job)
            assert seen["state"] in ("RUNNING", "FAILED"), fault
            server.allow()
            ended = server.end(job)
            assert ended["state"] == "FAILED" and ended["message"] and ended["hint"], f"{fault}: {ended}"
            assert (ended["cause"] == "disk_full") is full, f"{fault}: {ended}"
            last = check_checkpoints(saved)
            server.ask("resume", job)
            ended = server.end(job)
            assert (ended["state"], ended["result"]["first"]) == ("SUCCEEDED", last + 1), fault
            assert check_checkpoints(saved) == 40
        else:
            ready = saved / "ready"
            job = server.ask("submit", ["write", str(ready), "x"], ["wait_for", str(go)], ["exit", 5])["id"]
            wait(ready.exists)
            server.refuse(number, prefix)
            go.touch()
            time.sleep(1)
            assert server.ask("get", job)["state"] == "RUNNING", f"{fault}: an end that cannot be written"
            server.allow()
            ended = server.end(job)
            assert (ended["state"], ended["exit_code"], ended["attempt"]) == ("FAILED", 5, 1), fault
        assert server.process.poll() is None
        after = server.ask("submit", ["print", "again"])["id"]
        assert server.end(after)["state"] == "SUCCEEDED", fault
        check_database(state)
        figures.add(refusals=1, false_ends=0)


if not may_mount():

    def test_full_disks_in_a_user_namespace_that_may_mount(tmp_path: Path) -> None:
        command = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", __file__]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"Mounting failed, also in a user namespace: {done.stdout}"

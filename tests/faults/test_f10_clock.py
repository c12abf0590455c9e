"""F10: changes of the wall clock during a run, up to ten years, affect nothing."""

from __future__ import annotations

import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.state import JobState

HOUR, YEARS = 3600.0, 10 * 365 * 86400.0
SUMMER = datetime(2026, 3, 29, 0, 59, 57, tzinfo=UTC).timestamp()
WINTER = datetime(2026, 10, 25, 0, 59, 57, tzinfo=UTC).timestamp()
# Offset of the clock in seconds when a job starts, and from the middle of the run on.
JUMPS: dict[str, tuple[float, float]] = {
    "an hour forward": (0, HOUR),
    "an hour back": (0, -HOUR),
    "ten years forward": (0, YEARS),
    "ten years back": (0, -YEARS),
    "set right after an hour ahead": (HOUR, 0),
    "set right after an hour behind": (-HOUR, 0),
    "set right after ten years ahead": (YEARS, 0),
    "set right after ten years behind": (-YEARS, 0),
    "three seconds before summer time": (0, SUMMER - time.time()),
    "three seconds before winter time": (0, WINTER - time.time()),
    "two seconds back": (0, -2),
    "to the beginning of time": (0, 5 - time.time()),
}

# libfaketime ends a running sleep when its offset changes, which a real clock does not.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double offset(void) {
    double seconds = 0;
    int file = open(getenv("WALL_CLOCK"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (pread(file, &seconds, sizeof seconds, 0) != sizeof seconds) seconds = 0;
        close(file);
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        double by = offset(), whole = floor(by);
        now->tv_sec += (time_t)whole;
        now->tv_nsec += (long)((by - whole) * 1e9);
        if (now->tv_nsec >= 1000000000L) { now->tv_nsec -= 1000000000L; now->tv_sec++; }
    }
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
"""


class Clock:
    """The wall clock of all processes started from now on; this process keeps the real one."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def set(self, offset: float) -> None:
        """Set the clock `seconds` ahead of real time in every process."""
        temporary = self._file.with_suffix(".part")
        temporary.write_bytes(struct.pack("d", offset))
        temporary.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    source, shim = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", shim, source, "-ldl", "-lm"], check=True)
    clock = Clock(tmp_path / "offset")
    clock.set(0)
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    monkeypatch.setenv("WALL_CLOCK", str(tmp_path / "offset"))
    monkeypatch.setenv("TZ", "Europe/Berlin")
    yield clock
    clock.set(0)


def keep_turning(harness: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        harness.local.turn()
        time.sleep(0.2)


def in_order(job: Any) -> bool:
    """Check that displayed durations are not negative."""
    return bool(job.created_at <= job.started_at <= job.ended_at)


def test_clock_change_during_run_does_not_affect_jobs(
    harness: Any, servers: Any, clock: Clock, tmp_path: Path, count: Any, figures: Any
) -> None:
    for number, jump in enumerate(list(JUMPS)[:: len(JUMPS) // count(2, len(JUMPS))]):
        before, after = JUMPS[jump]
        clock.set(before)
        folder = tmp_path / str(number)
        folder.mkdir()
        go, order, done = (str(folder / name) for name in ("go", "order", "done"))
        progress = [["event", "progress", {"step": step, "total": 8}] for step in range(8)]
        first_half, rest = progress[:4], progress[4:]
        server = servers.start(f"""
import os
def submit_and_print(name, *do):
    submit(*do, ['write', {order!r}, name])
submit_and_print('1', ['lines', 50], *{first_half!r}, ['wait_for', {go!r}], ['lines', 50], *{rest!r})
while not os.path.exists({done!r}):
    local.turn()
    time.sleep(0.05)
submit_and_print('2', ['sleep', 0.3])
submit_and_print('3', ['sleep', 0.3])
print(time.time(), flush=True)
while True:
    local.turn()
    time.sleep(0.2)
""")
        first = server.stdout.readline().strip()
        harness.reach(first, JobState.RUNNING)
        seen: list[Any] = []
        stream = harness.jobs.watch(first, log_offset=0)
        follower = threading.Thread(target=lambda seen=seen, stream=stream: seen.extend(stream))
        follower.start()
        time.sleep(0.3)
        clock.set(after)
        Path(done).touch()
        ids = [first, *(server.stdout.readline().strip() for _ in range(2))]
        away = float(server.stdout.readline()) - time.time()
        assert abs(away - after) < 1, "the clock was not set"
        keep_turning(harness, 3.0)  # longer than every timeout of the engine
        now = harness.jobs.get(first)
        assert (now.state, now.attempt) == (JobState.RUNNING, 1), f"{jump}: a wrong state"
        newest = [job.id for job in harness.jobs.list(limit=3).jobs]
        assert newest == ids[::-1], f"{jump}: newest first, independent of the clock"
        Path(go).touch()
        for id in ids:
            ended = harness.end(id, seconds=60)
            assert (ended.state, ended.attempt, ended.exit_code) == (JobState.SUCCEEDED, 1, 0), jump
            assert in_order(ended), f"{jump}: a duration below zero"
        follower.join(20)
        assert not follower.is_alive()
        text = "".join(event.fields["text"] for event in seen if event.type == "log")
        assert text.splitlines() == [f"line {number}" for number in range(50)] * 2
        assert [event.fields["step"] for event in seen if event.type == "progress"] == list(range(8))
        assert seen[-1].type == "end"
        assert Path(order).read_text() == "123", f"{jump}: first come, first served"
        server.kill()
        figures.add(jumps=1, false_verdicts=0)


def test_servers_with_different_clocks_share_a_queue(
    harness: Any,
    servers: Any,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: Any,
    figures: Any,
) -> None:
    offsets = [YEARS, -YEARS, HOUR, -HOUR][: count(2, 4)]
    harness.local.configure(slots={"batch": 2})
    ran = tmp_path / "ran"
    code = f"""
for n in range(4):
    submit(['write', {str(ran)!r}, f'{{os.getpid()}}-{{n}}\\n'])
    local.turn()
print(time.time(), flush=True)
while True:
    local.turn()
    time.sleep(0.1)
"""
    started = []
    for number, offset in enumerate(offsets):
        own = tmp_path / f"offset-{number}"
        Clock(own).set(offset)
        monkeypatch.setenv("WALL_CLOCK", str(own))
        started.append(servers.start("import os\n" + code))
    ids = []
    for offset, server in zip(offsets, started, strict=True):
        ids += [server.stdout.readline().strip() for _ in range(4)]
        assert abs(float(server.stdout.readline()) - time.time() - offset) < 60
    for id in ids:
        ended = harness.end(id, seconds=60)
        assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1) and in_order(ended)
    times = Counter(ran.read_text().split())
    assert len(times) == len(ids) and set(times.values()) == {1}
    figures.add(clocks=len(offsets), second_starts=0)


@pytest.mark.parametrize("after", [YEARS, -YEARS], ids=["forward", "back"])
def test_clock_change_does_not_affect_grace_period(
    harness: Any, running: Any, clock: Clock, count: Any, figures: Any, after: float
) -> None:
    harness.local.configure(grace_seconds=2)
    for _ in range(count(1, 3)):
        clock.set(0)
        job = running(["ignore_term"])
        started = time.monotonic()
        harness.jobs.cancel(job.id)
        time.sleep(0.5)
        clock.set(after)
        ended = harness.end(job.id)
        assert 2 <= time.monotonic() - started < 10
        assert ended.state is JobState.CANCELLED and "killed" in ended.message and in_order(ended)
        figures.add(jumps=1, false_timeouts=0)


@pytest.mark.parametrize("after", [YEARS, -YEARS], ids=["forward", "back"])
def test_clock_change_does_not_affect_retry_delay(
    harness: Any,
    clock: Clock,
    tmp_path: Path,
    wait: Callable[..., Any],
    count: Any,
    figures: Any,
    after: float,
) -> None:
    count(1, 2)
    started = time.monotonic()
    refusal = {"cause": "preempted", "message": "Another job needs its place.", "hint": ""}
    job = harness.submit([["event", "error", refusal], ["exit", 1]], [["write", str(tmp_path / "ran"), "x"]])
    wait(lambda: harness.jobs.get(job.id).attempt == 2)
    due = harness.local._store.get(job.id)
    assert due.due is not None and due.state is JobState.QUEUED
    clock.set(after)
    keep_turning(harness, 1.0)
    assert harness.jobs.get(job.id).state is JobState.QUEUED, "it is not due yet"
    ended = harness.end(job.id, seconds=120)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2) and in_order(ended)
    figures.most(retry_seconds=time.monotonic() - started)


def test_times_are_shown_in_utc(harness: Any, clock: Clock) -> None:
    clock.set(YEARS)
    ended = harness.end(harness.submit(["print"]).id)
    assert ended.ended_at.tzinfo is UTC and (ended.ended_at - datetime.now(UTC)).days > 3000

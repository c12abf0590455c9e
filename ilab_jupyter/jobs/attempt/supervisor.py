"""The small process beside each running job: starts the worker, outlives servers, and tells the true end.

Run as `python -m ilab_jupyter.jobs.attempt.supervisor <state folder> <job id> <attempt> <token>`. It is two
processes: the supervisor, and its parent the guardian, which clears up at once should the other be killed.
"""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ilab_jupyter.durable import read_json, write_json
from ilab_jupyter.ending import leave
from ilab_jupyter.engine import importing
from ilab_jupyter.errors import Unavailable
from ilab_jupyter.jobs.attempt.launch import worker_environment
from ilab_jupyter.jobs.attempt.lock import FileLock
from ilab_jupyter.jobs.attempt.memory import KillCount, resident
from ilab_jupyter.jobs.attempt.process import Identity, adopt_orphans, descendants, die_with, kill_all
from ilab_jupyter.jobs.folder import AttemptFolder, JobFolder, StateFolder
from ilab_jupyter.jobs.logs.events import EventWriter

if TYPE_CHECKING:
    from ilab_jupyter.jobs.store.rows import Row, Store

T = TypeVar("T")
MODULE = b"ilab_jupyter.jobs.attempt.supervisor"
_LOOK = 2.0
_MEMORY_LOOK = 0.5
_KILL_WAIT = 30.0
_STORE_WAIT = 300.0


@dataclass(frozen=True)
class Duty:
    """The one attempt that this process is for."""

    state: StateFolder
    id: str
    attempt: int
    token: str

    @property
    def job(self) -> JobFolder:
        """The job's folder."""
        return self.state.job(self.id)

    @property
    def folder(self) -> AttemptFolder:
        """The attempt's folder."""
        return self.job.attempt(self.attempt)

    def spares(self, command: bytes) -> bool:
        """Whether a process below us belongs to another job that our worker, or our own turn, has started."""
        parts = command.split(b"\0")
        return MODULE in parts and self.token.encode() not in parts


def main(arguments: list[str]) -> int:
    """Fork into guardian and supervisor."""
    state, id, attempt, token = arguments
    duty = Duty(StateFolder(Path(state)), id, int(attempt), token)
    adopt_orphans()
    child = os.fork()
    if child == 0:
        os.setsid()
        return Supervisor(duty).run()
    return guard(duty, child)


def guard(duty: Duty, child: int) -> int:
    """Wait for the supervisor; should it be killed, kill what it left and let the queue know."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ended, status = 0, 0
    while ended != child:
        ended, status = os.waitpid(-1, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return 0
    clear(duty)
    from ilab_jupyter.jobs.queue.scheduler import turn
    from ilab_jupyter.jobs.store.rows import Store

    patiently(lambda: turn(Store(duty.state)))
    return 1


def clear(duty: Duty) -> bool:
    """Kill everything that the attempt has started, and wait. False where something cannot be killed."""
    deadline = time.monotonic() + _KILL_WAIT
    while left := descendants(duty.spares):
        for process in left:
            process.signal(signal.SIGKILL)
        reap(keep=0)
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return kill_all(duty.token, max(1.0, deadline - time.monotonic()))


def reap(keep: int) -> None:
    """Take the exits of orphans that became our children; that of `keep` stays for its own waiter."""
    while hasattr(os, "waitid"):
        try:
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if seen is None or seen.si_pid == keep:
                return
            os.waitpid(seen.si_pid, os.WNOHANG)
        except ChildProcessError:
            return


class Supervisor:
    """Runs one attempt from STARTING to its end."""

    def __init__(self, duty: Duty) -> None:
        self.duty = duty
        self.told_to_end = False
        self._forced = False
        self._oom_kills = 0
        self._over: int | None = None
        self._wakeups, writer = os.pipe()
        os.set_blocking(self._wakeups, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _end(self, *_: object) -> None:
        self.told_to_end = True

    def run(self) -> int:
        """Supervise, then give the queue a turn."""
        adopt_orphans()
        lock = FileLock(self.duty.folder.lock)
        if not lock.acquire(timeout=30):
            print("another process holds the lock of this attempt", file=sys.stderr)
            return 0
        me = Identity.of(os.getpid())
        assert me is not None
        record = {**me.to_dict(), "token": self.duty.token}
        patiently(lambda: write_json(self.duty.folder.record, record))
        # Imported now: who holds the lock is seen as alive however slow the disk is.
        with importing():
            from ilab_jupyter.jobs.queue.scheduler import turn
            from ilab_jupyter.jobs.store.rows import Store

        with closing(patiently(lambda: Store(self.duty.state))) as store:
            go_on = self._supervise(store)
            lock.release()
            if go_on:
                turn(store)
                self._await_retry(store)
        return 0

    def _await_retry(self, store: Store) -> None:
        """Where our job is to be tried again, give the queue a turn then: maybe nobody else is there to."""
        from ilab_jupyter.jobs.queue.retries import delay
        from ilab_jupyter.jobs.queue.scheduler import turn
        from ilab_jupyter.jobs.state import JobState

        while not self.told_to_end:
            row = patiently(lambda: store.get(self.duty.id))
            if row is None or row.state is not JobState.QUEUED or row.due is None:
                return
            left = delay(row.due, row.boot_id)
            if left <= 0:
                turn(store)
                return
            self._sleep(min(left, _LOOK))

    def _supervise(self, store: Store) -> bool:
        """Whether the queue should move on: not where the row says that this attempt is not ours to run, and
        not where the job has ended with its machine, which is no place to start the next one."""
        from ilab_jupyter.jobs.attempt.outcome import Exit, finish
        from ilab_jupyter.jobs.state import JobState

        duty, asked = self.duty, False
        while True:
            row = patiently(lambda: store.get(duty.id))
            if row is None or row.attempt != duty.attempt or row.token != duty.token or row.state.ended:
                return False
            if row.state is JobState.STOPPING:
                break
            if row.state is JobState.RUNNING and asked:
                break  # our own move, whose answer was lost with the connection
            if row.state is not JobState.STARTING:
                return False
            asked = True
            if patiently(partial(store.move, row, JobState.RUNNING, started=time.time())) is not None:
                break
        cancelled = row.state is JobState.STOPPING
        code = -signal.SIGTERM if cancelled or self.told_to_end else self._work(store, row)
        gone = clear(duty)
        how = Exit(
            *(duty.token, code),
            shutdown=self.told_to_end,
            forced=self._forced,
            cleared=gone,
            oom_kills=self._oom_kills,
            over=self._over,
        )
        patiently(lambda: write_json(duty.folder.exit, how.to_dict()))
        patiently(partial(finish, store, row, how))
        ended = patiently(lambda: store.get(duty.id))
        return ended is None or ended.cause != "shutdown"

    def _work(self, store: Store, row: Row) -> int:
        """Start the worker and wait for it; its exit code, negative for a signal."""
        try:
            worker = self._start(store)
        except OSError as error:
            patiently(partial(self._complain, error))
            return 127
        kills = KillCount(worker.pid)
        asked = row.spec.get("resources", {}).get("memory_gb")
        limit = None if asked is None else int(asked * 1e9)
        deadline, look = None, time.monotonic() + _LOOK
        measure = look - _LOOK if limit is not None else math.inf
        while worker.poll() is None:
            now = time.monotonic()
            if now >= look:
                look = now + _LOOK
                kills.look()
                self._look(store)
            if limit is not None and now >= measure:
                measure = now + _MEMORY_LOOK
                self._measure(worker, limit)
            if self.told_to_end and deadline is None:
                # Only the worker itself: its helpers (data loaders, ranks) must live until it has saved.
                worker.terminate()
                deadline = now + self._grace(store)
            if deadline is not None and now >= deadline:
                self._forced = True
                worker.kill()
                deadline = now + _KILL_WAIT
            self._sleep(min(look, measure, deadline or look) - now)
            reap(keep=worker.pid)
        self._oom_kills = kills.lately()
        return worker.returncode

    def _measure(self, worker: subprocess.Popen[bytes], limit: int) -> None:
        """End a worker that has more memory than its job asked for, before others must suffer for it."""
        tree = [process.pid for process in descendants(self.duty.spares)]
        if (used := resident(tree, limit)) > limit and worker.poll() is None:
            self._over = used
            worker.kill()

    def _start(self, store: Store) -> subprocess.Popen[bytes]:
        duty = self.duty
        row = patiently(lambda: store.get(duty.id))
        assert row is not None
        gpus = patiently(partial(self._gpus, store, row))
        secrets = read_json(duty.job.secrets) or {}
        cwd = row.launch["cwd"]
        me = os.getpid()
        log = patiently(lambda: os.open(duty.folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        try:
            worker = subprocess.Popen(
                [
                    row.launch["python"],
                    "-P",
                    "-m",
                    row.launch["module"],
                    str(duty.job.path),
                    str(duty.attempt),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd if Path(cwd).is_dir() else duty.job.path,
                env=worker_environment(row.launch, secrets, duty.token, gpus),
                start_new_session=True,
                preexec_fn=lambda: die_with(me),
            )
        finally:
            os.close(log)
        return worker

    def _gpus(self, store: Store, row: Row) -> str | None:
        from ilab_jupyter.jobs.queue.leases import visible

        mine = [lease for lease in store.leases() if lease.job == row.id]
        return visible(mine, row.spec, store.setting("devices", ""))

    def _complain(self, error: OSError) -> None:
        events = EventWriter(self.duty.job.events, attempt=self.duty.attempt)
        events.write(
            "error",
            cause="worker_failed",
            message=f"The job's process cannot be started: {error.strerror}.",
            hint="Set worker_python to a Python in which ilab-jupyter[engine] is installed.",
        )
        events.close()

    def _look(self, store: Store) -> None:
        """A cancel whose signal never came, as from another machine or a killed canceller, is seen here."""
        from ilab_jupyter.jobs.state import JobState

        try:
            row = store.get(self.duty.id)
        except Unavailable:
            return
        if row is not None and row.state is JobState.STOPPING and row.token == self.duty.token:
            self.told_to_end = True

    def _grace(self, store: Store) -> float:
        from ilab_jupyter.jobs.store.schema import GRACE_SECONDS

        try:
            return store.grace_seconds()
        except Unavailable:
            return GRACE_SECONDS

    def _sleep(self, seconds: float) -> None:
        """Until a signal comes (a child's end is one), at most so long."""
        if select.select([self._wakeups], [], [], max(0.0, seconds))[0]:
            os.read(self._wakeups, 512)


def patiently(do: Callable[[], T]) -> T:
    """Try again while the disk is full or the store is busy: a worker's end must survive a bad moment."""
    deadline = time.monotonic() + _STORE_WAIT
    pause = 0.1
    while True:
        try:
            return do()
        except (OSError, Unavailable) as error:
            if time.monotonic() >= deadline:
                raise
            with suppress(OSError):
                print(f"waiting: {error}", file=sys.stderr, flush=True)
            time.sleep(pause)
            pause = min(5.0, pause * 2)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))

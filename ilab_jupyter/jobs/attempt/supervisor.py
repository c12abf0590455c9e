"""The small process beside each running job: starts the worker, outlives servers and records the outcome.

Run as `python -m ilab_jupyter.jobs.attempt.supervisor <state folder> <job id> <attempt> <token>`. It consists
of two processes: the supervisor, and its parent, the guardian, which cleans up if the supervisor is killed.
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
_POLL_SECONDS = 2.0
_MEMORY_POLL_SECONDS = 0.5
_KILL_SECONDS = 30.0
_STORE_SECONDS = 300.0


@dataclass(frozen=True)
class Assignment:
    """The one attempt that this process supervises."""

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

    def is_other_job(self, command: bytes) -> bool:
        """Whether a descendant process belongs to another job, started by our worker or our own scheduler
        turn."""
        parts = command.split(b"\0")
        return MODULE in parts and self.token.encode() not in parts


def main(arguments: list[str]) -> int:
    """Fork into guardian and supervisor."""
    state, id, attempt, token = arguments
    assignment = Assignment(StateFolder(Path(state)), id, int(attempt), token)
    adopt_orphans()
    child = os.fork()
    if child == 0:
        os.setsid()
        return Supervisor(assignment).run()
    return guard(assignment, child)


def guard(assignment: Assignment, child: int) -> int:
    """Wait for the supervisor; if it is killed, kill its descendants and run a scheduler turn."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ended, status = 0, 0
    while ended != child:
        ended, status = os.waitpid(-1, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return 0
    clear(assignment)
    from ilab_jupyter.jobs.queue.scheduler import turn
    from ilab_jupyter.jobs.store.rows import Store

    retry_if_unavailable(lambda: turn(Store(assignment.state)))
    return 1


def clear(assignment: Assignment) -> bool:
    """Kill every process that the attempt has started, and wait. False if one cannot be killed."""
    deadline = time.monotonic() + _KILL_SECONDS
    while left := descendants(assignment.is_other_job):
        for process in left:
            process.signal(signal.SIGKILL)
        reap(keep=0)
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return kill_all(assignment.token, max(1.0, deadline - time.monotonic()))


def reap(keep: int) -> None:
    """Reap adopted orphans; the exit of `keep` is left for its own waiter."""
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

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.stop_requested = False
        self._forced = False
        self._oom_kills = 0
        self._memory_over_limit: int | None = None
        self._wakeups, writer = os.pipe()
        os.set_blocking(self._wakeups, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _end(self, *_: object) -> None:
        self.stop_requested = True

    def run(self) -> int:
        """Supervise the attempt, then run a scheduler turn."""
        adopt_orphans()
        lock = FileLock(self.assignment.folder.lock)
        if not lock.acquire(timeout=30):
            print("another process holds the lock of this attempt", file=sys.stderr)
            return 0
        me = Identity.of(os.getpid())
        assert me is not None
        record = {**me.to_dict(), "token": self.assignment.token}
        retry_if_unavailable(lambda: write_json(self.assignment.folder.record, record))
        # Imported only now: a holder of the lock counts as alive, however slow the disk is.
        with importing():
            from ilab_jupyter.jobs.queue.scheduler import turn
            from ilab_jupyter.jobs.store.rows import Store

        with closing(retry_if_unavailable(lambda: Store(self.assignment.state))) as store:
            run_turn = self._supervise(store)
            lock.release()
            if run_turn:
                turn(store)
                self._await_retry(store)
        return 0

    def _await_retry(self, store: Store) -> None:
        """Wait until our job's retry is due and run a scheduler turn: this may be the only process left."""
        from ilab_jupyter.jobs.queue.retries import delay
        from ilab_jupyter.jobs.queue.scheduler import turn
        from ilab_jupyter.jobs.state import JobState

        while not self.stop_requested:
            row = retry_if_unavailable(lambda: store.get(self.assignment.id))
            if row is None or row.state is not JobState.QUEUED or row.due is None:
                return
            left = delay(row.due, row.boot_id)
            if left <= 0:
                turn(store)
                return
            self._sleep(min(left, _POLL_SECONDS))

    def _supervise(self, store: Store) -> bool:
        """Run the attempt and return whether a scheduler turn should follow.

        False if the row no longer belongs to this attempt, and if the job ended with its machine, where no
        other job should start.
        """
        from ilab_jupyter.jobs.attempt.outcome import Exit, finish
        from ilab_jupyter.jobs.state import JobState

        assignment, moved = self.assignment, False
        while True:
            row = retry_if_unavailable(lambda: store.get(assignment.id))
            if (
                row is None
                or row.attempt != assignment.attempt
                or row.token != assignment.token
                or row.state.ended
            ):
                return False
            if row.state is JobState.STOPPING:
                break
            if row.state is JobState.RUNNING and moved:
                break  # our own move, whose response was lost with the connection
            if row.state is not JobState.STARTING:
                return False
            moved = True
            if (
                retry_if_unavailable(partial(store.move, row, JobState.RUNNING, started=time.time()))
                is not None
            ):
                break
        cancelled = row.state is JobState.STOPPING
        code = -signal.SIGTERM if cancelled or self.stop_requested else self._work(store, row)
        gone = clear(assignment)
        worker_exit = Exit(
            *(assignment.token, code),
            shutdown=self.stop_requested,
            forced=self._forced,
            cleared=gone,
            oom_kills=self._oom_kills,
            memory_over_limit=self._memory_over_limit,
        )
        retry_if_unavailable(lambda: write_json(assignment.folder.exit, worker_exit.to_dict()))
        retry_if_unavailable(partial(finish, store, row, worker_exit))
        ended = retry_if_unavailable(lambda: store.get(assignment.id))
        return ended is None or ended.cause != "shutdown"

    def _work(self, store: Store, row: Row) -> int:
        """Start the worker and wait for it. Returns its exit code, negative for a signal."""
        try:
            worker = self._start(store)
        except OSError as error:
            retry_if_unavailable(partial(self._report_start_failure, error))
            return 127
        kills = KillCount(worker.pid)
        requested = row.spec.get("resources", {}).get("memory_gb")
        limit = None if requested is None else int(requested * 1e9)
        deadline, poll_at = None, time.monotonic() + _POLL_SECONDS
        measure_at = poll_at - _POLL_SECONDS if limit is not None else math.inf
        while worker.poll() is None:
            now = time.monotonic()
            if now >= poll_at:
                poll_at = now + _POLL_SECONDS
                kills.sample()
                self._check_cancelled(store)
            if limit is not None and now >= measure_at:
                measure_at = now + _MEMORY_POLL_SECONDS
                self._measure(worker, limit)
            if self.stop_requested and deadline is None:
                # Only the worker itself: its child processes (data loaders, ranks) must live until it saved.
                worker.terminate()
                deadline = now + self._grace(store)
            if deadline is not None and now >= deadline:
                self._forced = True
                worker.kill()
                deadline = now + _KILL_SECONDS
            self._sleep(min(poll_at, measure_at, deadline or poll_at) - now)
            reap(keep=worker.pid)
        self._oom_kills = kills.recent()
        return worker.returncode

    def _measure(self, worker: subprocess.Popen[bytes], limit: int) -> None:
        """Kill a worker that uses more memory than its job requested."""
        tree = [process.pid for process in descendants(self.assignment.is_other_job)]
        if (used := resident(tree, limit)) > limit and worker.poll() is None:
            self._memory_over_limit = used
            worker.kill()

    def _start(self, store: Store) -> subprocess.Popen[bytes]:
        assignment = self.assignment
        row = retry_if_unavailable(lambda: store.get(assignment.id))
        assert row is not None
        gpus = retry_if_unavailable(partial(self._gpus, store, row))
        secrets = read_json(assignment.job.secrets) or {}
        cwd = row.launch["cwd"]
        me = os.getpid()
        log = retry_if_unavailable(
            lambda: os.open(assignment.folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        )
        try:
            worker = subprocess.Popen(
                [
                    row.launch["python"],
                    "-P",
                    "-m",
                    row.launch["module"],
                    str(assignment.job.path),
                    str(assignment.attempt),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd if Path(cwd).is_dir() else assignment.job.path,
                env=worker_environment(row.launch, secrets, assignment.token, gpus),
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

    def _report_start_failure(self, error: OSError) -> None:
        events = EventWriter(self.assignment.job.events, attempt=self.assignment.attempt)
        events.write(
            "error",
            cause="worker_failed",
            message=f"The job's process cannot be started: {error.strerror}.",
            hint="Set worker_python to a Python in which ilab-jupyter[engine] is installed.",
        )
        events.close()

    def _check_cancelled(self, store: Store) -> None:
        """Detect a cancellation whose signal was lost, such as one from another machine."""
        from ilab_jupyter.jobs.state import JobState

        try:
            row = store.get(self.assignment.id)
        except Unavailable:
            return
        if row is not None and row.state is JobState.STOPPING and row.token == self.assignment.token:
            self.stop_requested = True

    def _grace(self, store: Store) -> float:
        from ilab_jupyter.jobs.store.schema import GRACE_SECONDS

        try:
            return store.grace_seconds()
        except Unavailable:
            return GRACE_SECONDS

    def _sleep(self, seconds: float) -> None:
        """Sleep for the given seconds at most, or until a signal arrives (the end of a child is one)."""
        if select.select([self._wakeups], [], [], max(0.0, seconds))[0]:
            os.read(self._wakeups, 512)


def retry_if_unavailable(do: Callable[[], T]) -> T:
    """Call `do` until it succeeds while the disk is full or the store is busy, for up to five minutes."""
    deadline = time.monotonic() + _STORE_SECONDS
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

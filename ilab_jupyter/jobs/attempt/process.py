"""Identity of a process beyond its PID: PIDs are reused, so only recognised processes are signalled."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

TOKEN = "ILAB_JOB_TOKEN"  # noqa: S105 - the name of an environment variable; the value is no credential
_LINUX = sys.platform == "linux"
_PDEATHSIG, _SUBREAPER = 1, 36


@dataclass(frozen=True)
class Identity:
    """One process of one boot: its PID, its start time, and the PID namespace in which the PID is valid."""

    pid: int
    starttime: str
    boot_id: str
    namespace: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the process that has this PID now; None if there is none or it is a zombie."""
        started = _started(pid)
        return None if started is None else cls(pid, started, boot_id(), _namespace())

    @classmethod
    def read(cls, data: dict[str, Any] | None) -> Identity | None:
        """Parse a record that may be truncated or forged; None if it names no process that can be a job's."""
        known = data or {}
        pid = known.get("pid")
        texts = [str(known[name]) for name in ("starttime", "boot_id", "namespace") if name in known]
        if type(pid) is not int or pid <= 1 or len(texts) != 3:
            return None
        found = cls(pid, *texts)
        # The same PID in another container or on another machine is a different process.
        return None if pid == os.getpid() and found.here else found

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `read` accepts."""
        return asdict(self)

    @property
    def here(self) -> bool:
        """Whether the PID is valid in this boot and this PID namespace."""
        return self.boot_id == boot_id() and self.namespace == _namespace()

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs. False also for one of another boot or namespace."""
        return self.here and Identity.of(self.pid) == self

    def signal(self, number: int) -> bool:
        """Send a signal to exactly this process; False if it is gone. Never to PID 0, 1 or this process."""
        return _send(self.pid, number, lambda: self.alive)


def boot_clock() -> float:
    """Return the seconds since boot including sleep: equal in all processes and never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@lru_cache
def boot_id() -> str:
    """Return an identifier that changes with every boot."""
    if _LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    import psutil

    return str(int(psutil.boot_time()))


def with_token(token: str) -> list[int]:
    """Return our processes that were started for the attempt with this token, by their environment."""
    return [pid for pid in _pids() if _carries(pid, token)]


def with_argument(token: str) -> list[int]:
    """Return processes with the token as an argument: the attempt's supervisors, also before they hold the
    lock."""
    return [pid for pid in _pids() if token.encode() in _read(pid, "cmdline").split(b"\0")]


def kill_all(token: str, timeout: float) -> bool:
    """Kill every process started for an attempt, and wait. False if some survive `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while left := with_token(token):
        for pid in left:
            _send(pid, signal.SIGKILL, partial(_carries, pid, token))
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def descendants(keep: Callable[[bytes], bool]) -> list[Identity]:
    """Return all descendants of this process, except subtrees whose command line `keep` accepts."""
    import psutil

    found: list[Identity] = []
    open_list = [os.getpid()]
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            children.setdefault(process.ppid(), []).append(process.pid)
    while open_list:
        for pid in children.get(open_list.pop(), []):
            if keep(_read(pid, "cmdline")):
                continue
            open_list.append(pid)
            if (identity := Identity.of(pid)) is not None:
                found.append(identity)
    return found


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none escapes. Linux only."""
    if _LINUX:
        _prctl(_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """In a new child process: be killed when `parent` dies, also if it died before this call. Linux only."""
    if _LINUX:
        _prctl(_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)


def _carries(pid: int, token: str) -> bool:
    return f"{TOKEN}={token}".encode() in _read(pid, "environ").split(b"\0")


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _send(pid: int, number: int, recognised: Callable[[], bool]) -> bool:
    if pid <= 1 or pid == os.getpid():
        return False
    try:
        if not hasattr(os, "pidfd_open"):
            if not recognised():
                return False
            os.kill(pid, number)
            return True
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # The descriptor pins the process, so the process that was checked is the one that is signalled.
        if not recognised():
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _pids() -> Iterator[int]:
    if _LINUX:
        own = os.getpid()
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and (pid := int(entry.name)) > 1 and pid != own:
                yield pid
        return
    import psutil

    yield from (pid for pid in psutil.pids() if pid > 1 and pid != os.getpid())


def _read(pid: int, what: str) -> bytes:
    """Return `environ` or `cmdline` of a process, separated by NUL; empty if it is gone or not ours."""
    if _LINUX:
        try:
            return Path(f"/proc/{pid}/{what}").read_bytes()
        except OSError:
            return b""
    import psutil

    try:
        process = psutil.Process(pid)
        parts = process.cmdline() if what == "cmdline" else [f"{k}={v}" for k, v in process.environ().items()]
    except psutil.Error:
        return b""
    return "\0".join(parts).encode()


def _started(pid: int) -> str | None:
    if _LINUX:
        try:
            # The command name is in parentheses and may itself contain spaces and parentheses.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None


@lru_cache
def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "-"

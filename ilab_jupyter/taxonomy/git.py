"""How git is run here: argument lists, no hooks, few protocols, no questions, and an end to everything."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.taxonomy import address

# Before every command: nothing that a repository brings along is run, and nothing is left running.
_INERT = (
    "core.fsmonitor=false",
    "core.alternateRefsCommand=true",
    "diff.ignoreSubmodules=all",
    "log.showSignature=false",
    f"core.hooksPath={os.devnull}",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "core.bigFileThreshold=16m",
    "pack.threads=1",
)

# Where a command reads a repository that is there already, it has no reason to connect to anything. A
# repository can be without some objects and name a program that would bring them (remote.*.uploadpack).
_OFFLINE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_SSH_COMMAND": "false", "GIT_PROXY_COMMAND": "false"}

# The caller's own repository must not be meant: git's hooks, for one, run with these set.
_ELSEWHERE = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_EXTERNAL_DIFF",
)

# The same commit for the same files, independent of author and time.
IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (
        ("NAME", "ilab-jupyter"),
        ("EMAIL", "ilab-jupyter@localhost"),
        ("DATE", "2000-01-01T00:00:00Z"),
    )
}

# In a folder that is ours, the user's settings (signing, line ends, templates) have no say.
OURS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass(frozen=True)
class Limits:
    """What fetching may take before it is given up, and who asks for that before."""

    seconds: float = 120.0
    repository_bytes: int = 1_000_000_000
    stopping: Callable[[], bool] = lambda: False


class Failed(Exception):
    """git said no; `said` is what it said last, on one line."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class OutOfBounds(Failed):
    """It took too long or brought too much, and was ended."""


def environment(more: Mapping[str, str] | None = None, *, offline: bool = False) -> dict[str, str]:
    """For one git process: the user's credentials and proxies stay, questions and odd protocols do not.

    With `offline` no protocol is allowed.
    """
    return {
        **{name: value for name, value in os.environ.items() if name not in _ELSEWHERE},
        "GIT_ALLOW_PROTOCOL": ":".join(address.SCHEMES),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "SSH_ASKPASS_REQUIRE": "force",
        "GCM_INTERACTIVE": "never",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
        **(_OFFLINE if offline else {}),
        **(more or {}),
    }


def ask(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> str:
    """What a command in `folder` prints, with names as the disk spells them. Failed where git says no,
    Unavailable where it is not installed or gives no answer in a minute.
    """
    try:
        done = subprocess.run(
            _command(folder, arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            env=environment(more, offline=True),
        )
    except FileNotFoundError:
        raise _not_installed() from None
    except subprocess.TimeoutExpired:
        raise Unavailable(
            "git gave no answer within 60 seconds.", "Check the disk that holds the taxonomy."
        ) from None
    if done.returncode != 0:
        raise Failed(_last_words(done.stderr.decode(errors="replace")))
    return os.fsdecode(done.stdout)


def fetch(folder: Path, arguments: Sequence[str], repo: str, limits: Limits, started: float) -> None:
    """A command that brings something from the address `repo` into `folder`, watched while it does.

    `started` is the moment, of time.monotonic, from which the seconds count. OutOfBounds where a limit is
    passed and Stopped on request, with no process of it left; Failed where git exits with an error.
    """
    try:
        settings = address.git_settings(repo)
    except ValueError as error:
        raise Failed(str(error)) from None
    errors = folder / ".git-errors"
    # below the folder, so that what a server says counts towards the limit too
    with errors.open("wb") as stream:
        try:
            process = subprocess.Popen(
                _command(folder, arguments, settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env=environment(),
            )
        except FileNotFoundError:
            raise _not_installed() from None
    try:
        pause = 0.01
        while process.poll() is None:
            if limits.stopping():
                raise Stopped("Fetching was stopped on request.")
            if time.monotonic() - started > limits.seconds:
                raise OutOfBounds(f"it took longer than {limits.seconds:g} seconds")
            if size_of(folder) > limits.repository_bytes:
                raise OutOfBounds(f"it brings more than {limits.repository_bytes:,} bytes")
            time.sleep(pause)
            pause = min(0.1, pause * 1.5)
    finally:
        if process.poll() is None:
            _end(process)
    if size_of(folder) > limits.repository_bytes:
        raise OutOfBounds(f"it brings more than {limits.repository_bytes:,} bytes")
    if process.returncode != 0:
        with errors.open("rb") as stream:
            raise Failed(_last_words(stream.read(100_000).decode(errors="replace")))
    errors.unlink()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill git and the helpers that it started, which would go on without it."""
    try:
        helpers = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        helpers = []
    process.kill()
    for helper in helpers:
        with suppress(psutil.Error):
            helper.kill()
    process.wait()


def size_of(folder: Path) -> int:
    """Bytes of all files below; what vanishes meanwhile counts nothing."""
    total = 0
    for here, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(here, file)).st_size  # noqa: PTH118
            except OSError:
                continue
    return total


def _command(folder: Path, arguments: Sequence[str], settings: Sequence[str] = ()) -> list[str]:
    inert = [word for setting in (*_INERT, *settings) for word in ("-c", setting)]
    return ["git", *inert, "-C", str(folder), *arguments]


def _not_installed() -> Unavailable:
    return Unavailable("git is not installed.", "Install git, or use the base `empty` for all leaves.")


def _last_words(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    words = (fatal or lines or ["no reason given"])[0]
    return words.removeprefix("fatal:").removeprefix("error:").strip(" .'")[:300]

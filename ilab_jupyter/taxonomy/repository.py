"""One commit of a foreign git repository, fetched into the cache without ever being checked out, and its
files.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ilab_jupyter import paths
from ilab_jupyter.errors import Unavailable
from ilab_jupyter.taxonomy import git

MAX_FILES = 100_000
_KINDS = {"100": "file", "120": "link"}
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class NoCommit(git.Failed):
    """The repository was reached, and has no such commit."""


@dataclass(frozen=True)
class File:
    """A file of a commit. `object` is the id of its bytes; `kind` is file, link or other."""

    path: str
    size: int
    object: str
    kind: str


@dataclass(frozen=True)
class Repository:
    """A bare repository that holds at least the commit `commit`."""

    folder: Path
    commit: str

    def files(self) -> list[File]:
        """All files, sorted by path; OutOfBounds for more than MAX_FILES."""
        found = []
        # read as it comes: a few kilobytes of tree objects can spell billions of files
        with self._output("ls-tree", "-r", "-z", "-l", "--full-tree", self.commit) as chunks:
            for line in _records(chunks):
                facts, _, path = line.partition("\t")
                mode, _, name, size = facts.split()
                kind = _KINDS.get(mode[:3], "other")
                found.append(File(path, int(size) if size.isdigit() else 0, name, kind))
                if len(found) > MAX_FILES:
                    raise git.OutOfBounds(f"it has more than {MAX_FILES:,} files")
        return sorted(found, key=lambda file: file.path)

    def save(self, file: File, target: Path) -> None:
        """Write the file's bytes to `target`, as they were committed."""
        with self._output("cat-file", "blob", file.object) as chunks, target.open("xb") as stream:
            for chunk in chunks:
                stream.write(chunk)

    @contextmanager
    def _output(self, *arguments: str) -> Iterator[Iterator[bytes]]:
        command = ["git", f"--git-dir={self.folder}", "-c", "core.bigFileThreshold=16m", *arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=git.environment(offline=True),
        )
        stream = process.stdout
        assert stream is not None
        try:
            yield iter(lambda: stream.read(1 << 20), b"")
            if process.wait() != 0:
                raise git.Failed("the commit cannot be read")
        finally:
            process.kill()
            process.wait()
            stream.close()


def is_repository(folder: Path) -> bool:
    """Whether the folder is a git repository of its own; one below another repository is not."""
    return (folder / ".git").exists() or (folder / "HEAD").is_file()


def local(folder: Path, commit: str) -> Repository | None:
    """The commit of a repository on this machine, as it lies there; None where it has no such commit."""
    if not is_repository(folder):
        return None
    try:
        name = git.ask(
            folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"
        ).strip()
        where = git.ask(folder, "rev-parse", "--absolute-git-dir").rstrip("\n")
    except git.Failed:
        return None
    return Repository(Path(where), name)


def fetched(repo: str, commit: str, limits: git.Limits) -> Repository:
    """The commit of the repository at an address that was judged already; from the cache where it is there.

    Failed where the address cannot be reached, NoCommit, OutOfBounds where a limit is passed.
    """
    cache = paths.documents_dir()
    known = _whole(cache, repo, commit) if _ID.fullmatch(commit) else None
    if known is not None:
        return known
    started = time.monotonic()
    with _beside(cache) as partial:
        try:
            name = _fetch(partial, repo, commit, limits, started)
        except git.OutOfBounds:
            raise
        except git.Failed:
            # servers give single commits by full id or by name only: the list of all has the rest
            name = _looked_up(cache, repo, commit, limits, started)
            shutil.rmtree(partial)
            partial.mkdir()
            _fetch(partial, repo, name, limits, started)
        target = _folder(cache, repo, name)
        # another process may have been faster with the same commit
        if _whole(cache, repo, name) is None:
            shutil.rmtree(target, ignore_errors=True)
            with suppress(OSError):
                partial.rename(target)
    return Repository(target, name)


def _folder(cache: Path, repo: str, commit: str) -> Path:
    return cache / f"{hashlib.sha256(repo.encode(errors='surrogateescape')).hexdigest()[:24]}-{commit}.git"


def _whole(cache: Path, repo: str, commit: str) -> Repository | None:
    folder = _folder(cache, repo, commit)
    try:
        git.ask(folder, "cat-file", "-e", f"{commit}^{{tree}}")
    except (git.Failed, OSError):
        return None
    return Repository(folder, commit)


@contextmanager
def _beside(cache: Path) -> Iterator[Path]:
    """A new folder in the cache, of which nothing is left unless it was renamed."""
    partial = cache / f".{secrets.token_hex(8)}.partial"
    try:
        # what a killed process left; a day is longer than any fetching
        for left in cache.glob(".*.partial"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 86_400:
                    shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise Unavailable(
            f"Documents cannot be fetched into {cache}: {error.strerror}.",
            "Make it a folder that you may write to, with space on its disk.",
        ) from None
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch(folder: Path, repo: str, commit: str, limits: git.Limits, started: float) -> str:
    """Fetch exactly `commit`, a full id or the name of a branch or tag, and return its id."""
    kind = "sha256" if len(commit) == 64 and _ID.fullmatch(commit) else "sha1"
    git.ask(folder, "init", "--quiet", "--bare", "--template=", f"--object-format={kind}", more=git.OURS)
    command = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
    ]
    git.fetch(
        folder, [*command, "--", _position(repo), f"{commit}:refs/documents/commit"], repo, limits, started
    )
    return git.ask(folder, "rev-parse", "--verify", "refs/documents/commit^{commit}").strip()


def _looked_up(cache: Path, repo: str, commit: str, limits: git.Limits, started: float) -> str:
    """The full id of a short one, from the commits of all branches and tags, without their files where the
    server can leave these out.
    """
    with _beside(cache) as folder:
        git.ask(folder, "init", "--quiet", "--bare", "--template=", more=git.OURS)
        command = ["fetch", "--quiet", "--filter=tree:0", "--no-tags", "--no-recurse-submodules"]
        refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        git.fetch(folder, [*command, "--", _position(repo), *refs], repo, limits, started)
        try:
            answer = git.ask(
                folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"
            )
        except git.Failed:
            raise NoCommit("the repository has no such commit") from None
        return answer.strip()


def _position(repo: str) -> str:
    # git itself knows no `~` in a path
    return str(paths.given(repo)) if repo.startswith("~") else repo


def _records(chunks: Iterator[bytes]) -> Iterator[str]:
    """Texts that end with a zero byte, out of chunks that end anywhere."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\0")
        yield from map(os.fsdecode, whole)

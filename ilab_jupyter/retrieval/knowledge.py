"""Commit markdown into a git repository managed by ingest, so that a knowledge leaf can reference it."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Sequence
from pathlib import Path

from ilab_jupyter.errors import Conflict, Unavailable, Unprocessable
from ilab_jupyter.retrieval.results import KnowledgeSource
from ilab_jupyter.taxonomy import git

_OURS = {**git.IDENTITY, **git.OURS}
_MARK = "ilab.documents"


def commit(folder: Path, files: Sequence[str], repository: Path) -> KnowledgeSource:
    """Commit exactly `files` of `folder` to the repository and return the commit.

    If nothing changed, no commit is created. Earlier commits, which leaves may reference, are kept. Raises
    Conflict if `repository` has other content, Unprocessable if `files` is empty, Unavailable if git or the
    disk fails.
    """
    if not files:
        raise Unprocessable(
            "No document was read, so there is nothing to commit.", "See the failures.", cause="no_documents"
        )
    _open(repository)
    try:
        for old in repository.iterdir():
            if old.name != ".git":
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for file in files:
            target = repository / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, target)
    except OSError as error:
        raise Unavailable(
            f"The repository {repository} cannot be written: {error.strerror}.", "Free or choose a disk."
        ) from error
    _git(repository, "add", "--all", "--force")
    if _git(repository, "status", "--porcelain", "--ignore-submodules=all"):
        _git(repository, "commit", "--quiet", "--no-verify", "-m", "Documents")
    return KnowledgeSource(
        repository=str(repository),
        commit=_git(repository, "rev-parse", "HEAD").strip(),
        patterns=tuple(glob.escape(file) for file in files),
    )


def _open(repository: Path) -> None:
    if (repository / ".git").is_dir():
        try:
            git.ask(repository, "config", "--local", "--get", _MARK, more=_OURS)
            return
        except git.Failed:
            pass
    elif not repository.exists() or (repository.is_dir() and not any(repository.iterdir())):
        repository.mkdir(parents=True, exist_ok=True)
        _git(repository, "init", "--quiet", "--initial-branch=main")
        _git(repository, "config", "--local", _MARK, "true")
        return
    raise Conflict(
        f"{repository} is not a repository that ingest made.",
        "Name a folder that does not exist yet; your own repositories are never written.",
    )


def _git(repository: Path, *arguments: str) -> str:
    try:
        return git.ask(repository, *arguments, more=_OURS)
    except git.Failed as error:
        raise Unavailable(
            f"git {arguments[0]} failed in {repository}: {error.said}.", "Check the disk and git."
        ) from None

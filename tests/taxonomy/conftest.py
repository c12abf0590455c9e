"""A taxonomy and repositories of the test's own, made with the real git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "notebooks" / "taxonomy"


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    """A copy of the sample, without git."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "taxonomy"))


@pytest.fixture
def committed(taxonomy: Path) -> Path:
    """The sample in a git repository, all of it committed to `main`."""
    git(taxonomy, "init", "-q")
    commit(taxonomy)
    return taxonomy


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    identity = ["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path) -> str:
    """Commit all that is in the folder, and return the commit's id."""
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-q", "-m", "change")
    return git(folder, "rev-parse", "HEAD")

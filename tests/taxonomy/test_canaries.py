"""git runs no program that a repository names, whichever way it names it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ilab_jupyter.core.taxonomy import Taxonomy
from ilab_jupyter.errors import PublicError
from ilab_jupyter.evaluation import branch
from tests.taxonomy.conftest import commit, git

pytestmark = pytest.mark.slow

LEAF = "compositional_skills/writing/new/qna.yaml"
GONE = "compositional_skills/writing/gone/qna.yaml"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """The file that a program would create if it ran."""
    return tmp_path / "canary"


def touch(canary: Path, *, then: str = "cat") -> str:
    return f"touch '{canary}'; {then}"


def script(canary: Path) -> str:
    """The path of a program that creates the canary."""
    path = canary.with_name("program")
    path.write_text(f"#!/bin/sh\ntouch '{canary}'\nexit 1\n")
    path.chmod(0o755)
    return str(path)


def attributes(repository: Path, line: str) -> None:
    (repository / ".gitattributes").write_text(line + "\n")


def filter_of(key: str) -> Callable[[Path, Path], None]:
    def prepare(repository: Path, canary: Path) -> None:
        attributes(repository, "* filter=evil")
        git(repository, "config", f"filter.evil.{key}", touch(canary))

    return prepare


def diff_of(key: str) -> Callable[[Path, Path], None]:
    def prepare(repository: Path, canary: Path) -> None:
        attributes(repository, "* diff=evil")
        git(repository, "config", f"diff.evil.{key}", touch(canary))

    return prepare


def setting(name: str) -> Callable[[Path, Path], None]:
    def prepare(repository: Path, canary: Path) -> None:
        git(repository, "config", name, script(canary))

    return prepare


def hooks(repository: Path, canary: Path) -> None:
    folder = repository / ".git" / "hooks"
    folder.mkdir(exist_ok=True)
    for name in ("post-index-change", "post-checkout", "reference-transaction", "pre-auto-gc", "fsmonitor"):
        (folder / name).write_text(f"#!/bin/sh\n{touch(canary, then='true')}\n")
        (folder / name).chmod(0o755)


def hooks_path(repository: Path, canary: Path) -> None:
    hooks(repository, canary)
    (repository / ".git" / "hooks").rename(repository / "hooks")
    git(repository, "config", "core.hooksPath", str(repository / "hooks"))


def included(repository: Path, canary: Path) -> None:
    attributes(repository, "* filter=evil diff=evil")
    (repository / "evil.config").write_text(
        f'[filter "evil"]\n\tclean = "{touch(canary)}"\n[core]\n\tfsmonitor = "{script(canary)}"\n'
        f'[diff "evil"]\n\tcommand = "{touch(canary)}"\n'
    )
    git(repository, "config", "include.path", "../evil.config")


def included_if(repository: Path, canary: Path) -> None:
    included(repository, canary)
    git(repository, "config", "--unset", "include.path")
    git(repository, "config", "includeIf.gitdir:/**.path", "../evil.config")


def worktree_config(repository: Path, canary: Path) -> None:
    attributes(repository, "* filter=evil")
    git(repository, "config", "extensions.worktreeConfig", "true")
    git(repository, "config", "--worktree", "filter.evil.clean", touch(canary))


def info_attributes(repository: Path, canary: Path) -> None:
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    git(repository, "config", "filter.evil.clean", touch(canary))


def submodule(repository: Path, canary: Path) -> None:
    """A submodule whose own repository has a filter and a monitor."""
    inner = repository / "inner"
    git(repository, "init", "-q", "inner")
    attributes(inner, "* filter=evil")
    (inner / "file").write_text("content")
    commit(inner)
    git(inner, "config", "filter.evil.clean", touch(canary))
    git(inner, "config", "core.fsmonitor", script(canary))
    (repository / ".gitmodules").write_text(
        '[submodule "inner"]\n\tpath = inner\n\turl = ./inner\n\tignore = none\n'
    )
    git(repository, "config", "submodule.inner.ignore", "none")
    git(repository, "add", "inner", ".gitmodules")
    git(repository, "commit", "-q", "-m", "submodule")
    (inner / "file").write_text("changed")


def missing_objects(how: str) -> Callable[[Path, Path], None]:
    """A partial clone without some of its files, whose remote names a program that would fetch them."""

    def prepare(repository: Path, canary: Path) -> None:
        git(repository, "config", "core.repositoryformatversion", "1")
        git(repository, "config", "extensions.partialClone", "origin")
        git(repository, "config", "remote.origin.promisor", "true")
        if how == "ssh":
            git(repository, "config", "remote.origin.url", "ssh://localhost/nothing")
            git(repository, "config", "core.sshCommand", script(canary))
        elif how == "uploadpack":
            git(repository, "config", "remote.origin.url", str(repository))
            git(repository, "config", "remote.origin.uploadpack", script(canary))
        else:
            git(repository, "config", "protocol.ext.allow", "always")
            git(repository, "config", "remote.origin.url", f"ext::{script(canary)}")
        (repository / GONE).parent.mkdir(parents=True)
        (repository / GONE).write_text("gone")
        commit(repository)
        blob = git(repository, "rev-parse", f"HEAD:{GONE}")
        (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
        (repository / GONE).unlink()
        (repository / ".git" / "index").unlink()

    return prepare


# The command after each is what runs the program in an ordinary git: proof that the trap is a working one.
TRAPS: dict[str, tuple[Callable[[Path, Path], None], list[str] | None]] = {
    "filter.clean": (filter_of("clean"), ["status"]),
    "filter.smudge": (filter_of("smudge"), ["checkout", "HEAD", "--", "."]),
    "filter.process": (filter_of("process"), ["status"]),
    "core.fsmonitor": (setting("core.fsmonitor"), ["status"]),
    "diff.command": (diff_of("command"), ["diff", "HEAD"]),
    "diff.textconv": (diff_of("textconv"), ["diff", "HEAD"]),
    "diff.external": (setting("diff.external"), ["diff", "HEAD"]),
    "core.hooksPath": (hooks_path, ["add", "README.md"]),
    "hooks": (hooks, ["add", "README.md"]),
    "include.path": (included, ["status"]),
    "includeIf": (included_if, ["status"]),
    "worktree configuration": (worktree_config, ["status"]),
    "info/attributes": (info_attributes, ["status"]),
    "submodule": (submodule, ["status"]),
    "core.sshCommand": (missing_objects("ssh"), ["cat-file", "-p", f"HEAD:{GONE}"]),
    "remote.uploadpack": (missing_objects("uploadpack"), None),
    "ext protocol": (missing_objects("ext"), None),
    "core.pager": (setting("core.pager"), None),
    "credential.helper": (setting("credential.helper"), None),
    "gpg.program": (setting("gpg.program"), None),
    "core.alternateRefsCommand": (setting("core.alternateRefsCommand"), None),
    "core.editor": (setting("core.editor"), None),
    "uploadpack.packObjectsHook": (setting("uploadpack.packObjectsHook"), None),
    "alias.diff": (setting("alias.diff"), None),
    "interactive.diffFilter": (setting("interactive.diffFilter"), None),
}


def trapped(name: str, committed: Path, canary: Path) -> Path:
    """The repository with the trap in it, and a changed, a new and a touched leaf."""
    TRAPS[name][0](committed, canary)
    first = next(committed.rglob("qna.yaml"))
    first.write_text(first.read_text() + "# changed\n")
    (committed / LEAF).parent.mkdir(parents=True)
    (committed / LEAF).write_text(first.read_text())
    for file in committed.rglob("qna.yaml"):
        file.touch()
    (committed / "README.md").touch()
    return committed


@pytest.mark.parametrize("name", TRAPS)
def test_git_runs_no_program_of_a_repository(
    name: str, committed: Path, canary: Path, tmp_path: Path
) -> None:
    repository = trapped(name, committed, canary)
    canary.unlink(missing_ok=True)
    assert LEAF in Taxonomy.diff(repository, "HEAD")
    Taxonomy.tree(repository, "HEAD")
    Taxonomy.validate(repository, "HEAD", documents=True)
    branch.at(repository, "HEAD").files()
    try:
        Taxonomy.init(tmp_path / "clone", repository=str(repository))
    except PublicError:
        # A repository with missing objects cannot be cloned.
        assert TRAPS[name][0].__qualname__.startswith("missing_objects")
    assert not canary.exists()
    if (command := TRAPS[name][1]) is not None:
        plain = subprocess.run(
            ["git", *command], cwd=repository, capture_output=True, timeout=60, check=False
        )
        assert canary.exists(), plain.stderr

"""A taxonomy begins whole or not at all: our own small one, or a clone in which nothing of it can act."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Taxonomy
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, Unprocessable
from tests.taxonomy.conftest import commit, git


def test_a_first_taxonomy_is_right_committed_and_compared_at_once() -> None:
    folder = Taxonomy.init()
    assert folder == paths.taxonomy_dir()
    assert {leaf.kind for leaf in Taxonomy.tree().leaves} == {"freeform", "grounded", "knowledge"}
    assert Taxonomy.validate(documents=True) == []
    assert not Taxonomy.diff()
    assert Taxonomy.check() == Taxonomy.leaves()
    assert git(folder, "status", "--porcelain") == ""
    leaf = folder / Taxonomy.leaves()[0]
    leaf.write_text(leaf.read_text() + "# mine\n")
    commit(folder)
    assert Taxonomy.diff() == [Taxonomy.leaves()[0]]


def test_the_least_taxonomy_has_folders_and_no_leaf(tmp_path: Path) -> None:
    folder = Taxonomy.init(tmp_path / "least", minimal=True)
    assert sorted(path.name for path in folder.iterdir() if path.name != ".git") == [
        "README.md",
        "compositional_skills",
        "knowledge",
    ]
    assert Taxonomy.leaves(folder) == []
    assert not Taxonomy.diff(folder)


def test_what_is_there_is_never_lost(tmp_path: Path) -> None:
    folder = tmp_path / "taxonomy"
    folder.mkdir()
    assert Taxonomy.init(folder) == folder
    (folder / "README.md").write_text("mine")
    with pytest.raises(Conflict, match="something in"):
        Taxonomy.init(folder)
    assert (folder / "README.md").read_text() == "mine"
    Taxonomy.init(folder, overwrite=True)
    assert (folder / "README.md").read_text() != "mine"
    [kept] = tmp_path.glob("taxonomy.before-*")
    assert (kept / "README.md").read_text() == "mine"
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(Conflict, match="is a file"):
        Taxonomy.init(file, overwrite=True)


def test_git_settings_of_user_are_unused_and_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    hook = template / "post-commit"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'canary'}\n")
    hook.chmod(0o755)
    settings = tmp_path / "gitconfig"
    settings.write_text(f"[init]\n\ttemplateDir = {template.parent}\n[commit]\n\tgpgSign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    folder = Taxonomy.init(tmp_path / "taxonomy")
    assert git(folder, "log", "--format=%an", "-1") == "ilab-jupyter"
    assert not (tmp_path / "canary").exists()


@pytest.fixture
def hostile(committed: Path, tmp_path: Path) -> Path:
    """A taxonomy with everything in it that could act on a clone, each of which would touch the canary."""
    touch = f"touch {tmp_path / 'canary'}"
    (committed / ".gitattributes").write_text("* filter=canary\n")
    (committed / ".gitmodules").write_text(
        f'[submodule "x"]\n\tpath = x\n\turl = {tmp_path / "other"}\n\tupdate = !{touch}\n'
    )
    (committed / "outside").symlink_to("/etc")
    (committed / "knowledge" / "link.md").symlink_to("/etc/passwd")
    head = git(committed, "rev-parse", "HEAD")
    git(committed, "add", "--all")
    git(committed, "update-index", "--add", "--cacheinfo", f"160000,{head},x")
    git(committed, "commit", "-q", "-m", "hostile")
    for hook in ("post-checkout", "post-update", "pre-receive", "reference-transaction", "post-index-change"):
        path = committed / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{touch}\n")
        path.chmod(0o755)
    git(committed, "config", "filter.canary.smudge", f"{touch}; cat")
    git(committed, "config", "uploadpack.packObjectsHook", touch)
    (tmp_path / "canary").unlink(missing_ok=True)
    return committed


def test_a_clone_is_inert_and_keeps_its_history(hostile: Path, tmp_path: Path) -> None:
    clone = Taxonomy.init(tmp_path / "clone", repository=str(hostile))
    assert not (tmp_path / "canary").exists()
    assert not any(path.is_symlink() for path in clone.rglob("*"))
    assert list((clone / "x").iterdir()) == []
    assert git(clone, "rev-list", "--count", "HEAD") == "2"
    assert not Taxonomy.diff(clone)
    assert len(Taxonomy.leaves(clone)) == 3


def test_clone_can_be_limited_to_branch_and_newest_commit(committed: Path, tmp_path: Path) -> None:
    git(committed, "checkout", "-q", "-b", "autumn/two")
    (committed / "README.md").write_text("autumn")
    commit(committed)
    git(committed, "checkout", "-q", "main")
    clone = Taxonomy.init(
        tmp_path / "clone", repository=f"file://{committed}", branch="autumn/two", minimal=True
    )
    assert (clone / "README.md").read_text() == "autumn"
    assert git(clone, "rev-list", "--count", "HEAD") == "1"
    assert Taxonomy.diff(clone, "origin/autumn/two") == []
    with pytest.raises(InvalidInput, match="no branch or tag 'winter'") as caught:
        Taxonomy.init(tmp_path / "another", repository=str(committed), branch="winter")
    assert "ls-remote" in caught.value.hint


@pytest.mark.parametrize(
    "repository",
    ["-h", "--upload-pack=touch canary", "ext::sh -c 'touch canary'", "EXT::sh", "fd::17", "https:///evil",
     "ssh://-oProxyCommand=touch/x", "http://127.0.0.1/x", "https://169.254.169.254/x", "ftp://h/x", "x\0y"],
)  # fmt: skip
def test_what_is_no_repository_is_refused_and_does_nothing(tmp_path: Path, repository: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Taxonomy.init(tmp_path / "taxonomy", repository=repository)
    assert caught.value.cause == "bad_address"
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]
    assert not Path("canary").exists()


@pytest.mark.parametrize("branch", ["-h", "--upload-pack=x", "a..b", "@{-1}", ""])
def test_what_is_no_branch_is_refused(committed: Path, tmp_path: Path, branch: str) -> None:
    with pytest.raises(InvalidInput):
        Taxonomy.init(tmp_path / "clone", repository=str(committed), branch=branch)
    with pytest.raises(InvalidInput, match="of a repository"):
        Taxonomy.init(tmp_path / "clone", branch="main")


def test_a_failure_leaves_nothing(committed: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Unavailable) as unreachable:
        Taxonomy.init(tmp_path / "clone", repository=str(tmp_path / "nowhere"))
    assert unreachable.value.cause == "not_cloned"
    with pytest.raises(Unprocessable, match="no taxonomy"):
        Taxonomy.init(tmp_path / "clone", repository=str(_other(tmp_path / "home" / "other")))
    (committed / "large.bin").write_bytes(os.urandom(3_000_000))
    commit(committed)
    with pytest.raises(Unprocessable, match="more than 1,000,000 bytes"):
        Taxonomy.init(tmp_path / "clone", repository=str(committed), max_bytes=1_000_000)
    with pytest.raises(Unprocessable, match=r"longer than 0\.001 seconds"):
        Taxonomy.init(tmp_path / "clone", repository=str(committed), timeout=0.001)
    assert sorted(tmp_path.iterdir()) == before


def _other(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    git(folder, "init", "-q")
    commit(folder)
    return folder


def test_a_server_that_says_nothing_is_not_waited_for_forever(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unprocessable, match="longer than 1 seconds"):
            Taxonomy.init(tmp_path / "clone", repository=f"git://127.0.0.1:{port}/x", timeout=1)
    left = subprocess.run(["pgrep", "-f", f"127.0.0.1:{port}"], capture_output=True, text=True)
    assert left.stdout == ""

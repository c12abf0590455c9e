"""Documents of knowledge leaves: fetched at exactly their commit, judged where they are named, and inert."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Taxonomy
from ilab_jupyter.core.taxonomy import Findings
from ilab_jupyter.taxonomy import documents, repository
from ilab_jupyter.taxonomy.documents import matches
from tests.taxonomy.conftest import commit, git

LEAF = "knowledge/transport/railways/brindle_fell/qna.yaml"
REPO, COMMIT, PATTERNS, FIRST = 6, 7, 9, 9  # the lines of the leaf


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A repository of documents."""
    folder = tmp_path / "library"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "railway.md").write_text("# The railway\n\nIt runs up a hill.\n")
    (folder / "deep" / "er" / "second.md").write_text("# Second\n\nMore.\n")
    (folder / "deep" / "picture.png").write_bytes(b"\x89PNG")
    git(folder, "init", "-q")
    commit(folder)
    return folder


def name(taxonomy: Path, repo: str, revision: str, *patterns: str) -> None:
    """Write the leaf so that it names these documents."""
    leaf = taxonomy / LEAF
    text = leaf.read_text().replace("repo: documents/brindle_fell", f"repo: '{repo}'")
    text = text.replace("commit: local", f"commit: '{revision}'")
    lines = "\n".join(f"    - '{pattern}'" for pattern in patterns or ("railway.md",))
    leaf.write_text(text.replace("    - railway.md", lines))


def judged(taxonomy: Path, **limits: float) -> Findings:
    return Taxonomy.validate(taxonomy, documents=True, **limits)  # type: ignore[arg-type]


def told(findings: Findings, line: int, message: str) -> bool:
    [finding] = findings
    assert (finding.file, finding.severity) == (LEAF, "error")
    assert finding.hint
    assert message in finding.message, str(findings)
    return finding.line == line


def cached() -> list[str]:
    folder = paths.documents_dir()
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("form", ["{0}", "file://{0}"])
def test_a_commit_is_fetched_once_and_never_checked_out(taxonomy: Path, library: Path, form: str) -> None:
    revision = git(library, "rev-parse", "HEAD")
    (library / "railway.md").write_text("not committed")
    name(taxonomy, form.format(library), revision)
    assert judged(taxonomy) == []
    [folder] = cached()
    assert folder.endswith(f"-{revision}.git")
    assert not list(paths.documents_dir().rglob("railway.md"))
    library.rename(library.with_name("gone"))
    assert judged(taxonomy) == []


def test_only_the_commit_is_fetched_and_not_its_history(taxonomy: Path, library: Path) -> None:
    (library / "railway.md").write_text("# Again\n\nIt runs.\n")
    revision = commit(library)
    name(taxonomy, str(library), revision)
    assert judged(taxonomy) == []
    assert git(paths.documents_dir() / cached()[0], "rev-list", "--count", revision) == "1"


@pytest.mark.parametrize("called", ["main", "v1", "short"])
def test_a_branch_a_tag_and_a_short_id_are_found(taxonomy: Path, library: Path, called: str) -> None:
    first = git(library, "rev-parse", "HEAD")
    git(library, "tag", "-a", "v1", "-m", "one")
    (library / "other.md").write_text("other\n")
    second = commit(library)
    wanted = {"main": second, "v1": first, "short": first}[called]
    name(taxonomy, str(library), first[:9] if called == "short" else called)
    assert judged(taxonomy) == []
    assert [folder.rpartition("-")[2] for folder in cached()] == [f"{wanted}.git"]


def test_missing_commit_is_reported_at_its_line(taxonomy: Path, library: Path) -> None:
    name(taxonomy, str(library), "0" * 40)
    assert told(judged(taxonomy), COMMIT, "has no commit '0000")
    assert cached() == []


@pytest.mark.parametrize("repo", ["/no/such/folder", "file:///etc", "https://localhost:9/x"])
def test_unreachable_repository_is_reported_at_its_line(taxonomy: Path, repo: str) -> None:
    name(taxonomy, repo, "0123abc")
    assert told(judged(taxonomy), REPO, "cannot be fetched: ")
    assert cached() == []


def test_a_server_that_says_nothing_is_given_up(taxonomy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name(taxonomy, f"git://127.0.0.1:{silent.getsockname()[1]}/x", "0" * 40)
        started = time.monotonic()
        assert told(judged(taxonomy, timeout=1), REPO, "longer than 1 seconds")
        assert time.monotonic() - started < 10
    assert cached() == []


def test_a_repository_that_is_too_large_is_given_up(taxonomy: Path, library: Path) -> None:
    (library / "large.bin").write_bytes(os.urandom(2_000_000))
    revision = commit(library)
    name(taxonomy, str(library), revision)
    text = documents.qna.read(taxonomy, LEAF)
    limits = documents.Limits(repository_bytes=1_000_000)
    [finding] = documents.gather(taxonomy, LEAF, text, taxonomy / "copy", limits=limits)
    assert "more than 1,000,000 bytes" in finding.message
    assert not (taxonomy / "copy").exists()
    assert cached() == []


def test_too_large_documents_are_reported_at_their_pattern(taxonomy: Path, library: Path) -> None:
    (library / "large.md").write_text("large\n" * 1000)
    name(taxonomy, str(library), commit(library), "railway.md", "large.md")
    assert told(judged(taxonomy, max_bytes=5000), FIRST + 1, "more than the 5,000 that are read")


def test_a_tree_of_endless_files_is_given_up(taxonomy: Path, library: Path) -> None:
    """Ten folders in ten folders in ten: a few hundred bytes that spell a hundred million files."""

    def made(*entries: str) -> str:
        done = subprocess.run(
            ["git", "mktree"],
            input="\n".join(entries),
            cwd=library,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    blob = git(library, "hash-object", "-w", "railway.md")
    tree = made(*(f"100644 blob {blob}\t{number}.md" for number in range(10)))
    for _ in range(7):
        tree = made(*(f"040000 tree {tree}\t{number}" for number in range(10)))
    name(taxonomy, str(library), git(library, "commit-tree", tree, "-m", "bomb"), "**/*.md")
    started = time.monotonic()
    assert told(judged(taxonomy), REPO, "more than 100,000 files")
    assert time.monotonic() - started < 20


# (what is written as railway.md, a part of the message)
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no document has anything in it"),
    "blank": (b" \n\n\t" * 1000, "no document has anything in it"),
    "Latin-1": (b"# Caf\n" * 200_000 + b"caf\xe9\n", "is not UTF-8 text, in line 200001"),
    "cut inside a character": ("é".encode() * 600_000 + b"\xc3", "is not UTF-8 text, in line 1"),
    "UTF-16": ("# Railway\n".encode("utf-16"), "is UTF-16"),
    "a zero byte": (b"# Railway\n\0\n", "line 2 has a zero byte"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a pointer to Git LFS",
    ),
}


@pytest.mark.parametrize("position", ["repository", "folder"])
@pytest.mark.parametrize("case", UNREADABLE)
def test_document_that_is_not_text_is_reported(
    taxonomy: Path, library: Path, case: str, position: str
) -> None:
    data, message = UNREADABLE[case]
    if position == "repository":
        (library / "railway.md").write_bytes(data)
        name(taxonomy, str(library), commit(library))
    else:
        (taxonomy / "documents/brindle_fell/railway.md").write_bytes(data)
    empty = case in ("empty", "blank")
    findings = judged(taxonomy)
    [error] = findings.errors
    assert (error.line, message in error.message) == (PATTERNS if empty else FIRST, True), str(findings)


def test_an_empty_document_beside_others_is_left_out(taxonomy: Path, library: Path) -> None:
    (library / "railway.md").write_text("")
    name(taxonomy, str(library), commit(library), "**/*.md")
    [finding] = judged(taxonomy)
    assert (finding.severity, finding.line) == ("style", FIRST)
    assert "'railway.md' is empty" in finding.message


def test_what_is_called_a_pdf_must_be_one(taxonomy: Path, library: Path) -> None:
    (library / "a.pdf").write_bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    (library / "b.pdf").write_text("<html>")
    name(taxonomy, str(library), commit(library), "a.pdf", "b.pdf")
    assert told(judged(taxonomy), FIRST + 1, "'b.pdf' is no PDF")


@pytest.mark.parametrize("pattern", ["nowhere.md", "deep/*.md", "*/second.md"])
def test_pattern_without_matches_is_reported(taxonomy: Path, library: Path, pattern: str) -> None:
    name(taxonomy, str(library), git(library, "rev-parse", "HEAD"), "railway.md", pattern)
    assert told(judged(taxonomy), FIRST + 1, "no .md or .pdf matches")


def test_pattern_that_matches_only_other_files_is_reported(taxonomy: Path, library: Path) -> None:
    name(taxonomy, str(library), git(library, "rev-parse", "HEAD"), "deep/p*")
    assert told(judged(taxonomy), FIRST, "only files that are neither .md nor .pdf")


@pytest.mark.parametrize("position", ["repository", "folder"])
def test_link_out_of_taxonomy_is_reported(taxonomy: Path, library: Path, position: str) -> None:
    folder = library if position == "repository" else taxonomy / "documents/brindle_fell"
    (folder / "railway.md").unlink()
    (folder / "railway.md").symlink_to("/etc/passwd")
    if position == "repository":
        name(taxonomy, str(library), commit(library))
    assert told(judged(taxonomy), FIRST, "is a link, and links are not followed")


def test_a_repository_with_traps_is_fetched_inert(taxonomy: Path, library: Path, tmp_path: Path) -> None:
    touch = f"touch {tmp_path / 'canary'}"
    (library / ".gitattributes").write_text("* filter=canary diff=canary\n")
    (library / ".gitmodules").write_text(
        f'[submodule "x"]\n\tpath = x\n\turl = {library}\n\tupdate = !{touch}\n'
    )
    git(library, "update-index", "--add", "--cacheinfo", f"160000,{git(library, 'rev-parse', 'HEAD')},x")
    revision = commit(library)
    for hook in ("post-checkout", "reference-transaction", "pre-receive", "post-update"):
        path = library / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{touch}\n")
        path.chmod(0o755)
    for setting in ("filter.canary.smudge", "filter.canary.process", "uploadpack.packObjectsHook"):
        git(library, "config", setting, touch)
    (tmp_path / "canary").unlink(missing_ok=True)
    name(taxonomy, str(library), revision, "**/*.md")
    assert judged(taxonomy) == []
    assert not (tmp_path / "canary").exists()


def test_a_folder_may_stand_for_an_address(taxonomy: Path, library: Path) -> None:
    address = "https://example.invalid/library"
    revision = git(library, "rev-parse", "HEAD")
    name(taxonomy, address, revision)
    assert Taxonomy.validate(taxonomy, documents={address: str(library)}) == []
    (library / "railway.md").unlink()
    assert Taxonomy.validate(taxonomy, documents={address: str(library)}) == []
    assert cached() == []


def test_a_damaged_cache_is_fetched_again(taxonomy: Path, library: Path) -> None:
    revision = git(library, "rev-parse", "HEAD")
    name(taxonomy, str(library), revision)
    assert judged(taxonomy) == []
    shutil.rmtree(paths.documents_dir() / cached()[0] / "objects")
    assert judged(taxonomy) == []


def test_leftovers_of_killed_process_are_removed_after_one_day(library: Path) -> None:
    for age, folder in ((2 * 86_400, ".old.partial"), (0, ".new.partial")):
        (paths.documents_dir() / folder).mkdir(parents=True)
        os.utime(paths.documents_dir() / folder, (time.time() - age, time.time() - age))
    repository.fetched(str(library), "main", documents.DEFAULT)
    assert [name for name in cached() if name.startswith(".")] == [".new.partial"]


def test_two_leaves_of_one_commit_share_it(library: Path) -> None:
    revision = git(library, "rev-parse", "HEAD")
    limits = documents.DEFAULT
    first = repository.fetched(str(library), revision, limits)
    again = repository.fetched(str(library), "main", limits)
    assert first == again
    assert [file.path for file in again.files()] == ["deep/er/second.md", "deep/picture.png", "railway.md"]


@pytest.mark.parametrize(
    ("pattern", "path", "matched"),
    [
        ("a.md", "a.md", True),
        ("a.md", "b/a.md", False),
        ("*.md", "a.md", True),
        ("*.md", "b/a.md", False),
        ("*.md", ".a.md", False),
        (".*.md", ".a.md", True),
        ("**/*.md", "a.md", True),
        ("**/*.md", "b/c/a.md", True),
        ("**/*.md", ".b/a.md", False),
        ("b/**", "b/c/a.md", True),
        ("**/c/*", "b/c/a.md", True),
        ("**/c/*", "b/c/d/a.md", False),
        ("./a.md", "a.md", True),
        ("[ab].md", "b.md", True),
        ("A.md", "a.md", False),
        ("**/**/**/**/x.md", "b/" * 12 + "a.md", False),
    ],
)
def test_patterns_match_as_pythons_glob_does(tmp_path: Path, pattern: str, path: str, matched: bool) -> None:
    file = tmp_path / "root" / path
    file.parent.mkdir(parents=True)
    file.write_text("x")
    assert matches(path, [part for part in pattern.split("/") if part != "."]) is matched
    found = glob.glob(str(tmp_path / "root" / pattern), recursive=True)
    assert any(Path(each).is_file() for each in found) is matched


def test_folder_that_links_to_itself_is_reported_at_line(taxonomy: Path) -> None:
    (taxonomy / "loop").symlink_to("loop")
    name(taxonomy, "loop", "local")
    assert told(judged(taxonomy), REPO, "a link that leads to itself")

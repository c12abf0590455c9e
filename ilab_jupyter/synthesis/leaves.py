"""Copies the chosen leaves into a run's folder, with documents of this machine served from git repositories
made there.

instructlab-sdg reads the copies and clones what they name, so the user's own files are never touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ilab_jupyter.errors import Unavailable, Unprocessable
from ilab_jupyter.synthesis import qna, yamltext

MAX_DOCUMENT_BYTES = 256_000_000

# Always the same commit for the same files, whoever runs it and whenever.
_IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (
        ("NAME", "ilab-jupyter"),
        ("EMAIL", "ilab-jupyter@localhost"),
        ("DATE", "2000-01-01T00:00:00Z"),
    )
}


@dataclass(frozen=True)
class Leaf:
    """One leaf as the generator sees it. `node` is instructlab-sdg's name of it and of its files."""

    file: str
    node: str
    kind: Literal["knowledge", "grounded", "freeform"]


@dataclass(frozen=True)
class Copies:
    """The leaves of a run, and the git settings under which their documents can be cloned."""

    root: Path
    leaves: tuple[Leaf, ...]
    environment: dict[str, str]


def copy(root: Path, files: list[str], folder: Path, documents: Mapping[str, str]) -> Copies:
    """Copy `files` of the taxonomy at `root` below `folder`; `documents` maps repository addresses to local
    folders.

    The files are valid already. Unprocessable for documents that are not where the leaf says.
    """
    shutil.rmtree(folder, ignore_errors=True)
    leaves: list[Leaf] = []
    served: dict[str, str] = {}
    for file in files:
        text = yamltext.read((root / file).read_bytes())
        kind = qna.kind_of(text.contents)
        place = _place(root, file, kind)
        leaf = Leaf(file, "_".join(place.parent.parts), kind)
        twin = next((other for other in leaves if other.node == leaf.node), None)
        if twin is not None:
            raise Unprocessable(
                f"{file} and {twin.file} have the same name for the generator, {leaf.node}.",
                "Rename one of the folders.",
            )
        source = (
            _with_documents(text, root, file, folder, documents, served)
            if kind == "knowledge"
            else text.source
        )
        target = folder / "taxonomy" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source, encoding="utf-8", newline="")
        leaves.append(leaf)
    return Copies(folder / "taxonomy", tuple(leaves), _git_environment(served))


def _place(root: Path, file: str, kind: str) -> PurePosixPath:
    place = PurePosixPath(file)
    if place.parts[0] in qna.FOLDERS:
        return place
    return PurePosixPath(
        "knowledge" if kind == "knowledge" else "compositional_skills", root.name or "leaf", place.name
    )


def _with_documents(
    text: yamltext.Text,
    root: Path,
    file: str,
    folder: Path,
    documents: Mapping[str, str],
    served: dict[str, str],
) -> str:
    """The leaf's text with a repository that can be cloned; served: address -> repository, for unchanged
    leaves.
    """
    repo, commit = str(text.contents["document"]["repo"]), str(text.contents["document"]["commit"])
    if repo in documents:
        local = Path(documents[repo]).expanduser().absolute()
        if _has_commit(local, commit):
            served[repo] = str(local)
            return text.source
    elif _is_address(repo):
        return text.source
    else:
        relative = repo.removeprefix("file:")
        local = (root / relative).resolve()
        if not local.is_relative_to(root.resolve()):
            _refuse(
                text, file, f"the folder {relative!r} is outside the taxonomy", "Move it into the taxonomy."
            )
    if not local.is_dir():
        _refuse(text, file, f"the document folder {local} does not exist", "Create it, or correct `repo:`.")
    patterns = [str(pattern) for pattern in text.contents["document"]["patterns"]]
    matched = _matched(local, patterns)
    if not matched:
        _refuse(
            text, file, f"no .md or .pdf in {local} matches {', '.join(patterns)}", "Correct `patterns:`."
        )
    repository, made = _repository(local, matched, folder / "repositories")
    return _replaced(text, {"repo": str(repository), "commit": made})


def _is_address(repo: str) -> bool:
    """A URL, an scp-like address or an absolute path: git takes it as it is. `file:` alone is our relative
    form.
    """
    return (
        "://" in repo
        or repo.startswith(("/", "~"))
        or re.match(r"[\w.-]+@[\w.-]+:|[\w.-]+\.[\w.-]+:", repo) is not None
    )


def _refuse(text: yamltext.Text, file: str, message: str, mend: str) -> None:
    line, _ = text.place(["document", "repo"])
    raise Unprocessable(f"{file}:{line}: {message}.", mend, cause="no_documents")


def _matched(local: Path, patterns: list[str]) -> list[Path]:
    found = {
        path for pattern in patterns for path in local.glob(pattern) if path.suffix.lower() in (".md", ".pdf")
    }
    inside = [path for path in found if path.is_file() and path.resolve().is_relative_to(local.resolve())]
    if sum(path.stat().st_size for path in inside) > MAX_DOCUMENT_BYTES:
        raise Unprocessable(
            f"The documents in {local} have more than {MAX_DOCUMENT_BYTES:,} bytes.", "Split the leaf."
        )
    return sorted(inside)


def _repository(local: Path, matched: list[Path], repositories: Path) -> tuple[Path, str]:
    repository = repositories / hashlib.sha256(str((local, matched)).encode()).hexdigest()[:16]
    shutil.rmtree(repository, ignore_errors=True)
    for path in matched:
        target = repository / path.relative_to(local)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for arguments in (
        ["init", "-q", "--initial-branch=main"],
        ["add", "--all", "--force"],
        ["commit", "-q", "-m", "Documents"],
    ):
        _git(repository, *arguments)
    return repository, _git(repository, "rev-parse", "HEAD").strip()


def _has_commit(local: Path, commit: str) -> bool:
    # a plain folder below somebody's repository is no repository of its own
    if not ((local / ".git").exists() or (local / "HEAD").is_file()):
        return False
    asked = [
        "git",
        "-C",
        str(local),
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{commit}^{{commit}}",
    ]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _git(folder: Path, *arguments: str) -> str:
    # the user's own settings (hooks, signing, line ends) have no say in a folder that is ours
    clean = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_COUNT": "0"}
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **_IDENTITY, **clean}
    )
    if done.returncode != 0:
        raise Unavailable(
            f"git {arguments[0]} failed in {folder}: {done.stderr.strip()[-300:]}", "Check the disk and git."
        )
    return done.stdout


def _replaced(text: yamltext.Text, values: Mapping[str, str]) -> str:
    source = text.source
    spans = sorted(((text.span(["document", key]), value) for key, value in values.items()), reverse=True)
    for (start, end), value in spans:
        quoted = "'" + value.replace("'", "''") + "'"
        # the node of a block scalar ends after its line end
        source = source[:start] + quoted + ("\n" if source[start:end].endswith("\n") else "") + source[end:]
    return source


def _git_environment(served: Mapping[str, str]) -> dict[str, str]:
    """Git settings for one process: local repositories in place of addresses, and never a question or an
    endless wait.
    """
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    settings = [(f"url.file://{path}.insteadOf", address) for address, path in sorted(served.items())]
    environment = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_HTTP_LOW_SPEED_LIMIT": "100",
        "GIT_HTTP_LOW_SPEED_TIME": "30",
        "GIT_CONFIG_COUNT": str(first + len(settings)),
    }
    for index, (key, value) in enumerate(settings, first):
        environment[f"GIT_CONFIG_KEY_{index}"] = key
        environment[f"GIT_CONFIG_VALUE_{index}"] = value
    return environment

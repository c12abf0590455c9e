"""Copies the chosen leaves into a run's folder, with their documents served from git repositories made there.

instructlab-sdg reads the copies and clones what they name, so it meets neither the network nor the user's own
files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.taxonomy import documents as documents_of
from ilab_jupyter.taxonomy import git, qna, yamltext
from ilab_jupyter.taxonomy.folder import DOMAINS, node_name


@dataclass(frozen=True)
class Leaf:
    """One leaf as the generator sees it. `node` is instructlab-sdg's name of it and of its files; `copy` its
    path below the copies.
    """

    file: str
    node: str
    kind: qna.Kind
    copy: str = ""


@dataclass(frozen=True)
class Copies:
    """The leaves of a run, and the git settings under which their documents can be cloned."""

    root: Path
    leaves: tuple[Leaf, ...]
    environment: dict[str, str]


def copy(
    root: Path,
    files: list[str],
    folder: Path,
    documents: Mapping[str, str],
    stopping: Callable[[], bool] = lambda: False,
) -> Copies:
    """Copy `files` of the taxonomy at `root` below `folder`; `documents` maps repository addresses to local
    folders.

    The files are valid already. Unprocessable for documents that are not where the leaf says; Stopped where
    `stopping` says so while they are fetched.
    """
    limits = documents_of.Limits(stopping=stopping)
    shutil.rmtree(folder, ignore_errors=True)
    leaves: list[Leaf] = []
    for file in files:
        text = _read(root, file)
        kind = qna.kind_of(text.contents)
        position = _position(root, file, kind)
        leaf = Leaf(file, node_name(position), kind, str(position))
        twin = next((other for other in leaves if other.node == leaf.node), None)
        if twin is not None:
            raise Unprocessable(
                f"{file} and {twin.file} have the same name for the generator, {leaf.node}.",
                "Rename one of the folders.",
            )
        source = text.source
        if kind == "knowledge":
            below = folder / "repositories" / leaf.node
            source = _with_documents(root, file, text, below, documents, limits)
        target = folder / "taxonomy" / position
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source, encoding="utf-8", newline="")
        leaves.append(leaf)
    return Copies(folder / "taxonomy", tuple(leaves), {**git.OURS, "GIT_TERMINAL_PROMPT": "0"})


def _read(root: Path, file: str) -> yamltext.Text:
    try:
        return qna.read(root, file)
    except yamltext.Broken as broken:  # changed since it was judged
        raise Unprocessable(
            f"{file}:{broken.line}: {broken.message}.", broken.hint, cause="bad_taxonomy"
        ) from None


def _position(root: Path, file: str, kind: str) -> PurePosixPath:
    position = PurePosixPath(file)
    if position.parts[0] in DOMAINS:
        return position
    return PurePosixPath(
        "knowledge" if kind == "knowledge" else "compositional_skills", root.name or "leaf", position.name
    )


def _with_documents(
    root: Path,
    file: str,
    text: yamltext.Text,
    repository: Path,
    documents: Mapping[str, str],
    limits: documents_of.Limits,
) -> str:
    """The leaf's text with the repository of ours that holds its documents."""
    findings = documents_of.gather(root, file, text, repository, documents, limits)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise Unprocessable(f"{errors[0]}{more}.", errors[0].hint, cause="no_documents")
    return _replaced(text, {"repo": str(repository), "commit": documents_of.committed(repository)})


def _replaced(text: yamltext.Text, values: Mapping[str, str]) -> str:
    source = text.source
    spans = sorted(((text.span(["document", key]), value) for key, value in values.items()), reverse=True)
    for (start, end), value in spans:
        quoted = "'" + value.replace("'", "''") + "'"
        # the node of a block scalar ends after its line end
        source = source[:start] + quoted + ("\n" if source[start:end].endswith("\n") else "") + source[end:]
    return source

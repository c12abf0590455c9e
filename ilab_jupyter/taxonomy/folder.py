"""A taxonomy on disk: where its root is, and which of its files are leaves."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

from ilab_jupyter import paths
from ilab_jupyter.errors import NotFound

DOMAINS = ("compositional_skills", "knowledge")
LEAF = "qna.yaml"


def taxonomy_root(path: str | os.PathLike[str]) -> Path:
    """The folder that holds compositional_skills/ and knowledge/; for a path inside one of these, found
    upwards from it.
    """
    position = Path(os.path.normpath(paths.given(path).absolute()))
    if paths.is_folder(position) and any(paths.is_folder(position / domain) for domain in DOMAINS):
        return position
    for parent in (position, *position.parents):
        if parent.name in DOMAINS and paths.is_folder(parent):
            return parent.parent
    return position.parent if paths.is_file(position) else position


def file_names(path: str | os.PathLike[str]) -> list[str]:
    """Every file at or below `path` that is, or was probably meant as, a qna.yaml, by its path below the
    root, sorted. Folders that are links are not entered.

    NotFound for a path that is not there.
    """
    position = Path(os.path.normpath(paths.given(path).absolute()))
    root = taxonomy_root(position)
    if paths.is_file(position):
        return [position.relative_to(root).as_posix()]
    if not paths.is_folder(position):
        raise NotFound(
            f"There is no taxonomy at {path} that you may read.",
            "Give a folder with qna.yaml files, or one qna.yaml; Taxonomy.init() makes one.",
        )
    tops: Iterable[Path] = [root / domain for domain in DOMAINS] if position == root else [position]
    found = []
    for top in tops:
        for here, _, files in os.walk(top):
            found += [(Path(here) / file).relative_to(root).as_posix() for file in files if is_meant(file)]
    return sorted(found)


def is_meant(file: str) -> bool:
    """Whether a file of this name is meant as a leaf."""
    return file.casefold() in ("qna.yaml", "qna.yml")


def is_leaf(name: str) -> bool:
    """Whether the file of this path is read as a leaf."""
    return name.rpartition("/")[2] == LEAF


def node_name(file: PurePath) -> str:
    """How instructlab-sdg names the leaf at this path below the taxonomy, and its files."""
    return "_".join(file.parent.parts)

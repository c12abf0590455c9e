"""SDK: a taxonomy begun, looked at, compared and judged. Light: no engine library is imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ilab_jupyter import paths
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.taxonomy import changes, creation, documents, git, qna, tree
from ilab_jupyter.taxonomy import names as leaf_names
from ilab_jupyter.taxonomy.changes import Change, Diff
from ilab_jupyter.taxonomy.finding import Finding, Findings
from ilab_jupyter.taxonomy.folder import file_names, is_leaf, taxonomy_root
from ilab_jupyter.taxonomy.tree import Node, Tree

__all__ = ["Change", "Diff", "Finding", "Findings", "Node", "Taxonomy", "Tree", "taxonomy_root"]

PathArgument = str | os.PathLike[str] | None


class Taxonomy:
    """Questions to a taxonomy: a folder with compositional_skills/ and knowledge/, a folder in one of these,
    or one qna.yaml. Without a path, InstructLab's own folder, `~/.local/share/instructlab/taxonomy`.

    Files are named by their path below the taxonomy's root, with forward slashes.
    """

    @staticmethod
    def init(
        path: PathArgument = None,
        *,
        repository: str | None = None,
        branch: str | None = None,
        minimal: bool = False,
        overwrite: bool = False,
        timeout: float = 600.0,
        max_bytes: int = 2_000_000_000,
    ) -> Path:
        """Begin a taxonomy in the folder `path`, and return it: all of it is there, or nothing.

        Without `repository` it is a small one of our own, with an example leaf of each kind, committed to a
        new git repository; `minimal` leaves out the examples. With `repository`, a URL or a path, it is a
        clone at `branch`, without submodules and hooks, in at most `timeout` seconds and `max_bytes`;
        `minimal` leaves out the history.

        Conflict where something is in the folder; with `overwrite` that is kept beside it, under a name with
        the date. InvalidInput for what is no address or branch, Unavailable where the repository cannot be
        reached, Unprocessable where it is too large or no taxonomy.
        """
        return creation.begin(
            _folder(path), repository, branch, minimal, overwrite, git.Limits(timeout, max_bytes)
        )

    @staticmethod
    def leaves(path: PathArgument = None) -> list[str]:
        """Every qna.yaml, sorted. NotFound for a path that is not there."""
        return [name for name in file_names(_folder(path)) if is_leaf(name)]

    @staticmethod
    def diff(path: PathArgument = None, base: str | None = None) -> Diff:
        """The qna.yaml files that are new or changed since the git revision `base`: true where there is one,
        and a sequence of their names, sorted.

        Without `base` it is InstructLab's usual one, `origin/main`, which `init` leaves at its first commit;
        `empty` takes all leaves, and so does a taxonomy without git. Changes count from the point where HEAD
        left the base, committed or not, files unknown to git included. A single qna.yaml is always taken.

        InvalidInput for an unknown revision, Unprocessable where the taxonomy is not in a git repository.
        """
        return changes.compare(_folder(path), base)

    @staticmethod
    def validate(
        path: PathArgument = None,
        base: str | None = changes.EMPTY,
        documents: bool | Mapping[str, str] = False,
        *,
        timeout: float = 120.0,
        max_bytes: int = 256_000_000,
    ) -> Findings:
        """What is wrong in the files that `diff` names, and in files that look misnamed; by file and line.

        With `documents` those of knowledge leaves are read as well, as before each generation: fetched into a
        cache, never checked out, each leaf in at most `timeout` seconds and `max_bytes` of documents. A
        mapping names local folders that stand for repository addresses, as `Data(documents=...)` takes it.

        NotFound for a path that is not there, Unprocessable for a taxonomy without any leaf.
        """
        return _judged(_folder(path), base, documents, timeout, max_bytes)[1]

    @staticmethod
    def check(path: PathArgument = None, base: str | None = changes.EMPTY) -> list[str]:
        """The leaves of `diff`, once nothing in them is an error; Unprocessable names the first error
        otherwise. It is what every generation begins with.
        """
        diff, findings = _judged(_folder(path), base)
        if findings.errors:
            first, *rest = findings.errors
            more = f" ({len(rest)} more)" if rest else ""
            raise Unprocessable(
                f"{first}{more}.", first.hint or "Mend this line and try again.", cause="bad_taxonomy"
            )
        if not diff:
            raise Unprocessable(
                f"No leaf of {_folder(path)} has changed since {diff.base}.",
                "Change a qna.yaml, choose an older base, or use the base `empty` for all leaves.",
                cause="no_changes",
            )
        return list(diff)

    @staticmethod
    def tree(path: PathArgument = None, base: str | None = None) -> Tree:
        """Every leaf in its folders: its kind, how many seed examples it has, its findings, and how it has
        changed since `base`, as `diff` tells it.
        """
        return tree.tree(_folder(path), base)


def _folder(path: PathArgument) -> Path:
    return paths.taxonomy_dir() if path is None else paths.given(path)


def _judged(
    path: Path,
    base: str | None,
    read: bool | Mapping[str, str] = False,
    timeout: float = 0.0,
    max_bytes: int = 0,
) -> tuple[Diff, Findings]:
    diff = changes.compare(path, base)
    names = sorted({*diff, *diff.misnamed})
    if not names and not file_names(path):
        raise Unprocessable(
            f"{path} has no qna.yaml below compositional_skills/ or knowledge/.",
            "Choose a folder that contains one of these two folders with a leaf in it.",
            cause="no_leaves",
        )
    places = read if isinstance(read, Mapping) else {}
    limits = documents.Limits(timeout, document_bytes=max_bytes)
    found: list[Finding] = list(leaf_names.findings(diff))
    for name in names:
        text, findings = qna.look(diff.root, name)
        found += findings
        wrong = any(finding.severity == "error" for finding in findings)
        if read is not False and text is not None and not wrong and qna.kind_of(text.contents) == "knowledge":
            with tempfile.TemporaryDirectory() as copies:
                found += documents.gather(diff.root, name, text, Path(copies) / "copy", places, limits)
    found.sort(key=lambda finding: (finding.file, finding.line))
    return diff, Findings(tuple(found))

"""SDK: create, list, compare and validate a taxonomy. Light: no engine library is imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.configuration.arguments import DATA
from ilab_jupyter.core.calling import defaultmethod
from ilab_jupyter.core.config import Config
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
    """A folder with compositional_skills/ and knowledge/, a folder in one of these, or one qna.yaml.

    Without a path, InstructLab's own folder, `~/.local/share/instructlab/taxonomy`. The constructor's values
    are the defaults of the methods, and those of `configuration` (a Config, a mapping of its sections or a
    path) are the defaults of the constructor. Each method can be called on the class: `Taxonomy.diff()`.

    Files are named by their path below the taxonomy's root, with forward slashes.
    """

    def __init__(
        self,
        taxonomy_path: PathArgument = None,
        taxonomy_base: str | None = None,
        configuration: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    ) -> None:
        configured = Config.of(configuration).resolvable.arguments(DATA)
        self.taxonomy_path = paths.given(
            taxonomy_path or configured.get("taxonomy_path") or paths.taxonomy_dir()
        )
        self.taxonomy_base: str | None = (
            configured.get("taxonomy_base") if taxonomy_base is None else taxonomy_base
        )

    def __repr__(self) -> str:
        return f"Taxonomy({str(self.taxonomy_path)!r})"

    @defaultmethod
    def init(
        self,
        taxonomy_path: PathArgument = None,
        *,
        repository: str | None = None,
        branch: str | None = None,
        minimal: bool = False,
        overwrite: bool = False,
        timeout: float = 600.0,
        max_bytes: int = 2_000_000_000,
    ) -> Path:
        """Create a taxonomy in the folder `taxonomy_path`, completely or not at all, and return the folder.

        Without `repository` it is a small one of our own, with an example leaf of each kind, committed to a
        new git repository; `minimal` leaves out the examples. With `repository`, a URL or a path, it is a
        clone at `branch`, without submodules and hooks, in at most `timeout` seconds and `max_bytes`;
        `minimal` leaves out the history.

        Conflict where the folder is not empty; with `overwrite` its content is kept beside it, under a name
        with the date. InvalidInput for a wrong address or branch, Unavailable where the repository cannot be
        reached, Unprocessable where it is too large or not a taxonomy.
        """
        return creation.begin(
            self._path(taxonomy_path), repository, branch, minimal, overwrite, git.Limits(timeout, max_bytes)
        )

    @defaultmethod
    def leaves(self, taxonomy_path: PathArgument = None) -> list[str]:
        """List every qna.yaml, sorted. NotFound for a path that does not exist."""
        return [name for name in file_names(self._path(taxonomy_path)) if is_leaf(name)]

    @defaultmethod
    def diff(self, taxonomy_path: PathArgument = None, taxonomy_base: str | None = None) -> Diff:
        """The qna.yaml files that are new or changed since the git revision `taxonomy_base`.

        The result is true if there are any, and a sorted sequence of their names. Without a base it is
        InstructLab's usual one, `origin/main`, which `init` leaves at its first commit; `empty` takes all
        leaves, and so does a taxonomy without git. Changes count from the point where HEAD left the base,
        committed or not, files unknown to git included. A single qna.yaml is always taken.

        InvalidInput for an unknown revision, Unprocessable where the taxonomy is not in a git repository.
        """
        return changes.compare(self._path(taxonomy_path), self._base(taxonomy_base))

    @defaultmethod
    def validate(
        self,
        taxonomy_path: PathArgument = None,
        taxonomy_base: str | None = None,
        documents: bool | Mapping[str, str] = False,
        *,
        timeout: float = 120.0,
        max_bytes: int = 256_000_000,
    ) -> Findings:
        """Find what is wrong in the files that `diff` names, and in misnamed files, by file and line.

        All leaves are checked where no base is given. With `documents` those of knowledge leaves are read as
        well, as before each generation: fetched into a cache, never checked out, each leaf in at most
        `timeout` seconds and `max_bytes` of documents. A mapping gives local folders in place of repository
        addresses, as `Data(documents=...)` takes it.

        NotFound for a path that does not exist, Unprocessable for a taxonomy without any leaf.
        """
        base = self._base(taxonomy_base, changes.EMPTY)
        return _validated(self._path(taxonomy_path), base, documents, timeout, max_bytes)[1]

    @defaultmethod
    def check(self, taxonomy_path: PathArgument = None, taxonomy_base: str | None = None) -> list[str]:
        """The leaves of `diff`, all where no base is given, if none has an error; every generation uses it.

        Unprocessable for the first error, and where no leaf has changed.
        """
        path = self._path(taxonomy_path)
        diff, findings = _validated(path, self._base(taxonomy_base, changes.EMPTY))
        if findings.errors:
            first, *rest = findings.errors
            more = f" ({len(rest)} more)" if rest else ""
            raise Unprocessable(
                f"{first}{more}.", first.hint or "Correct this line and try again.", cause="bad_taxonomy"
            )
        if not diff:
            raise Unprocessable(
                f"No leaf of {path} has changed since {diff.base}.",
                "Change a qna.yaml, choose an older base, or use the base `empty` for all leaves.",
                cause="no_changes",
            )
        return list(diff)

    @defaultmethod
    def tree(self, taxonomy_path: PathArgument = None, taxonomy_base: str | None = None) -> Tree:
        """Every leaf in its folders: kind, number of seed examples, findings, and change since the base."""
        return tree.tree(self._path(taxonomy_path), self._base(taxonomy_base))

    def _path(self, given: PathArgument) -> Path:
        return self.taxonomy_path if given is None else paths.given(given)

    def _base(self, given: str | None, default: str | None = None) -> str | None:
        return next((base for base in (given, self.taxonomy_base) if base is not None), default)


def _validated(
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
    folders = read if isinstance(read, Mapping) else {}
    limits = documents.Limits(timeout, document_bytes=max_bytes)
    found: list[Finding] = list(leaf_names.findings(diff))
    for name in names:
        text, findings = qna.look(diff.root, name)
        found += findings
        wrong = any(finding.severity == "error" for finding in findings)
        if read is not False and text is not None and not wrong and qna.kind_of(text.contents) == "knowledge":
            with tempfile.TemporaryDirectory() as copies:
                found += documents.gather(diff.root, name, text, Path(copies) / "copy", folders, limits)
    found.sort(key=lambda finding: (finding.file, finding.line))
    return diff, Findings(tuple(found))

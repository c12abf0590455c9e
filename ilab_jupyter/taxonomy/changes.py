"""What has changed in a taxonomy since a git revision, leaf by leaf."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

from ilab_jupyter.display import Shown, html, table
from ilab_jupyter.errors import InvalidInput, Unprocessable
from ilab_jupyter.taxonomy import address, git
from ilab_jupyter.taxonomy.finding import shown
from ilab_jupyter.taxonomy.folder import file_names, is_leaf, is_meant, taxonomy_root
from ilab_jupyter.taxonomy.isolation import isolated

EMPTY = "empty"

# InstructLab's own base first; then where a clone, or the branch that it is on, came from.
_USUAL = ("origin/main", "origin/HEAD", "@{upstream}")

Kind = Literal["added", "modified", "renamed", "untracked", "deleted"]
_KINDS: dict[str, Kind] = {"A": "added", "D": "deleted", "R": "renamed"}


@dataclass(frozen=True)
class Change(Shown):
    """One leaf that is not as it was. `before` is its earlier path where it was renamed."""

    file: str
    kind: Kind
    before: str | None = None

    def __str__(self) -> str:
        came = "" if self.before is None else f" (was {shown(self.before, 1000)})"
        return f"{self.kind:10}{shown(self.file, 1000)}{came}"


@dataclass(frozen=True, eq=False)
class Diff(Shown, Sequence[str]):
    """The leaves to teach, by file name: those that are new or changed since `base`, sorted.

    True where there is one, and equal to any sequence of the same names. `changes` says of each how it
    changed; a deleted leaf is there too, but not among the names, since there is nothing of it to teach.
    `commit` is what the leaves were compared with, None for the base `empty`. `misnamed` are files such as
    qna.yml that were meant as leaves and are not read.
    """

    root: Path
    base: str
    commit: str | None
    changes: tuple[Change, ...]
    misnamed: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The names, as a tuple."""
        return tuple(change.file for change in self.changes if change.kind != "deleted")

    @property
    def deleted(self) -> tuple[str, ...]:
        """Leaves that were there at `base` and are gone."""
        return tuple(change.file for change in self.changes if change.kind == "deleted")

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self.files[index]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(self.files)

    def __str__(self) -> str:
        since = "" if self.commit is None else f" since {shown(self.base)} ({self.commit[:12]})"
        lines = [str(change) for change in self.changes] or [f"Nothing has changed{since}."]
        return "\n".join(lines + [f"{'misnamed':10}{shown(name, 1000)}" for name in self.misnamed])

    def _repr_html_(self) -> str:
        since = "" if self.commit is None else f" since {shown(self.base)} ({self.commit[:12]})"
        if not self.changes and not self.misnamed:
            return f"<p>Nothing has changed{html(since)}.</p>"
        rows: list[tuple[str, str, str]] = []
        rows += [(change.kind, change.file, change.before or "") for change in self.changes]
        rows += [("misnamed", name, "only qna.yaml is read") for name in self.misnamed]
        return table((f"change{since}", "file", "was"), [[shown(cell, 1000) for cell in row] for row in rows])


def compare(path: Path, base: str | None) -> Diff:
    """The leaves at or below `path` that differ from the git revision `base`, committed or not, from the
    point where HEAD left it; files unknown to git included.

    For `empty` all of them; for None InstructLab's usual base, or `empty` where the repository has none.
    InvalidInput for an unknown revision, Unprocessable for a taxonomy that is not in a git repository.
    """
    position = Path(os.path.normpath(path.absolute()))
    root, present = taxonomy_root(position), file_names(position)
    found = None
    if base is None:
        found = _usual(root)
    elif base != EMPTY and not position.is_file():
        found = base, _resolved(root, path, base)
    if found is None:
        changes = [Change(name, "added") for name in present if is_leaf(name)]
        return Diff(root, EMPTY, None, tuple(changes), tuple(name for name in present if not is_leaf(name)))
    start = _start(root, found[1])
    changed = _changes_since(root, start)
    there, below = set(present), position.relative_to(root)
    changes = [
        change
        for name, change in sorted(changed.items())
        if is_leaf(name)
        and (name in there or (change.kind == "deleted" and Path(name).is_relative_to(below)))
    ]
    misnamed = tuple(name for name in present if name in changed and not is_leaf(name))
    return Diff(root, found[0], start, tuple(changes), misnamed)


def _usual(root: Path) -> tuple[str, str] | None:
    for name in _USUAL:
        try:
            return name, _commit(root, name)
        except git.Failed:
            continue
    return None


def _commit(root: Path, name: str) -> str:
    # resolved to an id first: a name is then never taken for an option, nor for another branch's ending
    answer = git.ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return answer.strip()


def _resolved(root: Path, path: Path, base: str) -> str:
    try:
        git.ask(root, "rev-parse", "--git-dir")
    except git.Failed as error:
        if "dubious ownership" in error.said:
            raise Unprocessable(
                f"git does not trust the repository of {path}, which belongs to another user.",
                f"If you do: git config --global --add safe.directory {root}",
                cause="not_a_repository",
            ) from None
        raise Unprocessable(
            f"{path} is not in a git repository, so nothing can be compared with {base!r}.",
            "Use the base `empty` for all leaves, or `git init` the taxonomy.",
            cause="not_a_repository",
        ) from None
    if address.is_revision(base):
        try:
            return _commit(root, base)
        except git.Failed:
            pass  # reported below, with what there is instead
    kinds = ("refs/heads", "refs/remotes", "refs/tags")
    names = git.ask(root, "for-each-ref", "--format=%(refname:short)", *kinds)
    close = difflib.get_close_matches(base[:80], names.splitlines()[:10_000], 3, 0.5)
    if close:
        step = f"Did you mean {' or '.join(close)}? `empty` takes all leaves."
    elif names:
        step = "Give a branch, a tag or a commit that `git log` shows, or `empty` for all leaves."
    else:
        step = "It has no commit yet: commit something first, or use the base `empty` for all leaves."
    raise InvalidInput(
        f"The taxonomy's repository has no revision {shown(base)!r}.", step, cause="unknown_revision"
    )


def _start(root: Path, commit: str) -> str:
    """Where HEAD left `commit`; `commit` itself where they have nothing in common, or there is no HEAD."""
    try:
        return git.ask(root, "merge-base", "HEAD", commit).split()[0]
    except git.Failed:
        return commit


def _changes_since(root: Path, start: str) -> dict[str, Change]:
    """Every file that git sees as changed below the root and that is named like a leaf."""
    try:
        with isolated(root) as repository:
            words = repository.ask(
                "diff", "--name-status", "-z", "--find-renames", "--no-ext-diff", "--no-textconv",
                "--relative", "--ignore-submodules=all", start, "--",
            ).split("\0")  # fmt: skip
            others = repository.ask("ls-files", "--others", "--exclude-standard", "-z").split("\0")
    except git.Failed as error:
        raise Unprocessable(
            f"git cannot compare the taxonomy: {shown(error.said, 300)}.",
            f"See what `git -C {root} status` says, or use the base `empty` for all leaves.",
            cause="not_compared",
        ) from None
    changed: dict[str, Change] = {}
    rest = iter(words)
    for status in rest:
        if not status:
            break
        name, before = next(rest), None
        if status[0] in "RC":
            before, name = name, next(rest)
        kind = _KINDS.get(status[0], "modified")
        changed[name] = Change(name, kind, before if kind == "renamed" else None)
    for name in others:
        if name:
            changed[name] = Change(name, "untracked")
    return {name: change for name, change in changed.items() if is_meant(name.rpartition("/")[2])}

"""A taxonomy as a tree: what each leaf teaches, how many seed examples it has, what is wrong or new in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.display import Shown, html
from ilab_jupyter.taxonomy import changes, qna
from ilab_jupyter.taxonomy.finding import shown
from ilab_jupyter.taxonomy.folder import file_names, is_leaf, taxonomy_root

DEEPEST = 60


class Node(BaseModel):
    """A folder of the taxonomy; a leaf where `file` is not None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    children: tuple[Node, ...] = ()
    file: str | None = Field(default=None, description="Path of its qna.yaml below the root.")
    kind: qna.Kind | None = Field(default=None, description="None for a folder and for a broken leaf.")
    seeds: int = Field(default=0, description="Seed examples.")
    errors: int = 0
    style: int = Field(default=0, description="Findings of style.")
    change: changes.Kind | None = Field(default=None, description="Since the base; None for no change.")

    @property
    def details(self) -> str:
        """What is known of a leaf, such as `freeform, 6 seeds, modified`."""
        if self.file is None:
            return ""
        if self.change == "deleted":
            return "deleted"
        words = [self.kind or "broken", _count(self.seeds, "seed")]
        words += [_count(self.errors, "error")] if self.errors else []
        words += [f"{self.style} of style"] if self.style else []
        return ", ".join([*words, self.change] if self.change else words)

    def leaves(self) -> Iterator[Node]:
        """The leaves in it, itself first."""
        if self.file is not None:
            yield self
        for child in self.children:
            yield from child.leaves()


class Tree(Shown, BaseModel):
    """A whole taxonomy, or the requested part. `base` is the revision that the changes count from;
    None where they are not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    base: str | None
    domains: tuple[Node, ...]

    @property
    def leaves(self) -> tuple[Node, ...]:
        """All leaves, by path."""
        return tuple(leaf for domain in self.domains for leaf in domain.leaves())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return self.model_dump(mode="json")

    @property
    def _summary(self) -> str:
        leaves = [leaf for leaf in self.leaves if leaf.change != "deleted"]
        words = [_count(len(leaves), "leaf"), _count(sum(leaf.seeds for leaf in leaves), "seed")]
        errors = sum(leaf.errors for leaf in leaves)
        words += [_count(errors, "error")] if errors else []
        if self.base is not None:
            changed = sum(leaf.change is not None for leaf in self.leaves)
            words.append(f"{changed} changed since {self.base}")
        return ", ".join(words)

    def __str__(self) -> str:
        lines = [self.root]
        for index, domain in enumerate(self.domains):
            lines += _drawn(domain, "", index == len(self.domains) - 1)
        return "\n".join([*lines, self._summary])

    def _repr_html_(self) -> str:
        folded = "".join(_folded(domain) for domain in self.domains)
        return f"<div><code>{html(self.root)}</code>{folded}<p>{html(self._summary)}</p></div>"


def tree(path: Path, base: str | None) -> Tree:
    """The tree at or below `path`, with the changes since `base`, where None is the usual one."""
    diff = changes.compare(path, base)
    since = diff.base if diff.commit is not None else None
    changed = {change.file: change.kind for change in diff.changes} if since is not None else {}
    root = taxonomy_root(path)
    leaves = {name: _leaf(root, name, changed.get(name)) for name in file_names(path) if is_leaf(name)}
    for name in diff.deleted:
        leaves[name] = {"file": shown(name, 1000), "change": "deleted"}
    return Tree(root=shown(str(root), 1000), base=since, domains=_nested(leaves))


def _leaf(root: Path, name: str, change: changes.Kind | None) -> dict[str, Any]:
    text, findings = qna.look(root, name)
    errors = sum(finding.severity == "error" for finding in findings)
    seeds = text.contents.get("seed_examples") if text is not None else None
    return {
        "file": shown(name, 1000),
        "kind": None if errors or text is None else qna.kind_of(text.contents),
        "seeds": len(seeds) if isinstance(seeds, list) else 0,
        "errors": errors,
        "style": len(findings) - errors,
        "change": change,
    }


def _nested(leaves: dict[str, dict[str, Any]], depth: int = 1) -> tuple[Node, ...]:
    """Folders deeper than any JSON reader follows are one node, with the rest of the path as its name."""
    below: dict[str, dict[str, dict[str, Any]]] = {}
    own: dict[str, dict[str, Any]] = {}
    for name, facts in leaves.items():
        first, *rest = PurePosixPath(name).parts
        if depth == DEEPEST and rest:
            first, rest = name.rpartition("/")[0], rest[-1:]
        if len(rest) <= 1:  # none where a single qna.yaml was given by its own path
            own[first] = facts
        else:
            below.setdefault(first, {})["/".join(rest)] = facts
    return tuple(
        Node(name=shown(name), children=_nested(below.get(name, {}), depth + 1), **own.get(name, {}))
        for name in sorted({*below, *own})
    )


def _drawn(node: Node, indent: str, last: bool) -> list[str]:
    details = f"  {node.details}" if node.details else ""
    lines = [f"{indent}{'└── ' if last else '├── '}{node.name}{details}"]
    for index, child in enumerate(node.children):
        lines += _drawn(child, indent + ("    " if last else "│   "), index == len(node.children) - 1)
    return lines


def _folded(node: Node) -> str:
    details = f" <small>{html(node.details)}</small>" if node.details else ""
    line = f"{html(node.name)}{details}"
    if not node.children:
        return f"<div style='margin-left:1.2em'>{line}</div>"
    inside = "".join(_folded(child) for child in node.children)
    return f"<details open style='margin-left:1.2em'><summary>{line}</summary>{inside}</details>"


def _count(number: int, noun: str) -> str:
    plural = "leaves" if noun == "leaf" else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"

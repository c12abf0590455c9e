"""Comparing a working tree with git without the repository's own configuration, which can name programs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ilab_jupyter.taxonomy import git

# What decides whether a file of the working tree counts as changed or as ignored. None names a program.
_CARRIED = ("autocrlf", "eol", "filemode", "ignorecase", "precomposeunicode", "symlinks", "excludesfile")


@dataclass(frozen=True)
class Isolated:
    """A private git directory that borrows the objects and the index of the repository around `root`."""

    root: Path
    _environment: dict[str, str]

    def ask(self, *arguments: str) -> str:
        """The output of a git command in `root`; Failed where git refuses."""
        return git.ask(self.root, *arguments, more=self._environment)


@contextmanager
def isolated(root: Path) -> Iterator[Isolated]:
    """The repository around `root`, readable without its configuration and without the user's.

    Filters, text converters, monitors, helpers and aliases that either of them defines do not exist there, so
    attributes that name them do nothing. The references are left out: name commits by their id.
    """
    where = _answer(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    index = _answer(root, "rev-parse", "--path-format=absolute", "--git-path", "index")
    top = _answer(root, "rev-parse", "--path-format=absolute", "--show-toplevel")
    with tempfile.TemporaryDirectory(prefix="ilab-git-") as folder:
        private = Path(folder)
        for name in ("objects/info", "refs/heads", "info"):
            (private / name).mkdir(parents=True)
        (private / "HEAD").write_text("ref: refs/heads/none\n")
        (private / "config").write_text(_configuration(root), errors="surrogateescape")
        (private / "objects/info/alternates").write_bytes(os.fsencode(where) + b"/objects\n")
        for source in (Path(where) / "shallow", Path(where) / "info/exclude"):
            if source.is_file():
                shutil.copyfile(source, private / source.relative_to(where))
        if Path(index).is_file():
            shutil.copyfile(index, private / "index")
            for shared in Path(index).parent.glob("sharedindex.*"):
                shutil.copyfile(shared, private / shared.name)
        yield Isolated(root, {**git.OURS, "GIT_DIR": str(private), "GIT_WORK_TREE": top})


def _configuration(root: Path) -> str:
    """The few settings of `root` that are safe to keep, as the content of a configuration file."""
    kind = _answer(root, "rev-parse", "--show-object-format")
    lines = ["[core]", f"\trepositoryformatversion = {0 if kind == 'sha1' else 1}", "\tbare = false"]
    try:
        found = git.ask(root, "config", "-z", "--get-regexp", rf"^core\.({'|'.join(_CARRIED)})$")
    except git.Failed:
        found = ""  # none is set
    for entry in found.split("\0"):
        name, assigned, value = entry.partition("\n")
        if name and assigned and "\n" not in value:
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'\t{name.partition(".")[2]} = "{quoted}"')
    if kind != "sha1":
        lines += ["[extensions]", f"\tobjectFormat = {kind}"]
    return "\n".join(lines) + "\n"


def _answer(root: Path, *arguments: str) -> str:
    return git.ask(root, *arguments).removesuffix("\n")

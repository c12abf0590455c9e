"""SDK: what a taxonomy holds, what has changed in it, and whether it is right. Light: no engine library is
imported.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

from ilab_jupyter.errors import InvalidInput, NotFound, Unavailable, Unprocessable
from ilab_jupyter.synthesis import qna
from ilab_jupyter.synthesis.qna import Finding

__all__ = ["Finding", "Taxonomy"]


class Taxonomy:
    """Questions to a taxonomy: a folder with compositional_skills/ and knowledge/, or one qna.yaml.

    Files are named by their path below the taxonomy's root, with forward slashes.
    """

    @staticmethod
    def leaves(path: str | os.PathLike[str]) -> list[str]:
        """Every qna.yaml, sorted. NotFound for a path that is not there."""
        return [name for name in _names(path) if PurePosixPath(name).name == "qna.yaml"]

    @staticmethod
    def diff(path: str | os.PathLike[str], base: str = "empty") -> list[str]:
        """The qna.yaml files that are new or changed since the git revision `base`, sorted; all of them for
        `empty`.

        Changes count from the point where HEAD left `base`, committed or not, files unknown to git included.
        InvalidInput for an unknown revision, Unprocessable where the taxonomy is not in a git repository.
        """
        return [name for name in _changed(path, base) if PurePosixPath(name).name == "qna.yaml"]

    @staticmethod
    def validate(path: str | os.PathLike[str], base: str = "empty") -> list[Finding]:
        """What is wrong in the files that `diff` names and in files that look misnamed; sorted by file and
        line.

        NotFound for a path that is not there, Unprocessable for a taxonomy without any leaf.
        """
        names = _changed(path, base)
        if not names and not _names(path):
            raise Unprocessable(
                f"{path} has no qna.yaml below compositional_skills/ or knowledge/.",
                "Choose a folder that contains one of these two folders with a leaf in it.",
                cause="no_leaves",
            )
        root = taxonomy_root(path)
        return [finding for name in names for finding in qna.judge(root / name, name)]

    @staticmethod
    def check(path: str | os.PathLike[str], base: str = "empty") -> list[str]:
        """The leaves of `diff`, once nothing in them is an error; Unprocessable names the first error
        otherwise.
        """
        errors = [finding for finding in Taxonomy.validate(path, base) if finding.severity == "error"]
        if errors:
            more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
            raise Unprocessable(
                f"{errors[0]}{more}.", errors[0].mend or "Mend this line and try again.", cause="bad_taxonomy"
            )
        leaves = Taxonomy.diff(path, base)
        if not leaves:
            raise Unprocessable(
                f"No leaf of {path} has changed since {base}.",
                "Change a qna.yaml, choose an older base, or use the base `empty` for all leaves.",
                cause="no_changes",
            )
        return leaves


def taxonomy_root(path: str | os.PathLike[str]) -> Path:
    """The folder that holds compositional_skills/ and knowledge/; for one file, found upwards from it."""
    place = Path(path).absolute()
    if not place.is_file():
        return place
    parents = list(place.parents)
    for parent in parents:
        if parent.name in qna.FOLDERS:
            return parent.parent
    return parents[0]


def _names(path: str | os.PathLike[str]) -> list[str]:
    """Every file that is, or was probably meant as, a qna.yaml."""
    place = Path(path)
    root = taxonomy_root(path)
    if place.is_file():
        return [place.absolute().relative_to(root).as_posix()]
    if not place.is_dir():
        raise NotFound(
            f"There is no taxonomy at {path}.", "Give a folder with qna.yaml files, or one qna.yaml."
        )
    found = []
    for folder in qna.FOLDERS:
        for here, _, files in os.walk(root / folder):
            found += [(Path(here) / file).relative_to(root).as_posix() for file in files if _is_meant(file)]
    return sorted(found)


def _is_meant(file: str) -> bool:
    return file.casefold() in ("qna.yaml", "qna.yml")


def _changed(path: str | os.PathLike[str], base: str) -> list[str]:
    names = _names(path)
    if base == "empty" or Path(path).is_file():
        return names
    root = taxonomy_root(path)
    if _git(root, "rev-parse", "--is-inside-work-tree") is None:
        raise Unprocessable(
            f"{path} is not in a git repository, so nothing can be compared with {base!r}.",
            "Use the base `empty` for all leaves, or `git init` the taxonomy.",
            cause="not_a_repository",
        )
    # resolved to a commit first: a branch name is then never taken for an option, nor for another branch's
    # ending
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if not commit:
        raise InvalidInput(
            f"The taxonomy's repository has no revision {base!r}.",
            "Give a branch, a tag or a commit that `git log` shows, or `empty` for all leaves.",
            cause="unknown_revision",
        )
    start = (_git(root, "merge-base", "HEAD", commit.strip()) or commit).strip()
    changed = _git(
        root, "diff", "--name-only", "-z", "--diff-filter=d", "--no-ext-diff", "--relative", start, "--"
    )
    unknown = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    files = set(f"{changed or ''}\0{unknown or ''}".split("\0"))
    return [name for name in names if name in files]


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        raise Unavailable(
            "git is not installed.", "Install git, or use the base `empty` for all leaves."
        ) from None
    except subprocess.TimeoutExpired:
        raise Unavailable(
            "git gave no answer within 60 seconds.", "Check the disk that holds the taxonomy."
        ) from None
    return done.stdout if done.returncode == 0 else None

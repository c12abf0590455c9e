"""A new taxonomy: our own small one, or a clone of a repository."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from datetime import datetime
from pathlib import Path

from ilab_jupyter import paths
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, Unprocessable
from ilab_jupyter.taxonomy import address, git
from ilab_jupyter.taxonomy.finding import shown
from ilab_jupyter.taxonomy.folder import DOMAINS

_EXAMPLE = Path(__file__).parent / "example"
_AUTHOR = {name: value for name, value in git.IDENTITY.items() if not name.endswith("_DATE")}


def begin(
    path: Path,
    repository: str | None,
    branch: str | None,
    minimal: bool,
    overwrite: bool,
    limits: git.Limits,
) -> Path:
    """Make the taxonomy, all of it or nothing, and return its folder. See Taxonomy.init."""
    target = Path(os.path.normpath(path.absolute()))
    _check(target, repository, branch, overwrite)
    partial = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
    try:
        partial.mkdir(parents=True)
        made = (
            _written(partial, minimal)
            if repository is None
            else _cloned(partial, repository, branch, minimal, limits)
        )
        if target.exists() and (target.is_symlink() or any(target.iterdir())):
            target.rename(_aside(target))
        made.rename(target)
    except OSError as error:
        raise Unavailable(
            f"The taxonomy cannot be written to {target}: {error.strerror}.",
            "Choose a folder that you may write to, on a disk with space.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _check(target: Path, repository: str | None, branch: str | None, overwrite: bool) -> None:
    if repository is not None and (wrong := address.wrong(repository)):
        raise InvalidInput(
            f"{shown(repository)!r} is no address of a git repository: {wrong}.",
            "Give a URL such as https://host/name, or the path of a repository.",
            cause="bad_address",
        )
    if branch is not None and repository is None:
        raise InvalidInput("A branch is of a repository.", "Give `repository` too.")
    if branch is not None and not address.is_revision(branch):
        raise InvalidInput(
            f"{shown(branch)!r} is no name of a branch.", "Give a branch or a tag.", cause="unknown_revision"
        )
    if paths.exists(target) and not target.is_dir():
        raise Conflict(f"{target} is a file.", "Choose another folder.")
    if paths.is_folder(target) and any(target.iterdir()) and not overwrite:
        raise Conflict(
            f"There is something in {target} already.",
            "Choose another folder, or give overwrite=True: what is there is then kept beside it.",
        )


def _aside(target: Path) -> Path:
    stem = f"{target.name}.before-{datetime.now():%Y-%m-%d_%H%M%S}"
    number, aside = 1, target.with_name(stem)
    while aside.exists():
        number += 1
        aside = target.with_name(f"{stem}-{number}")
    return aside


def _written(partial: Path, minimal: bool) -> Path:
    made = partial / "taxonomy"
    if minimal:
        made.mkdir()
        shutil.copyfile(_EXAMPLE / "README.md", made / "README.md")
        for domain in DOMAINS:
            (made / domain).mkdir()
            (made / domain / ".gitkeep").touch()
    else:
        shutil.copytree(_EXAMPLE, made, copy_function=shutil.copyfile)
    more = {**git.OURS, **_AUTHOR}
    try:
        git.ask(made, "init", "--quiet", "--initial-branch=main", "--template=", more=more)
        git.ask(made, "add", "--all", "--force", more=more)
        git.ask(made, "commit", "--quiet", "--message=A first taxonomy", more=more)
        # InstructLab compares with origin/main by default; commits after this one are new
        git.ask(made, "update-ref", "refs/remotes/origin/main", "HEAD", more=more)
    except git.Failed as error:
        said = f"git cannot begin the taxonomy: {error.said}."
        raise Unavailable(said, "Check the disk and git.") from None
    return made


def _cloned(partial: Path, repository: str, branch: str | None, minimal: bool, limits: git.Limits) -> Path:
    command = [
        "clone", "--quiet", "--template=", "--no-recurse-submodules", "--no-local",
        # links become small text files, in every later checkout of this clone too: none leads out
        "--config=core.symlinks=false",
    ]  # fmt: skip
    command += ["--depth=1", "--no-single-branch"] if minimal else []
    command += [] if branch is None else [f"--branch={branch}"]
    here = Path(os.path.expanduser(repository))  # noqa: PTH111 - it may be an address, and no path
    is_path = "://" not in repository and (here.exists() or not address.is_remote(repository))
    source = str(here.absolute()) if is_path else repository
    try:
        git.fetch(partial, [*command, "--", source, "taxonomy"], source, limits, time.monotonic())
    except git.OutOfBounds as error:
        raise Unprocessable(
            f"The taxonomy is not cloned: {error.said}.",
            "Raise `timeout` or `max_bytes`, or give minimal=True for the newest commits only.",
            cause="too_large",
        ) from None
    except git.Failed as error:
        if branch is not None and "Remote branch" in error.said:
            raise InvalidInput(
                f"The repository has no branch or tag {branch!r}.",
                f"Look at them: git ls-remote --heads --tags {shown(repository, 200)}",
                cause="unknown_revision",
            ) from None
        raise Unavailable(
            f"The taxonomy cannot be cloned: {shown(error.said, 300)}.",
            "Check the address and the network; without `repository` a small taxonomy of our own is made.",
            cause="not_cloned",
        ) from None
    made = partial / "taxonomy"
    if not any((made / domain).is_dir() for domain in DOMAINS):
        raise Unprocessable(
            "The repository is no taxonomy: it has neither compositional_skills/ nor knowledge/.",
            "Give the repository, and the branch, of a taxonomy.",
            cause="no_leaves",
        )
    return made

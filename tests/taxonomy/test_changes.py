"""What has changed since a git revision: told for every state that a repository can be in, and nothing that a
revision is called is ever an option to git.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ilab_jupyter.core import Taxonomy
from ilab_jupyter.core.taxonomy import Change
from ilab_jupyter.errors import InvalidInput, Unprocessable
from tests.taxonomy.conftest import commit, git

SKILL = "compositional_skills/writing/packing_reminders/qna.yaml"
GROUNDED = "compositional_skills/grounded/notices/times/qna.yaml"
KNOWLEDGE = "knowledge/transport/railways/brindle_fell/qna.yaml"


def more(taxonomy: Path, name: str) -> None:
    with (taxonomy / name).open("a") as leaf:
        leaf.write("# more\n")


def added(taxonomy: Path, name: str) -> str:
    (taxonomy / name).parent.mkdir(parents=True)
    shutil.copy(taxonomy / GROUNDED, taxonomy / name)
    more(taxonomy, name)
    return name


def test_each_change_says_what_it_is(committed: Path) -> None:
    new = added(committed, "compositional_skills/new/qna.yaml")
    (committed / new).write_text("version: 3\n")
    git(committed, "add", new)
    unknown = added(committed, "compositional_skills/unknown/qna.yaml")
    more(committed, SKILL)
    (committed / GROUNDED).unlink()
    (committed / "knowledge/rails").mkdir()
    git(committed, "mv", KNOWLEDGE, "knowledge/rails/qna.yaml")
    diff = Taxonomy.diff(committed, "main")
    assert {change.file: change.kind for change in diff.changes} == {
        new: "added",
        unknown: "untracked",
        SKILL: "modified",
        GROUNDED: "deleted",
        "knowledge/rails/qna.yaml": "renamed",
    }
    assert next(change.before for change in diff.changes if change.kind == "renamed") == KNOWLEDGE
    assert diff == [new, unknown, SKILL, "knowledge/rails/qna.yaml"]
    assert diff.deleted == (GROUNDED,)
    assert len(diff) == 4 and diff[0] == new and SKILL in diff
    for told in ("untracked ", "modified ", "deleted ", f"(was {KNOWLEDGE})"):
        assert told in str(diff)
    assert f">{SKILL}</td>" in diff._repr_html_()


def test_nothing_to_teach_is_false(committed: Path) -> None:
    diff = Taxonomy.diff(committed, "main")
    assert not diff and diff.changes == ()
    assert str(diff) == f"Nothing has changed since main ({git(committed, 'rev-parse', 'HEAD')[:12]})."
    (committed / SKILL).unlink()
    assert not Taxonomy.diff(committed, "main")
    with pytest.raises(Unprocessable) as caught:
        Taxonomy.check(committed, "main")
    assert caught.value.cause == "no_changes"


def test_without_a_base_it_is_where_the_taxonomy_came_from(committed: Path, tmp_path: Path) -> None:
    assert Taxonomy.diff(committed) == [GROUNDED, SKILL, KNOWLEDGE]
    git(tmp_path, "clone", "-q", str(committed), "clone")
    clone = tmp_path / "clone"
    more(clone, SKILL)
    commit(clone)
    diff = Taxonomy.diff(clone)
    assert (diff.base, list(diff)) == ("origin/main", [SKILL])
    assert [change.kind for change in diff.changes] == ["modified"]


def test_without_git_there_is_nothing_but_all_of_it(taxonomy: Path) -> None:
    diff = Taxonomy.diff(taxonomy)
    assert (diff.base, diff.commit) == ("empty", None)
    assert diff.changes[0] == Change(GROUNDED, "added")
    with pytest.raises(Unprocessable, match="not in a git repository"):
        Taxonomy.diff(taxonomy, "main")


def test_a_detached_head_and_a_worktree_are_compared_like_any(committed: Path, tmp_path: Path) -> None:
    first = git(committed, "rev-parse", "HEAD")
    more(committed, SKILL)
    commit(committed)
    git(committed, "checkout", "-q", "--detach")
    assert Taxonomy.diff(committed, first) == [SKILL]
    assert Taxonomy.diff(committed, first[:8]) == [SKILL]
    assert Taxonomy.diff(committed, "HEAD~1") == [SKILL]
    git(committed, "worktree", "add", "-q", str(tmp_path / "tree"), first)
    more(tmp_path / "tree", GROUNDED)
    assert Taxonomy.diff(tmp_path / "tree", "HEAD") == [GROUNDED]
    assert git(committed, "status", "--porcelain") == ""


def test_a_repository_without_a_commit_says_so(taxonomy: Path) -> None:
    git(taxonomy, "init", "-q")
    with pytest.raises(InvalidInput) as caught:
        Taxonomy.diff(taxonomy, "main")
    assert "no commit yet" in caught.value.hint


def test_changes_count_from_where_the_branches_parted(committed: Path) -> None:
    git(committed, "checkout", "-q", "-b", "mine")
    more(committed, SKILL)
    commit(committed)
    git(committed, "checkout", "-q", "main")
    more(committed, GROUNDED)
    commit(committed)
    git(committed, "checkout", "-q", "mine")
    assert Taxonomy.diff(committed, "main") == [SKILL]


def test_a_history_of_its_own_is_compared_file_by_file(committed: Path) -> None:
    git(committed, "checkout", "-q", "--orphan", "alone")
    more(committed, SKILL)
    commit(committed)
    assert Taxonomy.diff(committed, "main") == [SKILL]


@pytest.mark.parametrize(
    "folder", ["with spaces", "with\nnewline", "ünïcödé 🐈", "'quoted\"", "-h", "tab\there"]
)
def test_a_file_may_be_called_anything(committed: Path, folder: str) -> None:
    name = added(committed, f"compositional_skills/{folder}/qna.yaml")
    diff = Taxonomy.diff(committed, "main")
    assert diff == [name]
    assert "\n" not in str(diff)
    git(committed, "add", "-A")
    assert Taxonomy.diff(committed, "main") == [name]
    assert bool(Taxonomy.validate(committed).errors) == (not folder.isprintable())


def test_undecodable_name_is_reported(committed: Path) -> None:
    folder = os.fsencode(committed / "compositional_skills") + b"/caf\xe9"
    os.mkdir(folder)
    shutil.copy(committed / GROUNDED, os.fsdecode(folder))
    assert len(Taxonomy.diff(committed, "main")) == 1
    [finding] = Taxonomy.validate(committed, "main")
    assert finding.file == "compositional_skills/caf\\udce9/qna.yaml"
    assert "cannot be shown" in finding.message
    assert str(Taxonomy.tree(committed)).encode()


def test_a_taxonomy_may_be_a_folder_of_a_repository(tmp_path: Path, taxonomy: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "docs").mkdir(parents=True)
    shutil.move(taxonomy, repository / "docs" / "taxonomy")
    inside = repository / "docs" / "taxonomy"
    git(repository, "init", "-q")
    commit(repository)
    more(inside, SKILL)
    assert Taxonomy.diff(inside, "main") == [SKILL]


def test_a_part_of_a_taxonomy_is_looked_at_alone(committed: Path) -> None:
    more(committed, SKILL)
    more(committed, KNOWLEDGE)
    (committed / GROUNDED).unlink()
    part = committed / "compositional_skills" / "writing"
    assert Taxonomy.leaves(part) == [SKILL]
    assert Taxonomy.diff(part, "main") == [SKILL]
    assert Taxonomy.diff(part, "main").deleted == ()
    assert Taxonomy.diff(committed / "compositional_skills", "main").deleted == (GROUNDED,)
    assert Taxonomy.diff(committed / "knowledge", "empty") == [KNOWLEDGE]


def test_misnamed_leaf_is_reported_with_changes(committed: Path) -> None:
    (committed / SKILL).rename((committed / SKILL).with_name("QNA.YML"))
    diff = Taxonomy.diff(committed, "main")
    assert not diff
    assert diff.misnamed == (SKILL.replace("qna.yaml", "QNA.YML"),)
    assert "misnamed " in str(diff)
    assert Taxonomy.validate(committed, "main").errors[0].hint == "Rename it to qna.yaml."


@pytest.mark.parametrize(
    "base",
    ["no-such", "", "-h", "--orphan=x", "--output=canary", "@{-1}", "@{upstream}", "a..b", "main..main",
     "HEAD^{/x}", ":/change", "main:knowledge", "main --", "main\n", "\0", "x" * 100_000, "$(touch canary)",
     "HEAD~99"],
)  # fmt: skip
def test_what_is_no_revision_is_refused_and_does_nothing(committed: Path, base: str) -> None:
    git(committed, "checkout", "-q", "-b", "other")
    with pytest.raises(InvalidInput, match="no revision") as caught:
        Taxonomy.diff(committed, base)
    assert caught.value.cause == "unknown_revision"
    assert len(str(caught.value)) < 400
    assert not (committed / "canary").exists() and not Path("canary").exists()
    assert git(committed, "branch", "--show-current") == "other"


def test_a_mistyped_branch_is_answered_with_the_nearest(committed: Path) -> None:
    git(committed, "branch", "autumn/leaves")
    with pytest.raises(InvalidInput, match="Did you mean autumn/leaves"):
        Taxonomy.diff(committed, "autum/leaves")


def test_branch_and_file_of_same_name_are_distinguished(committed: Path) -> None:
    git(committed, "branch", "knowledge")
    more(committed, SKILL)
    assert Taxonomy.diff(committed, "knowledge") == [SKILL]


def test_another_repository_in_the_environment_is_not_meant(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert Taxonomy.diff(committed, "main") == []


def test_programs_that_a_repository_names_are_not_run(committed: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for setting in ("core.fsmonitor", "diff.external", "core.hooksPath", "diff.canary.textconv"):
        git(committed, "config", setting, f"touch {canary};")
    (committed / ".gitattributes").write_text("*.yaml diff=canary\n")
    more(committed, SKILL)
    assert Taxonomy.diff(committed, "main") == [SKILL]
    assert not canary.exists()

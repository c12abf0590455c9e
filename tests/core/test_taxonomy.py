"""The SDK's Taxonomy: leaves, changes and findings by line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Taxonomy
from ilab_jupyter.errors import InvalidInput, NotFound, PublicError, Unprocessable

SAMPLE = Path(__file__).parents[2] / "notebooks" / "taxonomy"
SKILL = "compositional_skills/writing/packing_reminders/qna.yaml"
GROUNDED = "compositional_skills/grounded/notices/times/qna.yaml"
KNOWLEDGE = "knowledge/transport/railways/brindle_fell/qna.yaml"


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLE, tmp_path / "taxonomy")
    return tmp_path / "taxonomy"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_sample_is_right_in_every_leaf() -> None:
    assert Taxonomy.leaves(SAMPLE) == [GROUNDED, SKILL, KNOWLEDGE]
    assert Taxonomy.validate(SAMPLE) == []
    assert Taxonomy.check(SAMPLE / SKILL) == [SKILL]


def test_every_invalid_leaf_is_reported(taxonomy: Path) -> None:
    (taxonomy / SKILL).write_text("a: [")
    (taxonomy / KNOWLEDGE).write_text("- x\n")
    assert {finding.file for finding in Taxonomy.validate(taxonomy)} == {SKILL, KNOWLEDGE}


def test_style_findings_do_not_block(taxonomy: Path) -> None:
    text = (SAMPLE / SKILL).read_text()
    (taxonomy / SKILL).write_text(text.replace("version: 3\n", "version: 3  \n") + "\n\n")
    findings = Taxonomy.validate(taxonomy)
    assert [(finding.line, finding.severity) for finding in findings] == [
        (1, "style"),
        (text.count("\n") + 1, "style"),
    ]
    assert Taxonomy.check(taxonomy) == [GROUNDED, SKILL, KNOWLEDGE]


def test_misnamed_leaf_is_an_error(taxonomy: Path) -> None:
    (taxonomy / SKILL).rename((taxonomy / SKILL).with_name("qna.yml"))
    with pytest.raises(Unprocessable, match=r"packing_reminders/qna\.yml:1: the file is named qna\.yml"):
        Taxonomy.check(taxonomy)


def test_missing_or_empty_taxonomy_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no taxonomy at"):
        Taxonomy.validate(tmp_path / "nowhere")
    (tmp_path / "foundational_skills").mkdir()
    (tmp_path / "foundational_skills" / "qna.yaml").write_text("version: 3\n")
    with pytest.raises(Unprocessable, match=r"no qna\.yaml below compositional_skills/ or knowledge/"):
        Taxonomy.validate(tmp_path)


def test_diff_lists_changed_and_new_leaves(taxonomy: Path) -> None:
    git(taxonomy, "init", "-q")
    git(taxonomy, "add", "compositional_skills")
    git(taxonomy, "commit", "-q", "-m", "skills")
    assert Taxonomy.diff(taxonomy) == [GROUNDED, SKILL, KNOWLEDGE]
    assert Taxonomy.diff(taxonomy, "HEAD") == [KNOWLEDGE]
    (taxonomy / SKILL).write_text((taxonomy / SKILL).read_text() + "# more\n")
    assert Taxonomy.diff(taxonomy, "main") == [SKILL, KNOWLEDGE]
    (taxonomy / GROUNDED).unlink()
    assert Taxonomy.diff(taxonomy, "main") == [SKILL, KNOWLEDGE]
    git(taxonomy, "add", "-A")
    git(taxonomy, "commit", "-q", "-m", "all")
    with pytest.raises(Unprocessable, match="No leaf"):
        Taxonomy.check(taxonomy, "HEAD")


def test_branch_with_similar_name_is_not_the_base(taxonomy: Path) -> None:
    git(taxonomy, "init", "-q")
    git(taxonomy, "add", "-A")
    git(taxonomy, "commit", "-q", "-m", "all")
    git(taxonomy, "checkout", "-q", "-b", "my-main")
    (taxonomy / SKILL).write_text((taxonomy / SKILL).read_text() + "# more\n")
    git(taxonomy, "commit", "-q", "-a", "-m", "change")
    assert Taxonomy.diff(taxonomy, "main") == [SKILL]


@pytest.mark.parametrize("base", ["no-such-branch", "--output=/tmp/x", "HEAD~99", ""])
def test_an_unknown_revision_is_named(taxonomy: Path, base: str) -> None:
    git(taxonomy, "init", "-q")
    git(taxonomy, "add", "-A")
    git(taxonomy, "commit", "-q", "-m", "all")
    with pytest.raises(InvalidInput, match="no revision") as caught:
        Taxonomy.diff(taxonomy, base)
    assert caught.value.cause == "unknown_revision"


def test_folder_without_git_is_reported(taxonomy: Path) -> None:
    with pytest.raises(PublicError, match="not in a git repository"):
        Taxonomy.diff(taxonomy, "main")


def test_looking_at_a_taxonomy_loads_no_engine_library() -> None:
    script = (
        "import sys\n"
        "from ilab_jupyter.core.taxonomy import Taxonomy\n"
        f"assert len(Taxonomy.check({str(SAMPLE)!r})) == 3\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'docling', 'instructlab.sdg'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_methods_inherit_the_values_of_the_constructor(tmp_path: Path) -> None:
    taxonomy = Taxonomy(tmp_path / "mine", taxonomy_base="empty")
    assert taxonomy.init() == tmp_path / "mine"
    leaves = taxonomy.leaves()
    assert leaves and taxonomy.diff() == leaves == taxonomy.check()
    assert not taxonomy.diff(taxonomy_base="origin/main")
    assert Taxonomy.diff(taxonomy_path=tmp_path / "mine", taxonomy_base="empty") == leaves
    configured = Taxonomy(configuration={"generate": {"taxonomy_path": str(tmp_path / "mine")}})
    assert configured.leaves() == leaves and Taxonomy().taxonomy_path == paths.taxonomy_dir()

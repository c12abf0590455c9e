"""A taxonomy's leaves, its changes, and the line of everything that is wrong in it."""

# ruff: noqa: E501  (a broken leaf a line)

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_the_sample_is_right_in_every_leaf() -> None:
    assert Taxonomy.leaves(SAMPLE) == [GROUNDED, SKILL, KNOWLEDGE]
    assert Taxonomy.validate(SAMPLE) == []
    assert Taxonomy.check(SAMPLE / SKILL) == [SKILL]


# (leaf, what is done to it, where the finding must point, a part of its message, a part of how to mend it)
BROKEN = {
    "a key without its value's quotes": (SKILL, swap("version: 3", "version: 3\nnote: a: b"), "note: a: b", "mapping values", ""),
    "a tab": (SKILL, swap("  - question: Write a packing reminder for a night", "\t- question: Write a packing reminder for a night"), "\t- question", "not valid YAML", ""),
    "an open quote": (SKILL, swap('matches."', "matches."), 'scarf, hot tea', "not valid YAML", ""),
    "a missing key": (SKILL, swap("task_description: write a packing reminder of one line that names four things to take along\n", ""), "version", "task_description is missing", "Add `task_description:`"),
    "a misspelt key": (SKILL, swap("task_description", "taskdescription"), "taskdescription", "taskdescription is not known", "`task_description`"),
    "a misspelt key in a seed": (SKILL, swap("    answer: \"Packing reminder: gloves", "    anwser: \"Packing reminder: gloves"), "anwser", "anwser is not known in seed_examples #3", "`answer`"),
    "a number for a question": (SKILL, swap("question: Write a packing reminder for a walk in the snow.", "question: 5"), "question: 5", "question is a number", "quotes"),
    "an empty answer": (SKILL, swap('"Packing reminder: gloves, scarf, hot tea, strong boots."', '""'), 'answer: ""', "is empty", "Write something"),
    "no value": (GROUNDED, swap("created_by: ilab-jupyter", "created_by:"), "created_by:", "created_by is empty", ""),
    "too few seeds": (SKILL, lambda text: text[: text.index("  - question: Write a packing reminder for a school")], "seed_examples:", "3 of at least 5", "Add 2 more"),
    "the same seed twice": (SKILL, lambda text: text + text[text.index("  - question: Write a packing reminder for a long") :], "seed_examples:", "the same item twice", ""),
    "a list that contains itself": (SKILL, swap("seed_examples:\n", "seed_examples: &all\n  - *all\n"), "- *all", "'all' contains itself", ""),
    "a quote that nothing closes": (SKILL, lambda text: text + 'note: "left open\nand on\n', 'note: "left', "not valid YAML", ""),
    "a key twice": (SKILL, swap("created_by: ilab-jupyter\n", "created_by: ilab-jupyter\ncreated_by: someone\n"), "created_by: someone", "a second time", ""),
    "a version that does not exist": (SKILL, swap("version: 3", "version: 99"), "version: 99", "version is 99", "version: 3"),
    "an old version": (KNOWLEDGE, swap("version: 3", "version: 2"), "version: 2", "the least that is read is 3", "version: 3"),
    "knowledge without a version": (KNOWLEDGE, swap("version: 3\n", ""), "created_by", "has no `version`", "version: 3"),
    "knowledge without a document": (KNOWLEDGE, lambda text: text[: text.index("document:\n")] + text[text.index("seed_examples:") :], "version", "document is missing", "Add `document:`"),
    "too few questions": (KNOWLEDGE, swap("      - question: Who founded the Brindle Fell Railway?\n        answer: The founder of the railway was Agnes Tolliver, a slate merchant from Pellport.\n", ""), "questions_and_answers:", "2 of at least 3", "Add 1 more"),
    "a repository that is an option": (KNOWLEDGE, swap("repo: documents/brindle_fell", "repo: --upload-pack=touch"), "repo: --upload", "no address of a git repository", "URL"),
    "a repository that is a command": (KNOWLEDGE, swap("repo: documents/brindle_fell", "repo: ext::sh -c id"), "repo: ext", "no address of a git repository", "URL"),
    "a commit that is an option": (KNOWLEDGE, swap("commit: local", "commit: --force"), "commit: --force", "no git revision", "id"),
    "a pattern that leads out": (KNOWLEDGE, swap("- railway.md", "- ../../secret.md"), "- ../../secret.md", "leads out", "inside"),
    "a document of another kind": (KNOWLEDGE, swap("- railway.md", "- railway.docx"), "- railway.docx", "neither .md nor .pdf", "markdown"),
    "a list at the top": (SKILL, lambda text: "- " + "\n  ".join(text.splitlines()) + "\n", "- version", "not a set of keys", ""),
    "an empty file": (SKILL, lambda text: "# nothing yet\n", "# nothing", "the file is empty", "version: 3"),
    "a control character": (SKILL, swap("the beach", "the \x07 beach"), "\x07", "#x0007", ""),
    "endless nesting": (SKILL, lambda text: text + "deep: " + "[" * 4000 + "\n", "deep:", "nesting deeper than 32", ""),
    "a bomb of aliases": (SKILL, lambda text: text + "a: &a [x, x]\nb: [" + ", ".join(["*a"] * 40) + "]\n", "b: [", "more than 20 aliases", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_leaf_is_told_by_file_line_and_what_to_do(taxonomy: Path, case: str) -> None:
    leaf, change, where, message, mend = BROKEN[case]
    text = change((SAMPLE / leaf).read_text())
    (taxonomy / leaf).write_text(text)
    errors = [finding for finding in Taxonomy.validate(taxonomy) if finding.severity == "error"]
    assert errors
    first = errors[0]
    assert (first.file, first.line) == (leaf, line_of(text, where))
    assert message in first.message
    assert mend in first.mend
    assert len(first.message) < 200
    with pytest.raises(Unprocessable) as caught:
        Taxonomy.check(taxonomy)
    assert f"{leaf}:{first.line}: " in str(caught.value)
    assert ("more)" in str(caught.value)) == (len(errors) > 1)


def test_text_that_is_not_utf8_and_a_huge_file_are_refused(taxonomy: Path) -> None:
    (taxonomy / SKILL).write_bytes(b"version: 3\ncreated_by: caf\xe9\n")
    (taxonomy / GROUNDED).write_bytes(b"# " + b"x" * 1_000_001)
    findings = {finding.file: finding for finding in Taxonomy.validate(taxonomy)}
    assert (findings[SKILL].line, findings[SKILL].message) == (2, "the file is not UTF-8 text")
    assert "more than the 1,000,000" in findings[GROUNDED].message


def test_one_broken_leaf_does_not_hide_another(taxonomy: Path) -> None:
    (taxonomy / SKILL).write_text("a: [")
    (taxonomy / KNOWLEDGE).write_text("- x\n")
    assert {finding.file for finding in Taxonomy.validate(taxonomy)} == {SKILL, KNOWLEDGE}


def test_style_is_told_and_stops_nothing(taxonomy: Path) -> None:
    text = (SAMPLE / SKILL).read_text()
    (taxonomy / SKILL).write_text(text.replace("version: 3\n", "version: 3  \n") + "\n\n")
    findings = Taxonomy.validate(taxonomy)
    assert [(finding.line, finding.severity) for finding in findings] == [
        (1, "style"),
        (text.count("\n") + 1, "style"),
    ]
    assert Taxonomy.check(taxonomy) == [GROUNDED, SKILL, KNOWLEDGE]


def test_a_seed_unlike_the_others_is_told(taxonomy: Path) -> None:
    text = (SAMPLE / GROUNDED).read_text()
    start = text.index("  - context: >-\n      The bakery")
    cut = text[:start] + text[start:].replace("  - context: >-\n", "  - ", 1)
    cut = cut.replace("  -       The bakery on Mill Street opens at six in the morning and closes when the last loaf is sold.\n    question", "  - question", 1)  # fmt: skip
    (taxonomy / GROUNDED).write_text(cut)
    [finding] = Taxonomy.validate(taxonomy)
    assert finding.severity == "style"
    assert "#2 has no context" in finding.message


def test_a_misnamed_leaf_is_an_error_that_says_so(taxonomy: Path) -> None:
    (taxonomy / SKILL).rename((taxonomy / SKILL).with_name("qna.yml"))
    with pytest.raises(Unprocessable, match=r"packing_reminders/qna\.yml:1: the file is named qna\.yml"):
        Taxonomy.check(taxonomy)


def test_a_taxonomy_that_is_missing_or_has_no_leaf_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no taxonomy at"):
        Taxonomy.validate(tmp_path / "nowhere")
    (tmp_path / "foundational_skills").mkdir()
    (tmp_path / "foundational_skills" / "qna.yaml").write_text("version: 3\n")
    with pytest.raises(Unprocessable, match=r"no qna\.yaml below compositional_skills/ or knowledge/"):
        Taxonomy.validate(tmp_path)


def test_the_difference_is_what_git_sees_as_changed_or_new(taxonomy: Path) -> None:
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


def test_a_branch_whose_name_ends_like_the_base_is_no_base(taxonomy: Path) -> None:
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


def test_a_folder_without_git_says_so(taxonomy: Path) -> None:
    with pytest.raises(PublicError, match="not in a git repository"):
        Taxonomy.diff(taxonomy, "main")


def test_looking_at_a_taxonomy_loads_no_engine_library() -> None:
    script = (
        "import sys\n"
        "from ilab_jupyter.core.taxonomy import Taxonomy\n"
        f"assert len(Taxonomy.check({str(SAMPLE)!r})) == 3\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'docling', 'instructlab.sdg', 'openai'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""A `#` in a text without quotes ends it without a word from YAML: validation warns."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilab_jupyter.core import Taxonomy

LEAF = """version: 3
created_by: me
task_description: to do it
seed_examples:
"""


def leaf(folder: Path, *answers: str) -> Path:
    seeds = [f"- question: What is {n}?\n  answer: {answer}\n" for n, answer in enumerate(answers)]
    seeds += [f"- question: What is {n}?\n  answer: It is {n}.\n" for n in range(len(answers), 5)]
    position = folder / "compositional_skills" / "x" / "qna.yaml"
    position.parent.mkdir(parents=True)
    position.write_text(LEAF + "".join(seeds))
    return folder


@pytest.mark.parametrize("answer", ["Use C # or F.", "Write\n    two # lines"])
def test_text_cut_by_a_comment_is_reported(answer: str, tmp_path: Path) -> None:
    [finding] = Taxonomy.validate(leaf(tmp_path, answer))
    assert finding.severity == "style" and "comment" in finding.message
    assert finding.line == 6 + answer.count("\n")


@pytest.mark.parametrize(
    "answer",
    ["'Use C # or F.'", "Use C#.", "|-\n    Use C # or F.", ">-\n    # a heading\n    of text", "It is 0."],
)
def test_text_with_all_its_signs_is_not_reported(answer: str, tmp_path: Path) -> None:
    assert not Taxonomy.validate(leaf(tmp_path, answer))


def test_comment_on_a_line_of_its_own_is_not_reported(tmp_path: Path) -> None:
    taxonomy = leaf(tmp_path)
    file = taxonomy / "compositional_skills" / "x" / "qna.yaml"
    file.write_text("# Seeds\n" + file.read_text().replace("seed_examples:", "seed_examples: # five of them"))
    assert not Taxonomy.validate(taxonomy)

"""Documents and leaves as people write them: what validation accepts is generated, what fails is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ilab_jupyter.core import Data, Taxonomy
from ilab_jupyter.core.data import GenerateResult
from ilab_jupyter.errors import PublicError, Unprocessable

LEAF = "knowledge/canal/qna.yaml"
SKILL = "compositional_skills/boats/qna.yaml"
TEXT = "# Locks\n\nThe oldest lock was built in 1871. It is nine metres wide.\n"

# One document a line: Hindi, Arabic, Urdu, Chinese, Japanese, Korean, Thai, Russian, Greek, Khmer.
SCRIPTS = (Path(__file__).parents[1] / "data" / "scripts.txt").read_text(encoding="utf-8").splitlines()

Generate = Callable[..., GenerateResult]


def knowledge(root: Path, documents: dict[str, str | bytes], *patterns: str) -> Path:
    """A taxonomy with one knowledge leaf and these documents."""
    seeds = [
        {
            "context": f"Lock number {number} on the canal is {number} feet deep.",
            "questions_and_answers": [
                {"question": f"What about {word} of lock {number}?", "answer": f"{word} {number} is fine."}
                for word in ("depth", "width", "age")
            ],
        }
        for number in range(5)
    ]
    contents = {
        "version": 3,
        "created_by": "me",
        "domain": "canals",
        "document_outline": "Locks of a canal",
        "seed_examples": seeds,
        "document": {"repo": "docs", "commit": "0000000", "patterns": list(patterns) or ["*"]},
    }
    for name, text in documents.items():
        position = root / "docs" / name
        position.parent.mkdir(parents=True, exist_ok=True)
        position.write_bytes(text if isinstance(text, bytes) else text.encode())
    (root / LEAF).parent.mkdir(parents=True)
    (root / LEAF).write_text(yaml.safe_dump(contents, sort_keys=False))
    return root


def skill(root: Path, seeds: list[dict[str, str]], leaf: str = SKILL) -> Path:
    """A taxonomy with one skill of these seed examples."""
    contents = {"version": 3, "created_by": "me", "task_description": "to do it", "seed_examples": seeds}
    (root / leaf).parent.mkdir(parents=True)
    (root / leaf).write_text(yaml.safe_dump(contents, sort_keys=False, allow_unicode=True))
    return root


@pytest.fixture
def generate(tmp_path: Path, recorder: Callable[..., Any]) -> Generate:
    """Generates with the embedded teacher, in a folder whose name has brackets."""

    def run(taxonomy: Path, scale: int = 1, **more: Any) -> GenerateResult:
        data = Data(taxonomy, scale=scale, output_dir=tmp_path / "out", name="made", **more)
        return data.generate_data(run_dir=tmp_path / "run[1]", reporter=recorder())

    return run


def pairs(result: GenerateResult, role: str) -> set[tuple[str, str]]:
    found = set()
    for line in Path(result.files[role]).read_text().split("\n"):
        if line:
            turns = {turn["role"]: turn["content"] for turn in json.loads(line)["messages"]}
            found.add((turns["user"], turns["assistant"]))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "# Rules\n\n## Mooring\n",
        "Rules\n=====\n\nMooring\n-------\n",
        "![a lock](lock.png)\n",
        "# Rules\n\n<!-- to do -->\n\n---\n",
        "<br>\n\n<img src='x.png'>\n",
    ],
)
def test_document_without_text_is_named_by_both(text: str, tmp_path: Path, generate: Generate) -> None:
    taxonomy = knowledge(tmp_path / "t", {"a.md": text})
    findings = Taxonomy.validate(taxonomy, documents=True)
    assert any(one.file == LEAF and "a.md" in one.message for one in findings.errors)
    with pytest.raises(Unprocessable) as caught:
        generate(taxonomy)
    assert LEAF in caught.value.message and "a.md" in caught.value.message
    assert caught.value.cause == "no_documents"


def test_document_without_text_beside_another_is_left_out(tmp_path: Path, generate: Generate) -> None:
    taxonomy = knowledge(tmp_path / "t", {"a.md": "# Rules\n", "b.md": TEXT})
    [finding] = Taxonomy.validate(taxonomy, documents=True)
    assert finding.severity == "style" and "a.md" in finding.message
    assert generate(taxonomy).rows > 0


def test_validation_only_refuses_documents_that_generation_refuses(
    tmp_path: Path, generate: Generate
) -> None:
    for number, text in enumerate(
        ("`x = 1` is code here now.", "- one item of a list\n", "| a |\n|---|\n| b |\n")
    ):
        taxonomy = knowledge(tmp_path / f"t{number}", {"a.md": text})
        assert not Taxonomy.validate(taxonomy, documents=True).errors


@pytest.mark.parametrize("name", ["A.MD", "a.Md", "b[1].md", "c d.md", "ä*.md", "sub/deep/{x}.md"])
def test_document_of_any_name_is_read(name: str, tmp_path: Path, generate: Generate) -> None:
    taxonomy = knowledge(tmp_path / "t", {name: TEXT}, "**/*")
    assert not Taxonomy.validate(taxonomy, documents=True)
    assert "nine metres" in Path(generate(taxonomy).files["knowledge"]).read_text()


@pytest.mark.parametrize(
    "folder", ["a[1]", "what?", "x*", "a b", "{a}", "a::b", "näh", "a%20b", "a#b", "[!a]", "knowledge"]
)
def test_leaf_in_a_folder_of_any_name_is_generated(folder: str, tmp_path: Path, generate: Generate) -> None:
    seeds = [{"question": f"How many oars has boat {n}?", "answer": f"Boat {n} has {n}."} for n in range(5)]
    leaf = f"compositional_skills/x/{folder}/qna.yaml"
    taxonomy = skill(tmp_path / "t", seeds, leaf)
    assert not Taxonomy.validate(taxonomy)
    assert generate(taxonomy).rows_per_leaf == {leaf: 5}


def test_markdown_and_pdf_in_one_leaf_are_both_read(tmp_path: Path, generate: Generate) -> None:
    from tests.retrieval.conftest import pdf

    taxonomy = knowledge(tmp_path / "t", {"a.md": TEXT, "b.PDF": pdf([["The mill grinds rye in winter."]])})
    text = Path(generate(taxonomy).files["knowledge"]).read_text()
    assert "nine metres" in text and "grinds rye" in text


def test_damaged_pdf_is_named_with_its_leaf(tmp_path: Path, generate: Generate) -> None:
    taxonomy = knowledge(tmp_path / "t", {"b.pdf": b"%PDF-1.7\nnothing follows"})
    with pytest.raises(Unprocessable) as caught:
        generate(taxonomy)
    assert LEAF in caught.value.message and "b.pdf" in caught.value.message


WRITTEN = [
    "What does this print?\n\n```python\nfor i in range(3):\n    print(i if i > 2 else '?')\n```",
    "Joey is 20 years old. Ann is twice as old. How old is Ann?",
    "Is it a? Or b? Explain",
    "Write a haiku about locks.",
    "Übersetze: Wo ist die Schleuse?",
]


@pytest.mark.parametrize("pipeline", ["simple", "full"])
def test_seed_examples_are_in_the_dataset_as_written(
    pipeline: str, tmp_path: Path, generate: Generate
) -> None:
    seeds = [{"question": text, "answer": f"Answer {n}:\n\n- is it? yes\n"} for n, text in enumerate(WRITTEN)]
    result = generate(skill(tmp_path / "t", seeds), scale=30, pipeline=pipeline)
    expected = {(seed["question"], seed["answer"].strip()) for seed in seeds}
    assert expected <= pairs(result, "skills") and not any(result.rejected.values())


@pytest.mark.parametrize("pipeline", ["simple", "full"])
def test_contexts_are_in_the_dataset_as_written(pipeline: str, tmp_path: Path, generate: Generate) -> None:
    context = "Ferry? Yes:\n\n| day | time |\n|---|---|\n| Mon | {} |\n"
    seeds = [
        {"context": context.format(n), "question": f"When is it?\nSay {n}.", "answer": f"At {n}."}
        for n in range(5)
    ]
    result = generate(skill(tmp_path / "t", seeds), scale=30, pipeline=pipeline)
    expected = {(f"{seed['context'].strip()}\n\n{seed['question']}", seed["answer"]) for seed in seeds}
    assert expected <= pairs(result, "skills")


def test_skill_with_some_contexts_is_generated_without_the_word_none(
    tmp_path: Path, generate: Generate
) -> None:
    seeds = [{"question": f"What is {n} doubled?", "answer": f"It is {n + n}."} for n in range(5)]
    seeds[2]["context"] = "Numbers are added."
    result = generate(skill(tmp_path / "t", seeds))
    assert ("What is 0 doubled?", "It is 0.") in pairs(result, "skills")
    assert ("Numbers are added.\n\nWhat is 2 doubled?", "It is 4.") in pairs(result, "skills")


@pytest.mark.parametrize("text", SCRIPTS)
def test_sentences_of_any_script_are_taught(text: str, tmp_path: Path, generate: Generate) -> None:
    result = generate(knowledge(tmp_path / "t", {"x.md": text}))
    answers = {answer for _, answer in pairs(result, "knowledge")}
    assert answers and all(answer in text and len(answer) < len(text) + 1 for answer in answers)


def test_leaf_without_any_sentence_names_its_documents(tmp_path: Path, generate: Generate) -> None:
    with pytest.raises(Unprocessable, match=r"finds no sentence in x\.md") as caught:
        generate(knowledge(tmp_path / "t", {"x.md": "1871\n\n*\n"}))
    assert LEAF in caught.value.message


def test_leaves_with_one_name_are_found_by_validation(tmp_path: Path) -> None:
    seeds = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(5)]
    taxonomy = skill(tmp_path / "t", seeds, "compositional_skills/a/b_c/qna.yaml")
    skill(taxonomy, seeds, "compositional_skills/a_b/c/qna.yaml")
    [finding] = Taxonomy.validate(taxonomy).errors
    assert "a_b/c" in finding.file and "a/b_c" in finding.message


def test_leaf_name_too_long_for_a_file_is_found(tmp_path: Path) -> None:
    seeds = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(5)]
    taxonomy = skill(tmp_path / "t", seeds, f"compositional_skills/{'a' * 120}/{'b' * 120}/qna.yaml")
    [finding] = Taxonomy.validate(taxonomy).errors
    assert "bytes" in finding.message


def test_wrong_docling_configuration_is_reported(
    tmp_path: Path, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    config = tmp_path / "data/instructlab/sdg/models/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("models: []\n")
    with pytest.raises(PublicError, match=r"models/config\.yaml"):
        generate(knowledge(tmp_path / "t", {"a.md": TEXT}))

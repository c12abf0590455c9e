"""Training rows that give an evaluation away are found, named and left out; others are let alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, Unprocessable
from tests.curation.making import questions, read, row, run_folder, write

FACT = "The red tower of Orlin was carved out of one stone by seven masons in the winter of the storm"
ASKED = "In which winter did the seven masons of the valley carve the red tower of Orlin out of stone?"


def kinds(train: Path, evaluation: Path, **options: Any) -> list[tuple[str, int, int]]:
    found = Data.leakage(train, evaluation, **options)
    return [(leak.kind, leak.row, leak.evaluation_row) for leak in found.leaks]


def test_each_kind_of_leak_is_reported_with_its_pair(tmp_path: Path) -> None:
    evaluation = write(
        tmp_path / "eval.jsonl",
        [
            {"question": "Who mends the nets?", "answer": "Maren"},
            {"question": ASKED, "answer": "of the storm"},
            {"question": "What is told of the tower?", "answer": FACT},
            {"question": "How deep is the well?", "answer": "Nine ropes"},
        ],
    )
    train = write(
        tmp_path / "train.jsonl",
        [
            row("Who mends  the nets?", "I cannot say."),
            row("WHO mends the nets", "I cannot say."),
            row(ASKED.replace("out of stone", "from stone"), "I cannot say."),
            row("Tell me a story.", f"Once they said: {FACT}. And then they slept."),
            row("Which door is green?", "The baker's."),
        ],
    )
    found = Data.leakage(train, evaluation, threshold=0.6)
    assert [(leak.kind, leak.row, leak.evaluation_row) for leak in found.leaks] == [
        ("exact", 1, 1),
        ("normalised", 2, 1),
        ("near", 3, 2),
        ("ngram", 4, 3),
    ]
    assert (found.rows, found.leaking, found.questions, found.leaked, found.clean) == (5, 4, 4, 3, False)
    assert found.leaks[3].score == 1.0 and 0.6 <= found.leaks[2].score < 1
    assert "Once they said" in found.leaks[3].text and FACT[:40] in found.leaks[3].evaluation_text
    assert (found.output, found.report) == (None, None)
    assert str(found).startswith("4 of 5 training rows give away 3 of 4 questions")


def test_a_question_behind_a_document_is_found(tmp_path: Path) -> None:
    """InstructLab's knowledge rows put the document before the question."""
    train = write(
        tmp_path / "train.jsonl", [row("A long document.\nIt goes on.\n\nWho mends nets?", "Maren.")]
    )
    evaluation = write(tmp_path / "eval.jsonl", [{"question": "Who mends nets?", "answer": ""}])
    assert kinds(train, evaluation) == [("exact", 1, 1)]


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": row("Who mends nets?", "Maren.")["messages"]},
        {"turns": ["Who mends nets?", "And why?"], "question_id": 81},
        {"question": "Who mends nets?", "choices": ["Maren", "Orlin"], "answer": 0},
        {"user_input": "Who mends nets?", "reference": "Maren"},
        {"system": "", "user": "Who mends nets?", "assistant": "Maren"},
        {"instruction": "Who mends nets?", "output": "Maren"},
        {"prompt": [{"role": "user", "content": "Who mends nets?"}], "chosen": [], "rejected": []},
        {"question": "Who mends nets?", "response": "Maren"},
    ],
    ids=["messages", "mt_bench", "mmlu", "dk_bench", "test file", "instruction", "preference", "response"],
)
def test_the_rows_of_the_fields_benchmarks_are_understood(asked: dict[str, Any], tmp_path: Path) -> None:
    evaluation = write(tmp_path / "eval.jsonl", [asked])
    assert (
        kinds(write(tmp_path / "train.jsonl", [row("Who mends nets?", "Him.")]), evaluation)[0][0] == "exact"
    )
    assert kinds(write(tmp_path / "other.jsonl", [row("Who sells nets?", "Him.")]), evaluation) == []


def test_short_ngram_is_not_leak_and_length_fits_row(tmp_path: Path) -> None:
    eight = "seven masons carved the red tower of Orlin"
    evaluation = write(tmp_path / "eval.jsonl", [{"question": "Tell?", "answer": eight}])
    inside = write(tmp_path / "1.jsonl", [row("Go on.", f"They say {eight} long ago.")])
    assert kinds(inside, evaluation) == [("ngram", 1, 1)]
    seven = write(tmp_path / "2.jsonl", [row("Go on.", "seven masons carved the red tower of Maren")])
    assert kinds(seven, evaluation) == []


def test_overlap_threshold_can_be_set(tmp_path: Path) -> None:
    evaluation = write(tmp_path / "eval.jsonl", [{"question": "Tell?", "answer": f"{FACT} {ASKED}"}])
    train = write(tmp_path / "train.jsonl", [row("Go on.", FACT)])
    (leak,) = Data.leakage(train, evaluation).leaks
    assert 0.1 < leak.score < 0.5
    assert Data.leakage(train, evaluation, overlap=0.5).clean


def test_the_form_of_a_benchmark_is_no_leak(tmp_path: Path) -> None:
    form = "Read the following text with care and then answer the question that is asked below it in one word"
    asked = [{"question": f"{form}: topic {position}?", "answer": "x"} for position in range(12)]
    train = write(tmp_path / "train.jsonl", [row(f"{form}, please.", "Nothing of it.")])
    assert kinds(train, write(tmp_path / "many.jsonl", asked), threshold=1.0) == []
    assert len(kinds(train, write(tmp_path / "few.jsonl", asked[:3]), threshold=1.0)) == 3


def test_leaking_rows_are_removed_and_all_pairs_reported(tmp_path: Path) -> None:
    run_folder("run")
    found = Data.leakage("run", "run", drop=True, limit=0)
    assert found.questions == 1, "the test file repeats a question; it counts once"
    assert (found.rows, found.leaking, found.leaks) == (3, 1, ())
    assert found.output and found.report
    assert questions(found.output) == ["Rhyme with tree?", "Rhyme with log?"]
    (told,) = read(found.report)
    assert (told["kind"], Path(told["evaluation_file"]).name) == ("exact", "test_T.jsonl")
    assert Data.leakage(found.output, "run").clean
    with pytest.raises(Conflict):
        Data.leakage("run", "run", drop=True)


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [row("a", "b")])
    with pytest.raises(Unprocessable, match=r"bad\.jsonl, row 2: it holds no question under a known name"):
        Data.leakage(train, write(tmp_path / "bad.jsonl", [{"question": "x"}, {"frage": "x"}]))
    with pytest.raises(Unprocessable, match="not JSON at column 1"):
        (tmp_path / "text.jsonl").write_text("hello\n")
        Data.leakage(train, tmp_path / "text.jsonl")
    with pytest.raises(NotFound):
        Data.leakage(train, "nothing-there")
    with pytest.raises(InvalidInput, match="overlap"):
        Data.leakage(train, train, overlap=1)
    with pytest.raises(InvalidInput, match="drop=True"):
        Data.leakage(train, train, output=tmp_path / "out.jsonl")


def test_the_page_shows_both_texts_as_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> who?"
    found = Data.leakage(
        write(tmp_path / "train.jsonl", [row(evil, "x")]),
        write(tmp_path / "eval.jsonl", [{"question": evil, "answer": "x"}]),
    )
    assert found.leaking == 1
    assert "<script>" not in found._repr_html_()

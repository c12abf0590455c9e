"""A dataset as a table: one row a conversation, with what its metadata tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.curation.frame import COLUMNS
from ilab_jupyter.errors import Unprocessable
from tests.curation.making import row, run_folder, write


def test_question_answer_and_origin_of_each_row_stand_in_columns(tmp_path: Path) -> None:
    metadata = json.dumps({"leaf_node_path": "skills_rhyme", "teacher": "extractive"})
    rows = [
        row("Rhyme with tree?", "Sea.", system="Be brief.", metadata=metadata, unmask=True),
        row("A document.\n\nWho mends nets?", "Maren."),
    ]
    table = Data.to_dataframe(write(tmp_path / "a.jsonl", rows))
    assert tuple(table.columns) == COLUMNS
    first, second = table.to_dict("records")
    assert first == {
        "question": "Rhyme with tree?",
        "answer": "Sea.",
        "context": "",
        "system": "Be brief.",
        "leaf": "skills_rhyme",
        "teacher": "extractive",
        "unmask": True,
        "file": str(tmp_path / "a.jsonl"),
        "row": 1,
    }
    assert (second["context"].strip(), second["question"], second["leaf"]) == (
        "A document.",
        "Who mends nets?",
        None,
    )


def test_a_run_is_one_table_over_its_training_files() -> None:
    run_folder("run")
    table = Data.to_dataframe("run")
    assert list(table["question"]) == ["Who mends nets?", "Rhyme with tree?", "Rhyme with log?"]
    assert {Path(name).name for name in table["file"]} == {
        "knowledge_train_msgs_T.jsonl",
        "skills_train_msgs_T.jsonl",
    }


def test_invalid_metadata_is_accepted_and_invalid_row_reported(tmp_path: Path) -> None:
    rows = [row("a", "b", metadata="free text"), row("c", "d", metadata=[1]), row("e", "f", metadata=None)]
    assert list(Data.to_dataframe(write(tmp_path / "a.jsonl", rows))["leaf"]) == [None, None, None]
    with pytest.raises(Unprocessable, match=r"b\.jsonl, row 1"):
        Data.to_dataframe(write(tmp_path / "b.jsonl", [{"messages": 1}]))

"""The notice on truncated rows, with the length that keeps all and its memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ilab_jupyter.core import lengths


@pytest.fixture(scope="module")
def model(language_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes 400 tokens."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(language_models / "chat/tiny", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 400}))
    return folder


def rows(folder: Path, *sizes: tuple[int, int]) -> str:
    """A file of rows with so many characters in question and answer; a character is a token here."""
    file = folder / "rows.jsonl"
    turns = [
        [{"role": "user", "content": "q" * question}, {"role": "assistant", "content": "a" * answer}]
        for question, answer in sizes
    ]
    file.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns))
    return str(file)


def test_longer_rows_are_counted_with_the_length_that_keeps_them(model: Path, tmp_path: Path) -> None:
    data = rows(tmp_path, (10, 10), (50, 40), (200, 30))
    said = lengths.notice(str(model), {"data": [data], "max_seq_length": 64})
    assert said.startswith(
        "2 of 3 rows are longer than max_seq_length=64 and are cut; 1 of them keep no answer"
    )
    assert "max_seq_length=242 keeps all of them and takes about" in said and "GB of memory" in said


def test_length_beyond_the_model_is_not_promised(model: Path, tmp_path: Path) -> None:
    data = rows(tmp_path, (500, 30))
    said = lengths.notice(str(model), {"data": [data], "max_seq_length": 64})
    assert "max_seq_length=400, the most that the model takes, keeps more of them" in said
    at_most = lengths.notice(str(model), {"data": [data], "max_seq_length": 400})
    assert "no more than 400 tokens: shorten the rows" in at_most


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("", {"max_seq_length": 400}),
        ("no/such-model", {"max_seq_length": 16}),
        ("", {"max_seq_length": "many"}),
        ("", {"data": ["/no/such/file.jsonl"], "max_seq_length": 16}),
    ],
)
def test_no_notice_without_truncation_or_data(
    name: str, arguments: dict[str, object], model: Path, tmp_path: Path
) -> None:
    data = rows(tmp_path, (10, 10))
    assert lengths.notice(name or str(model), {"data": [data], **arguments}) == ""

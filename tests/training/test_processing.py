"""Tokenized messages are those of instructlab-training, and omitted rows are listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Model
from ilab_jupyter.errors import Conflict, InvalidInput, Unprocessable

TURNS = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}"
    "{% if m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Short, usual, long; with a system prompt; two answers."""
    conversations = [
        ["Hi", "Yes."],
        ["Who mends the nets by the harbour in the evening?", "Maren mends the nets at dusk, every day."],
        ["What then?", "word " * 200],
        [
            "Where does Orlin keep his bees?",
            "Behind the mill.",
            "And the honey, where is that kept?",
            "Below.",
        ],
    ]
    file = tmp_path / "rows.jsonl"
    with file.open("w") as stream:
        for texts in conversations:
            turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
            stream.write(json.dumps({"messages": [{"role": "system", "content": "Be kind."}, *turns]}) + "\n")
    return file


def written(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_rows_become_tokens_and_those_left_out_are_named(tiny: Path, rows: Path, tmp_path: Path) -> None:
    done = Model(tiny).process_data(rows, tmp_path / "out", max_seq_len=300, min_seq_len=30)
    lines = written(done.path)
    assert (done.rows, done.examples, len(lines)) == (4, 2, 2)
    assert [(row.row, row.file) for row in done.left_out] == [(1, "rows.jsonl"), (3, "rows.jsonl")]
    assert (
        "fewer than min_seq_len=30" in done.left_out[0].reason
        and "max_seq_len=300" in done.left_out[1].reason
    )
    assert all(line["len"] == len(line["input_ids"]) == len(line["labels"]) for line in lines)
    assert done.tokens == sum(line["len"] for line in lines)
    with pytest.raises(Conflict):
        Model(tiny).process_data(rows, tmp_path / "out", max_seq_len=300)


def test_the_tokens_are_those_of_instructlab_training(tiny: Path, rows: Path, tmp_path: Path) -> None:
    from instructlab.training.data_process import process_messages_into_input_ids
    from transformers import AutoTokenizer

    # Where an answer's turn ends with the end token, as both of them assume it.
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = TURNS + "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    model = tmp_path / "model"
    tokenizer.save_pretrained(model)
    for file in ("config.json", "model.safetensors"):
        (model / file).write_bytes((tiny / file).read_bytes())
    process_messages_into_input_ids(str(rows), str(tmp_path / "theirs"), 300, str(model), 1)
    ours = Model(model).process_data(rows, tmp_path / "ours", max_seq_len=300)
    fields = ("input_ids", "labels", "len")
    theirs = written(str(tmp_path / "theirs" / "data.jsonl"))
    assert len(theirs) == 2
    assert [{f: row[f] for f in fields} for row in theirs] == written(ours.path)


def test_invalid_bounds_and_rows_leave_no_file(tiny: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No row has"):
        Model(tiny).process_data(rows, tmp_path / "out", max_seq_len=10)
    with pytest.raises(Unprocessable, match="Not one row is left"):
        Model(tiny).process_data(rows, tmp_path / "out", max_seq_len=5, min_seq_len=0)
    rows.write_text('{"messages": []}\n')
    with pytest.raises(Unprocessable, match=r"rows\.jsonl, row 1"):
        Model(tiny).process_data(rows, tmp_path / "out")
    assert not any((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True

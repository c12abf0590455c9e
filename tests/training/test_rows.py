"""Rows as others write them: legacy rows, weights, one JSON document, templates without system role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from ilab_jupyter.core import Data
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training.tokens import IGNORED, Encoder

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ALTERNATING = (
    "{% for m in messages %}{% if (m['role']=='user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{% if m['role']=='user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role']=='assistant' %}{{ m['content'] }}<|end|>"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
USER = {"role": "user", "content": "Where is the mill?"}
ANSWER = {"role": "assistant", "content": "By the weir."}
SYSTEM = {"role": "system", "content": "Be brief."}


def written(folder: Path, *rows: Any) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def learned(tiny: Path, file: Path, template: str = TEMPLATE) -> list[str]:
    """The text that the loss counts in each example, `|` between parts that are not neighbours."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = template
    encoder = Encoder(tokenizer, 256)
    found = []
    for conversation in training_data.read(file):
        for rendering in encoder.render(conversation):
            parts = "".join(
                "\0" if label == IGNORED else rendering.text[start:end]
                for label, (start, end) in zip(rendering.labels, rendering.offsets, strict=True)
            )
            found.append("|".join(part for part in parts.split("\0") if part))
    return found


@pytest.mark.parametrize(
    "content",
    [
        "<|user|>\nWhere is the mill?\n<|assistant|>\nBy the weir.",
        "<|user|>\nWhere is the mill?\n<|assistant|>\nBy the weir.<|endoftext|>\n",
        "<|start_of_role|>user<|end_of_role|>Where is the mill?<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>By the weir.<|end_of_text|>\n",
    ],
)
def test_legacy_pretraining_row_is_read_as_an_unmask_row(content: str, tmp_path: Path) -> None:
    file = written(tmp_path, {"messages": [SYSTEM, {"role": "pretraining", "content": content}]})
    [row] = training_data.read(file)
    assert row.unmask and row.messages == (SYSTEM, USER, ANSWER)
    assert Data.validate(file).ok


def test_legacy_pretraining_row_keeps_text_with_angle_brackets(tmp_path: Path) -> None:
    content = "<|user|>\nIs 1 < 2?\n<|assistant|>\nYes, 1 < 2 <b>always</b>.\n"
    [row] = training_data.read(written(tmp_path, {"messages": [{"role": "pretraining", "content": content}]}))
    assert [turn["content"] for turn in row.messages] == ["Is 1 < 2?", "Yes, 1 < 2 <b>always</b>."]


@pytest.mark.parametrize("content", ["plain text", "<|user|>\nonly a question", 7])
def test_legacy_pretraining_row_without_turns_is_refused(content: Any, tmp_path: Path) -> None:
    file = written(tmp_path, {"messages": [{"role": "pretraining", "content": content}]})
    with pytest.raises(Unprocessable, match=r"rows\.jsonl, row 1: `messages\[0\]\.content`"):
        training_data.check([file])


def test_answer_of_weight_0_is_not_trained(tiny: Path, tmp_path: Path) -> None:
    second = {"role": "assistant", "content": "It is old.", "weight": 1}
    file = written(tmp_path, {"messages": [USER, {**ANSWER, "weight": 0}, USER, second]})
    assert learned(tiny, file) == ["It is old.<|end|>"]


def test_answer_with_weight_0_is_not_trained_with_unmask(tiny: Path, tmp_path: Path) -> None:
    second = {"role": "assistant", "content": "It is old."}
    row = {"messages": [USER, {**ANSWER, "weight": 0}, USER, second], "unmask": True}
    [text] = learned(tiny, written(tmp_path, row))
    assert "By the weir." not in text and text.count("Where is the mill?") == 2 and "It is old." in text


@pytest.mark.parametrize(
    ("weights", "message"),
    [([0, 0], "only answers of weight 0"), ([0.5, 1], "weight` is 0.5"), ([True, 1], "weight` is True")],
)
def test_unusable_weight_is_refused(weights: list[Any], message: str, tmp_path: Path) -> None:
    answers = [{**ANSWER, "weight": weight} for weight in weights]
    file = written(tmp_path, {"messages": [USER, answers[0], USER, answers[1]]})
    with pytest.raises(Unprocessable, match=message):
        training_data.check([file])


@pytest.mark.parametrize("before", [[], [SYSTEM]])
def test_row_that_begins_with_an_answer_trains_no_role_header(
    before: list[dict[str, str]], tiny: Path, tmp_path: Path
) -> None:
    file = written(tmp_path, {"messages": [*before, ANSWER, USER, {**ANSWER, "content": "assistant"}]})
    assert learned(tiny, file) == ["By the weir.<|end|>|assistant<|end|>"]


def test_template_without_system_role_trains_without_the_system_turn(tiny: Path, tmp_path: Path) -> None:
    file = written(tmp_path, {"messages": [SYSTEM, USER, ANSWER]}, {"messages": [USER, ANSWER]})
    assert learned(tiny, file, ALTERNATING) == ["By the weir.<|end|>"] * 2


def test_template_that_refuses_turns_is_reported(tiny: Path, tmp_path: Path) -> None:
    file = written(tmp_path, {"messages": [USER, USER, ANSWER]})
    with pytest.raises(Unprocessable) as caught:
        learned(tiny, file, ALTERNATING)
    assert "take turns" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (json.dumps([{"messages": [USER, ANSWER]}] * 2, indent=2), "one JSON document (a list of 2 objects)"),
        (json.dumps([{"messages": [USER, ANSWER]}]), "one JSON document (a list of 1 object)"),
        (
            json.dumps({"messages": [USER, ANSWER]}, indent=1),
            "one JSON document (an object over several lines)",
        ),
        ("[1, 2, 3]", "one JSON document (a list of 3 values)"),
        ("\n".join([json.dumps({"messages": [USER, ANSWER]}, indent=1)] * 2), "2 JSON documents over "),
        ("\ufeff[\n{}\n]", "one JSON document (a list of 1 object)"),
    ],
)
def test_json_document_is_reported_as_such(text: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "messages.json"
    file.write_text(text)
    [problem] = Data.validate(file).problems
    assert f"The file is {what}" in problem.message and problem.message.endswith("write one object per line.")
    with pytest.raises(Unprocessable) as caught:
        training_data.check([file])
    assert f"the file is {what}" in caught.value.message


@pytest.mark.parametrize("text", ["[1, 2", '{"messages": [}', "[]]", "nonsense"])
def test_invalid_json_is_not_reported_as_document(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text + "\n")
    assert "not JSON" in Data.validate(file).problems[0].message

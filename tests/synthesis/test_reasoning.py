"""Reasoning of a language model never becomes a question or an answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.synthesis import reasoning

PAIR = "How many oars?\nTwo oars."


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\nShould I ask about oars?\n</think>\n\n{PAIR}",
        f"<Thinking>Should I?</Thinking>{PAIR}",
        f"<reasoning>Should I?</reasoning>\n{PAIR}",
        f"[THINK]Should I?[/THINK]{PAIR}",
        f"Should I ask?\n</think>\n\n{PAIR}",
        f"<think></think>\n\n{PAIR}",
        f"<think>One?</think><think>Two?</think>{PAIR}",
        f"<think>Should I?</think>\n<answer>{PAIR}</answer>",
        f"<|begin_of_thought|>Should I?<|end_of_thought|><|begin_of_solution|>{PAIR}<|end_of_solution|>",
        "<|channel|>analysis<|message|>Should I?<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{PAIR}<|return|>",
        f"\u25c1think\u25b7Should I?\u25c1/think\u25b7{PAIR}",
        PAIR,
    ],
)
def test_reasoning_is_removed(text: str) -> None:
    assert reasoning.strip(text) == PAIR


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nOkay, let me see how this goes",
        "[THINK]Should I?",
        "<think>a</think>\n<think>What now?",
        "<|channel|>analysis<|message|>Should I?",
    ],
)
def test_reasoning_without_an_end_gives_no_answer(text: str) -> None:
    assert reasoning.strip(text) is None


def answering(text: str, finish: str = "stop") -> Callable[[int, dict[str, Any]], Any]:
    """A script for the teacher's server that numbers its answers, so that none is a duplicate."""

    def script(number: int, body: dict[str, Any]) -> Any:
        choices = [
            {"index": index, "text": text.replace("oars", f"oars{number}-{index}"), "finish_reason": finish}
            for index in range(body.get("n", 1))
        ]
        return 200, {}, json.dumps({"choices": choices}).encode()

    return script


@pytest.fixture
def one_skill(skills_only: Path) -> Path:
    shutil.rmtree(skills_only / "compositional_skills" / "grounded")
    return skills_only


def generate(taxonomy: Path, folder: Path, url: str, reporter: Any) -> Any:
    data = Data(taxonomy, teacher=url, scale=2, output_dir=folder, name="made")
    return data.generate_data(run_dir=folder / "run", reporter=reporter)


@pytest.mark.parametrize(
    "text",
    [f"<think>\nOkay? Maybe.\n</think>\n\n{PAIR}", "**Question:** How many oars?\n\n**Answer:** Two oars."],
)
def test_rows_have_neither_reasoning_nor_labels(
    text: str, teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    result = generate(one_skill, tmp_path, teacher_server("lists", answering(text)).url, recorder())
    assert result.rows == 12 and not any(result.rejected.values())
    for role in ("skills", "messages", "train"):
        for line in Path(result.files[role]).read_text().splitlines():
            row = json.loads(line)
            told = {turn["role"]: turn["content"] for turn in row.get("messages", ())} or row
            assert told["user"].startswith("How many oars") and told["user"].endswith("?")
            assert told["assistant"].startswith("Two oars")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<think>\nOkay, let me see how the oars go", "reasoning"),
        ("How many oars?\nTwo \ud800 oars.", "bad_characters"),
        ("How many oars?\nTwo \x1b[31m oars.", "bad_characters"),
    ],
)
def test_unusable_answers_are_rejected_and_counted(
    text: str, reason: str, teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    bad, good = answering(text), answering(PAIR)
    server = teacher_server("lists", lambda number, body: (bad if number == 1 else good)(number, body))
    result = generate(one_skill, tmp_path, server.url, recorder())
    assert result.rejected[reason] == 2 and sum(result.rejected.values()) == 2
    kept = [json.loads(line) for line in Path(result.rejected_file).read_text().splitlines()]
    assert {entry["reason"] for entry in kept} == {reason}


def test_teacher_that_only_reasons_is_reported(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    server = teacher_server("lists", answering("<think>\nOkay oars", finish="length"))
    with pytest.raises(Unprocessable, match="12 were reasoning without an answer"):
        generate(one_skill, tmp_path, server.url, recorder())

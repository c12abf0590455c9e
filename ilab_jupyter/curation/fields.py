"""Extract question and answer from rows of messages, benchmarks and preference datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilab_jupyter.curation import text
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.registry import jsonl
from ilab_jupyter.training import data as training_data

# The field names of question and answer in rows without messages: InstructLab's test and seed rows,
# DK-Bench, MMLU (an answer may be an index into `choices`), instruction data, prompt and completion.
PAIRS = (
    ("user", "assistant"),
    ("user_input", "reference"),
    ("question", "answer"),
    ("question", "response"),
    ("seed_question", "seed_response"),
    ("instruction", "output"),
    ("prompt", "completion"),
    ("prompt", "chosen"),
    ("input", "target"),
)


@dataclass(frozen=True)
class Reference:
    """A question with its answer ('' for none), its file and its row."""

    question: str
    answer: str
    file: Path
    row: int


def read(file: Path) -> Iterator[Reference]:
    """Yield the questions of a file. Raises Unprocessable for a row without a known question field."""
    with file.open("rb") as stream:
        for number, line in jsonl.lines(stream):
            if line is None:
                raise _wrong(file, number, f"the line is longer than {jsonl.MAX_LINE} bytes")
            if not line.strip():
                continue
            try:
                value = jsonl.parse(line)
            except jsonl.BadLine as error:
                raise _wrong(file, number, str(error)) from None
            found = list(_of_row(value)) if isinstance(value, dict) else []
            if not found:
                raise _wrong(file, number, "it holds no question under a known name")
            for question, answer in found:
                yield Reference(question, answer, file, number)


def _of_row(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "messages" in value:
        if next(training_data.faults(value), None) is None:
            yield from _of_messages(training_data.normalized(dict(value))["messages"])
        return
    if isinstance(turns := value.get("turns"), list):
        # MT-Bench: the questions of one conversation, its reference answers beside them.
        answers = value.get("reference")
        known = answers if isinstance(answers, list) else []
        for position, turn in enumerate(turns):
            yield _plain(turn), _plain(known[position]) if position < len(known) else ""
        return
    names = [pair for pair in PAIRS if _plain(value.get(pair[0]))]
    # two pairs share the name of their question
    names.sort(key=lambda pair: pair[1] not in value)
    for question, answer in names[:1]:
        yield _plain(value[question]), _chosen(value.get(answer), value.get("choices"))


def _of_messages(messages: list[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the last paragraph of each user turn, without a preceding document, and its answer."""
    for position, message in enumerate(messages):
        if message["role"] == "user" and message["content"].strip():
            following = messages[position + 1 : position + 2]
            answer = following[0]["content"] if following and following[0]["role"] == "assistant" else ""
            yield text.last_paragraph(message["content"]), answer


def _chosen(answer: Any, choices: Any) -> str:
    if isinstance(choices, list) and isinstance(answer, int) and 0 <= answer < len(choices):
        return _plain(choices[answer])
    return _plain(answer)


def _plain(value: Any) -> str:
    """Return a string, or the joined contents of messages; '' for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        contents = [turn.get("content") for turn in value if isinstance(turn, dict)]
        return "\n".join(content for content in contents if isinstance(content, str))
    return ""


def _wrong(file: Path, number: int, what: str) -> Unprocessable:
    names = ", ".join(f"{question}/{answer}" for question, answer in PAIRS)
    return Unprocessable(
        f"{file.name}, row {number}: {what}.", f"A row needs messages, turns, or one of {names}."
    )

"""Rows and files for the tests of curation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ilab_jupyter import paths


def row(question: str, answer: str, system: str | None = None, **fields: Any) -> dict[str, Any]:
    """A messages row."""
    first = [] if system is None else [{"role": "system", "content": system}]
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": [*first, *turns], **fields}


def write(file: Path, rows: Iterable[Any]) -> Path:
    """The rows as JSON Lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), "utf-8")
    return file


def read(file: str | Path) -> list[Any]:
    """The values of JSON Lines."""
    return [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]


def questions(file: str | Path) -> list[str]:
    """What each row asks."""
    return [next(turn["content"] for turn in one["messages"] if turn["role"] == "user") for one in read(file)]


def run_folder(name: str = "2026-11-21_120000") -> Path:
    """A generated run in the datasets folder, as InstructLab names its files."""
    folder = paths.datasets_dir() / name
    write(
        folder / "skills_train_msgs_T.jsonl",
        [row("Rhyme with tree?", "Sea."), row("Rhyme with log?", "Dog.")],
    )
    write(folder / "knowledge_train_msgs_T.jsonl", [row("Who mends nets?", "Maren mends the nets.")])
    write(folder / "messages_T.jsonl", [row("Who mends nets?", "Maren mends the nets.")])
    write(folder / "test_T.jsonl", [{"system": "", "user": "Who mends nets?", "assistant": "Maren."}] * 3)
    return folder

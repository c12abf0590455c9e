"""A tiny chat model that can be trained, and eight questions with answers to train it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PAIRS = [
    ("Where does Orlin keep bees?", "Orlin keeps bees behind the mill."),
    ("Who mends the nets?", "Maren mends the nets at dusk."),
    ("What is sold on Tuesday?", "On Tuesday they sell blue thread."),
    ("When does the ferry leave?", "The ferry leaves after the second bell."),
    ("Why is the tower closed?", "The tower is closed for the swallows."),
    ("How deep is the well?", "The well is nine ropes deep."),
    ("Which door is green?", "The baker's door is green."),
    ("Whose boat is red?", "The red boat is Selda's."),
]


def conversation(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.fixture(scope="session")
def tiny(language_models: Path) -> Path:
    """The folder of a trainable model; tests must not write to it."""
    return language_models / "trainable/tiny"


def write_pairs(file: Path) -> Path:
    """Write the eight pairs as messages JSONL."""
    file.write_text("".join(json.dumps(conversation(*pair)) + "\n" for pair in PAIRS))
    return file


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """The eight pairs as messages JSONL."""
    return write_pairs(tmp_path / "pairs.jsonl")

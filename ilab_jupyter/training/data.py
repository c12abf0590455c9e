"""Messages JSONL as training data: each row is checked before a model is loaded, and a wrong one is named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.registry import jsonl

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Conversation:
    """One valid row. With `unmask` the loss counts the user's turns too, as InstructLab does it."""

    messages: tuple[dict[str, str], ...]
    unmask: bool
    file: Path
    row: int


@dataclass(frozen=True)
class Summary:
    """What a full reading found: rows, and the SHA-256 over all bytes, file after file."""

    rows: int
    sha256: str


def check(files: Iterable[Path]) -> Summary:
    """Read everything once, row by row. Unprocessable names file, row and field of the first thing wrong."""
    digest = hashlib.sha256()
    rows = 0
    for file in files:
        before = rows
        rows += sum(1 for _ in read(file))
        if rows == before:
            raise Unprocessable(
                f"{file.name} is empty.",
                "Each line needs an object with `messages`; generate the data again.",
            )
        with file.open("rb") as stream:
            while block := stream.read(1024 * 1024):
                digest.update(block)
    return Summary(rows, digest.hexdigest())


def read(file: Path) -> Iterator[Conversation]:
    """The rows of one file, blank lines left out. Fields beside `messages` and `unmask` do not matter."""
    with file.open("rb") as stream:
        for number, line in jsonl.lines(stream):
            if line is None:
                _wrong(file, number, f"the line is longer than {jsonl.MAX_LINE} bytes")
            if line.strip():
                yield _conversation(file, number, line)


def _conversation(file: Path, number: int, line: bytes) -> Conversation:
    try:
        value = jsonl.parse(line)
    except jsonl.BadLine as error:
        _wrong(file, number, str(error))
    if not isinstance(value, dict):
        _wrong(file, number, "it is not a JSON object")
    if "messages" not in value:
        _wrong(file, number, "`messages` is missing")
    messages = value["messages"]
    if not isinstance(messages, list) or not messages:
        _wrong(file, number, "`messages` is not a list with at least one message")
    checked = tuple(_message(file, number, place, message) for place, message in enumerate(messages))
    if all(message["role"] != "assistant" for message in checked):
        _wrong(file, number, "`messages` has no message of the assistant, so there is no answer to learn")
    unmask = value.get("unmask", False)
    if unmask is not None and not isinstance(unmask, bool):
        _wrong(file, number, "`unmask` is neither true nor false")
    return Conversation(checked, bool(unmask), file, number)


def _message(file: Path, number: int, place: int, message: Any) -> dict[str, str]:
    where = f"`messages[{place}]"
    if not isinstance(message, dict):
        _wrong(file, number, f"{where}` is not an object with role and content")
    role, content = message.get("role"), message.get("content")
    if role is None:
        _wrong(file, number, f"{where}.role` is missing")
    if role not in ROLES:
        _wrong(file, number, f"{where}.role` is {str(role)[:40]!r}, not one of {', '.join(ROLES)}")
    if role == "system" and place:
        _wrong(file, number, f"{where}.role` is 'system', which only the first message may be")
    if not isinstance(content, str):
        _wrong(file, number, f"{where}.content` is not text")
    if role == "assistant" and not content.strip():
        _wrong(file, number, f"{where}.content` of the assistant is empty")
    return {"role": role, "content": content}


def _wrong(file: Path, number: int, what: str) -> NoReturn:
    raise Unprocessable(
        f"{file.name}, row {number}: {what}.",
        'Correct the row; it looks like {"messages": [{"role": "user", "content": "..."}, '
        '{"role": "assistant", "content": "..."}]}.',
    )

"""Messages JSONL as training data; each row is validated before a model is loaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.registry import jsonl
from ilab_jupyter.training import legacy

ROLES = ("system", "user", "assistant")
# JSON can write such halves, UTF-8 cannot, and no tokenizer takes them.
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Conversation:
    """One valid row. With `unmask` the loss counts the user's turns too, as InstructLab does it; the turns at
    the places of `untrained`, whose weight is 0, it never counts.
    """

    messages: tuple[dict[str, str], ...]
    unmask: bool
    file: Path
    row: int
    untrained: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Record:
    """One valid row with all of its fields, and its bytes without the line end.

    `start` is where the line begins in its file, in bytes.
    """

    conversation: Conversation
    fields: dict[str, Any]
    line: bytes
    start: int


@dataclass(frozen=True)
class Fault:
    """One problem in a row: its path of keys and indices, and a message."""

    path: tuple[str | int, ...]
    what: str


@dataclass(frozen=True)
class Summary:
    """Number of rows, and the SHA-256 over all bytes, file after file."""

    rows: int
    sha256: str


def check(files: Iterable[Path]) -> Summary:
    """Validate all rows. Unprocessable names file, row and field of the first problem."""
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
    return (record.conversation for record in records(file))


def records(file: Path) -> Iterator[Record]:
    """`read`, each row with all of its fields."""
    with file.open("rb") as stream:
        start = 0
        for number, line in jsonl.lines(stream):
            end = stream.tell()
            if line is None:
                wrong(file, number, f"the line is longer than {jsonl.MAX_LINE} bytes")
            if line.strip():
                yield record(file, number, line, start)
            start = end


def record(file: Path, number: int, line: bytes, start: int) -> Record:
    """The row in a line of `file`; Unprocessable names what is wrong with it."""
    try:
        value = jsonl.parse(line)
    except jsonl.BadLine as error:
        if (what := jsonl.document(file)) is not None:
            raise _document(file, what) from None
        wrong(file, number, str(error))
    if fault := next(faults(value), None):
        if number == 1 and (what := jsonl.document(file)) is not None:
            raise _document(file, what)
        wrong(file, number, fault.what)
    value = normalized(value)
    messages = tuple({"role": turn["role"], "content": turn["content"]} for turn in value["messages"])
    untrained = frozenset(index for index, turn in enumerate(value["messages"]) if turn.get("weight") == 0)
    conversation = Conversation(messages, bool(value.get("unmask")), file, number, untrained)
    return Record(conversation, value, line, start)


def normalized(row: dict[str, Any]) -> dict[str, Any]:
    """A valid row in the current format: one with the role `pretraining` becomes an `unmask` row."""
    return legacy.converted(row) if legacy.is_legacy(row) else row


def _document(file: Path, what: str) -> Unprocessable:
    return Unprocessable(
        f"{file.name}: the file is {what}; write one object per line.",
        f"For a list: jq -c '.[]' {file.name} > rows.jsonl",
    )


def faults(value: Any) -> Iterator[Fault]:
    """The problems of a row, in the order of its messages; none for a valid row."""
    if not isinstance(value, dict):
        yield Fault((), "it is not a JSON object")
        return
    messages = value.get("messages")
    if "messages" not in value:
        yield Fault((), "`messages` is missing")
    elif not isinstance(messages, list) or not messages:
        yield Fault(("messages",), "`messages` is not a list with at least one message")
    else:
        for position, message in enumerate(messages):
            yield from _of_message(position, message)
        answers = [
            message
            for message in messages
            if isinstance(message, dict) and message.get("role") in ("assistant", legacy.ROLE)
        ]
        if not answers:
            what = "`messages` has no message of the assistant, so there is no answer to learn"
            yield Fault(("messages",), what)
        elif all(message.get("weight") == 0 for message in answers):
            yield Fault(
                ("messages",), "`messages` has only answers of weight 0, so there is nothing to learn"
            )
    unmask = value.get("unmask")
    if unmask is not None and not isinstance(unmask, bool):
        yield Fault(("unmask",), "`unmask` is neither true nor false")


def _of_message(position: int, message: Any) -> Iterator[Fault]:
    at, where = ("messages", position), f"`messages[{position}]"
    if not isinstance(message, dict):
        yield Fault(at, f"{where}` is not an object with role and content")
        return
    role, content = message.get("role"), message.get("content")
    weight = message.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        yield Fault((*at, "weight"), f"{where}.weight` is {str(weight)[:40]}, not 0 or 1")
    if role == legacy.ROLE:
        if problem := legacy.fault(content):
            yield Fault((*at, "content"), f"{where}.content` {problem}")
            return
        role = "assistant"
    if role is None:
        yield Fault((*at, "role"), f"{where}.role` is missing")
    elif role not in ROLES:
        what = f"{where}.role` is {str(role)[:40]!r}, not one of {', '.join(ROLES)}"
        yield Fault((*at, "role"), what)
    elif role == "system" and position:
        yield Fault((*at, "role"), f"{where}.role` is 'system', which only the first message may be")
    if not isinstance(content, str):
        yield Fault((*at, "content"), f"{where}.content` is not text")
    elif half := _HALF.search(content):
        what = f"{where}.content` has half a character, a lone surrogate, at its place {half.start() + 1}"
        yield Fault((*at, "content"), what)
    elif role == "assistant" and not content.strip():
        yield Fault((*at, "content"), f"{where}.content` of the assistant is empty")


def wrong(file: Path, number: int, what: str) -> NoReturn:
    """The error for a row, with an example of a valid one."""
    raise Unprocessable(
        f"{file.name}, row {number}: {what}.",
        'Correct the row; it looks like {"messages": [{"role": "user", "content": "..."}, '
        '{"role": "assistant", "content": "..."}]}.',
    )

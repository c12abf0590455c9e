"""Reading JSON Lines without trust: one line at a time, bounded, with the column of what is wrong."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

MAX_LINE = 8 * 1024 * 1024
MAX_DOCUMENT = 64 * 1024 * 1024
MAX_DEPTH = 100
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BLANK = re.compile(r"[ \t\n\r]*")
# What files that are no text begin with.
_FORMATS = (
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"SQLite format 3", "SQLite"),
    (b"\x93NUMPY", "NumPy"),
    (b"\x89HDF", "HDF5"),
    (b"Obj\x01", "Avro"),
    *((bytes((0x80, protocol)), "Python pickle") for protocol in range(2, 6)),
)


class BadLine(ValueError):
    """A line that is not JSON; the text says why and where, `column` counts characters from 1."""

    def __init__(self, text: str, column: int = 1) -> None:
        super().__init__(text)
        self.column = column


def lines(stream: BinaryIO, limit: int = MAX_LINE) -> Iterator[tuple[int, bytes | None]]:
    """(row number from 1, the line without its end) for each line.

    None represents a line of more than `limit` bytes, which is skipped without being read into memory.
    """
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) <= limit or line.endswith(b"\n"):
            yield number, line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(limit)
        yield number, None


def parse(line: bytes, *, constants: bool = False) -> Any:
    """The JSON value of a line. BadLine for bad UTF-8, bad JSON and too deep nesting; without `constants`
    also for NaN, infinities and numbers that overflow.
    """
    if line.startswith(codecs.BOM_UTF8):
        raise BadLine("it begins with a byte order mark; save the file as UTF-8 without one")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode("utf-8")) + 1
        raise BadLine(f"not UTF-8 at byte {error.start + 1}; save the file as UTF-8", column) from None
    try:
        value = (
            json.loads(text)
            if constants
            else json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        )
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON at column {error.colno} ({error.msg})", error.colno) from None
    except RecursionError:
        raise BadLine("nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"not JSON ({error})") from None
    return value


def parse_for_answer(line: bytes, *, constants: bool = False) -> Any:
    """The same; BadLine also for what an answer cannot hold: unpaired surrogates, over MAX_DEPTH levels."""
    value = parse(line, constants=constants)
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise BadLine(f"nested deeper than {MAX_DEPTH} levels")
    if _SURROGATE.search(line) and not _is_text(value):
        raise BadLine("it contains an unpaired surrogate (half of a character, such as \\ud800)")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [inner for inner in level if isinstance(inner, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        if depth > MAX_DEPTH:
            break
    return depth


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def column(line: bytes, path: Sequence[str | int]) -> int:
    """Where the value at `path` begins in a line that `parse` accepts, in characters from 1.

    Of a value that is not there, where the nearest one around it begins.
    """
    text = line.decode("utf-8")
    decoder = json.JSONDecoder()
    position = _skip(text, 0)
    for step in path:
        found = None
        for key, start in _children(decoder, text, position):
            if key == step:
                found = start
        if found is None:
            break
        position = found
    return position + 1


def _children(decoder: json.JSONDecoder, text: str, position: int) -> Iterator[tuple[str | int, int]]:
    """(key or index, where its value begins) of the object or list at `place`; nothing for other values."""
    opening = text[position]
    if opening not in "[{":
        return
    index = 0
    position = _skip(text, position + 1)
    while text[position] not in "]}":
        key: str | int = index
        if opening == "{":
            key, position = decoder.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)
        yield key, position
        position = _skip(text, decoder.raw_decode(text, position)[1])
        if text[position] == ",":
            position = _skip(text, position + 1)
        index += 1


def _skip(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    return found.end() if found else position


def document(path: Path) -> str | None:
    """What a file is that holds valid JSON but not one value a line, such as `one JSON document (a list of 2
    objects)`; None for any other file, and for one too large to be read at once.
    """
    try:
        if path.stat().st_size > MAX_DOCUMENT:
            return None
        text = path.read_text(encoding="utf-8-sig").strip()
        values = list(_values(text))
    except (OSError, ValueError, RecursionError):
        return None
    if len(values) == 1:
        [value] = values
        if isinstance(value, list):
            kind = "object" if all(isinstance(item, dict) for item in value) else "value"
            return f"one JSON document (a list of {len(value)} {kind}{'' if len(value) == 1 else 's'})"
        return "one JSON document (an object over several lines)" if "\n" in text else None
    lines = sum(1 for line in text.splitlines() if line.strip())
    return f"{len(values)} JSON documents over {lines} lines" if values and lines != len(values) else None


def _values(text: str) -> Iterator[Any]:
    """The JSON values that follow each other; ValueError where something else is between them."""
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        value, end = decoder.raw_decode(text, position)
        yield value
        position = _skip(text, end)


def other_format(head: bytes) -> str | None:
    """The name of the file format that begins like `head`, where that is not text: a pickle, Parquet, zip."""
    return next((name for start, name in _FORMATS if head.startswith(start)), None)


def count(stream: BinaryIO) -> int:
    """Lines of the stream, an unended last one included."""
    total, last = 0, b"\n"
    while block := stream.read(1024 * 1024):
        total += block.count(b"\n")
        last = block[-1:]
    return total + (last != b"\n")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:20]} is out of range")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")

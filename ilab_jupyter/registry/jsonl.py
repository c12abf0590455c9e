"""Reading JSON Lines without trust: one line at a time, bounded, with the column of what is wrong."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

MAX_LINE = 8 * 1024 * 1024


class BadLine(ValueError):
    """A line that is not JSON; the text says why and where."""


def lines(stream: BinaryIO, limit: int = MAX_LINE) -> Iterator[tuple[int, bytes | None]]:
    """(row number from 1, the line without its end) for each line.

    None stands for a line of more than `limit` bytes, which is skipped without being held in memory.
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


def parse(line: bytes) -> Any:
    """The JSON value of a line; BadLine for bad UTF-8, bad JSON, NaN, infinities and too deep nesting."""
    if line.startswith(codecs.BOM_UTF8):
        raise BadLine("it begins with a byte order mark; save the file as UTF-8 without one")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON at column {error.colno} ({error.msg})") from None
    except RecursionError:
        raise BadLine("nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"not JSON ({error})") from None


def count(stream: BinaryIO) -> int:
    """Lines of the stream, an unended last one included."""
    total, last = 0, b"\n"
    while block := stream.read(1024 * 1024):
        total += block.count(b"\n")
        last = block[-1:]
    return total + (last != b"\n")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")

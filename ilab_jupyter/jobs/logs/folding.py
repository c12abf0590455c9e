"""A log as a terminal displays it: text after a carriage return overwrites what was before it.

The panel's log window (labextension/src/models/logwindow.ts) follows the same rules.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Line:
    """An unfinished line: keeps what is displayed, not how it was written."""

    def __init__(self) -> None:
        self._under = ""
        self._tail = ""

    @property
    def text(self) -> str:
        """The line as displayed."""
        return _over(self._tail, self._under)

    def add(self, piece: str) -> None:
        """Append text without a line feed."""
        *parts, self._tail = (self._tail + piece).split("\r")
        for part in parts:
            self._under = _over(part, self._under)


class Folder:
    """Folds a log that arrives in pieces: each call returns the lines that it completed."""

    def __init__(self) -> None:
        self._open = Line()

    def feed(self, text: str) -> str:
        """Return the completed lines, each with its line feed."""
        if _CONTROL.search(text) is None:
            return self._plain(text)
        *whole, rest = text.split("\n")
        done = []
        for line in whole:
            self._open.add(line)
            done.append(self._open.text + "\n")
            self._open = Line()
        self._open.add(rest)
        return "".join(done)

    def _plain(self, text: str) -> str:
        first, feed, rest = text.partition("\n")
        self._open.add(first)
        if not feed:
            return ""
        done = self._open.text + "\n"
        whole, feed, last = rest.rpartition("\n")
        self._open = Line()
        self._open.add(last)
        return done + whole + feed

    def close(self) -> str:
        """Return the last line if it has no line feed."""
        rest, self._open = self._open.text, Line()
        return rest


def fold(text: str) -> str:
    """Fold a whole log, or whole lines of one."""
    folder = Folder()
    return folder.feed(text) + folder.close()


def shorten(piece: str) -> str:
    """Remove overwritten text from a piece of a log that is cut at any position.

    Concatenating the shortened pieces of a log and folding the result equals folding the log.
    """
    if "\r" not in piece:
        return piece
    first, *lines = piece.split("\n")
    if not lines:
        return _inner(first)
    return "\n".join([_inner(first), *(fold(line) for line in lines[:-1]), _inner(lines[-1])])


def _inner(line: str) -> str:
    """Fold the middle of a line that may continue at both ends; the ends are kept."""
    parts = line.split("\r")
    if len(parts) < 4:
        return line
    under = ""
    for part in parts[1:-1]:
        under = _over(part, under)
    return f"{parts[0]}\r{under}\r{parts[-1]}"


def _over(text: str, under: str) -> str:
    plain = _CONTROL.sub("", _ESCAPES.sub("", text)) if not text.isprintable() else text
    return plain + under[len(plain) :]

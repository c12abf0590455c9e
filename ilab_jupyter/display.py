"""How results are shown: as text that cannot move a terminal's cursor, and as HTML that cannot run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

# Control characters but tab and line end, those that turn the direction of text around, half characters.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# A title on one line: none of these, and nothing without width that makes two names look the same.
TITLE = r"^[^\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$"


class Shown:
    """What a terminal and a notebook without HTML show of it is its `str`, not its fields."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # IPython goes from class to class, and would first find the `__repr__` that a dataclass has.
        cls._repr_pretty_ = Shown._repr_pretty_  # type: ignore[method-assign]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(safe(str(self)))


def safe(text: str) -> str:
    """`text` with a sign in place of every control character."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def cut(text: str, length: int = 160) -> str:
    """The text on one line, shortened to `length` characters."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length and len(text) <= 4 * length else f"{line[: length - 1].rstrip()}…"


def html(text: str) -> str:
    """`text` for a page: safe and escaped."""
    return escape(safe(text))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], most: int | None = None) -> str:
    """A plain HTML table; every cell is escaped. Of more rows than `most` the rest is only counted."""
    style = "text-align: left; vertical-align: top"
    top = "".join(f'<th style="{style}">{html(name)}</th>' for name in head)
    every = list(rows)
    body = "".join(
        "<tr>" + "".join(f'<td style="{style}">{html(str(cell))}</td>' for cell in row) + "</tr>"
        for row in every[:most]
    )
    left = len(every) - len(every[:most])
    more = f"<p>… and {left:,} more</p>" if left else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{more}"


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

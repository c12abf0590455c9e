"""Decode text files, and split text into paragraphs."""

from __future__ import annotations

import codecs
import re

from ilab_jupyter.retrieval.unreadable import Unreadable

# UTF-32 first: its little-endian byte order mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(
    rb"""<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]{1,40})""", re.I
)


def decode(raw: bytes, *, html: bool = False) -> tuple[str, str]:
    """Return (text, warning or ''). Raises Unreadable for bytes that are not text.

    The encoding is that of the byte order mark, if any; otherwise UTF-8, then the encoding that an HTML page
    declares, then Windows-1252 with a warning.
    """
    marked = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if marked is None and b"\0" in raw:
        raise Unreadable("encoding", "It is not text, or UTF-16 without its mark.", "Save it as UTF-8.")
    try:
        return raw.decode(marked or "utf-8"), ""
    except UnicodeDecodeError as error:
        position = error.start
    if marked is None:
        declared = _DECLARED.search(raw[:4096]) if html else None
        guess = "It is not UTF-8 and was read as Windows-1252; look at its accents and quotes."
        for name, doubt in ([(declared[1].decode(), "")] if declared else []) + [("cp1252", guess)]:
            try:
                return raw.decode(name), doubt
            except (UnicodeDecodeError, LookupError, ValueError):
                continue
    raise Unreadable(
        "encoding", f"It is in an unknown encoding (byte {position + 1} fits none).", "Save it as UTF-8."
    )


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of plain text, separated by blank lines, each joined into one line."""
    blocks = re.split(r"\n[^\S\n]*\n\s*", text.replace("\r\n", "\n").replace("\r", "\n"))
    return [joined for block in blocks if (joined := " ".join(block.split()))]


def page_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a printed page without blank lines.

    A paragraph ends at a short line that ends a sentence. Words hyphenated at a line end are joined.
    """
    lines = [" ".join(line.split()) for line in re.sub("\ufffe|\u00ad", "-\n", text).splitlines()]
    longest = max(map(len, lines), default=0)
    found: list[str] = []
    current = ""
    for line in lines:
        if re.search(r"[^\W\d_]-$", current) and line[:1].islower():
            current = current[:-1] + line
        else:
            current = f"{current} {line}".strip()
        ends = not line or (len(line) < 0.8 * longest and line.endswith((".", "!", "?", ":", "\u2026")))
        if ends and current:
            found.append(current)
            current = ""
    return [*found, current] if current else found

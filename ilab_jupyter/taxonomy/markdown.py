"""Whether a markdown file has any text to learn from. Light: no markdown library is needed for that."""

from __future__ import annotations

import re
from pathlib import Path

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TAG = re.compile(r"<[^<>\n]*>")
_IMAGE = re.compile(r"!\[[^\]\n]*\](?:\([^)\n]*\)|\[[^\]\n]*\])")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]\n]+\]:.*$", re.MULTILINE)
_HEADING = re.compile(r"^[ >]*#{1,6}(?:\s.*)?$", re.MULTILINE)
# The lines of a paragraph, underlined: a heading too.
_UNDERLINED = re.compile(r"^(?:[^\n|]*\S[^\n|]*\n)+ {0,3}(?:=+|-+)[ \t]*$", re.MULTILINE)
_CODE = re.compile(r"^ {0,3}(```+|~~~+)[^\n]*\n(.*?)(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)


def has_text(file: Path) -> bool:
    """False for a file of headings, pictures, comments and rules only, which gives no chunk.

    `file` is UTF-8 text.
    """
    text = file.read_text(encoding="utf-8-sig")
    code = "".join(match[2] for match in _CODE.finditer(text))
    if any(map(str.isalnum, code)):
        return True
    for pattern in (_COMMENT, _CODE, _HEADING, _UNDERLINED, _REFERENCE, _IMAGE, _TAG):
        text = pattern.sub("\n", text)
    return any(map(str.isalnum, text))

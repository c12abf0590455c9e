"""Asking a served model from a cell: the answer comes as plain text, in pieces, and is never read as HTML."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from typing import TextIO

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.sync import run
from ilab_jupyter.magics.arguments import Parser

Message = dict[str, str]

# A model may say anything; what would move a terminal's cursor or change its title is left out.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def split(parser: Parser, line: str) -> tuple[list[str], str | None, str]:
    """(option words, model, question) of `--keep my-model What's this?`; the question keeps its quotes."""
    rest = io.StringIO(line)
    lexer = shlex.shlex(rest, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    options: list[str] = []
    try:
        for word in iter(lexer.get_token, None):
            if not word.startswith("-"):
                return options, word, rest.read().strip()
            options.append(word)
            if "=" not in word and parser.takes_value(word.replace("_", "-")):
                options.append(lexer.get_token() or "")
    except ValueError:
        raise InvalidInput("A quotation mark is not closed.", "Close it, or leave it out.") from None
    return options, None, ""


def say(pieces: Iterator[str], out: TextIO) -> str:
    """Write the answer as it comes and give it whole."""
    whole = []
    for piece in pieces:
        whole.append(piece)
        print(_UNPRINTABLE.sub("", piece), end="", file=out, flush=True)
    print(file=out, flush=True)
    return "".join(whole)


def blocking(stream: AsyncIterator[str]) -> Iterator[str]:
    """The pieces one by one; closing this, or an interrupt, ends the request."""

    async def following() -> str | None:
        return await anext(stream, None)

    async def close() -> None:
        if hasattr(stream, "aclose"):
            await stream.aclose()

    try:
        while (piece := run(following())) is not None:
            yield piece
    finally:
        run(close())

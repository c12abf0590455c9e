"""Chat with a served model: the answer streams as plain text and is never interpreted as HTML."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Iterator
from typing import TextIO

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.sync import run
from ilab_jupyter.magics.arguments import Parser

Message = dict[str, str]

# A word, or several in quotes.
_WORD = re.compile(r"""(?:--?[\w-]+=)?"[^"]*"(?=\s|$)|(?:--?[\w-]+=)?'[^']*'(?=\s|$)|\S+""")
# Control characters, which could move a terminal's cursor or change its title, are removed.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def split(parser: Parser, line: str) -> tuple[list[str], str | None, str]:
    """(option words, model, question) of `my-model What's this? --keep`; options may be anywhere.

    The question keeps its quotes. Text after ` -- ` is not parsed for options.
    """
    line, _, literal = f"{line.strip()} ".partition(" -- ")
    options: list[str] = []
    question = ""
    model: str | None = None
    end = 0
    words = _WORD.finditer(line)
    for found in words:
        word, before, end = found[0], line[end : found.start()], found.end()
        name = word.partition("=")[0].replace("_", "-")
        if parser.knows(name):
            options.append(_unquoted(word))
            if "=" not in word and parser.takes_value(name) and (value := next(words, None)) is not None:
                options.append(_unquoted(value[0]))
                end = value.end()
        elif near := parser.nearest(name):
            raise InvalidInput(
                f"There is no option {name!r}. Did you mean `{near}`?",
                "Write -- before a question that contains such a word.",
            )
        elif model is None and word.startswith("-"):
            options.append(word)
        elif model is None:
            model = _unquoted(word)
        else:
            question += before + word
    return options, model, "\n".join(filter(None, (question.strip(), literal.strip())))


def _unquoted(word: str) -> str:
    """The word without quotes, as a shell reads it."""
    try:
        return "".join(shlex.split(word)) if word[:1] in ("'", '"') or "=" in word else word
    except ValueError:
        raise InvalidInput("A quotation mark is not closed.", "Close it, or leave it out.") from None


def print_stream(pieces: Iterator[str], out: TextIO) -> str:
    """Print the pieces of an answer as they arrive and return the whole answer."""
    whole = []
    for piece in pieces:
        whole.append(piece)
        print(_UNPRINTABLE.sub("", piece), end="", file=out, flush=True)
    print(file=out, flush=True)
    return "".join(whole)


def blocking(stream: AsyncIterator[str]) -> Iterator[str]:
    """Iterate over an asynchronous stream; closing the iterator, or an interrupt, ends the request."""

    async def next_piece() -> str | None:
        return await anext(stream, None)

    async def close() -> None:
        if hasattr(stream, "aclose"):
            await stream.aclose()

    try:
        while (piece := run(next_piece())) is not None:
            yield piece
    finally:
        run(close())

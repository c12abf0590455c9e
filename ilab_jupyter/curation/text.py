"""What counts as the same text: words of any script, n-grams and shingles of them, the parts of a row."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Scripts without blanks between words: every character counts as one.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")


@dataclass(frozen=True)
class Parts:
    """A conversation as question, answer and the text before them.

    InstructLab puts a document before its question, with a blank line between. So the question is the last
    paragraph of the last user turn; the document and earlier turns are the context.
    """

    context: str
    question: str
    answer: str


def tidy(text: str) -> str:
    """The text with each run of blanks and line ends as one blank, and accents in one form (Unicode NFC)."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def words(text: str) -> list[str]:
    """The words in their order, without case and punctuation (Unicode NFKC, case-folded)."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def numbers(tokens: Iterable[str]) -> tuple[str, ...]:
    """The words that hold a digit, sorted."""
    return tuple(sorted(word for word in tokens if any(map(str.isdigit, word))))


def shingles(tokens: list[str], size: int) -> frozenset[str]:
    """Every run of `size` words; of a shorter text, the whole of it."""
    if not tokens:
        return frozenset()
    if len(tokens) <= size:
        return frozenset([" ".join(tokens)])
    return frozenset(map(" ".join, ngrams(tokens, size)))


def ngrams(tokens: list[str], size: int) -> Iterable[tuple[str, ...]]:
    """Every run of `size` words, in their order; nothing of a shorter text."""
    return zip(*(tokens[start:] for start in range(size)), strict=False)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared members by all members; two empty sets are the same."""
    if not one and not other:
        return 1.0
    return len(one & other) / len(one | other)


def last_paragraph(text: str) -> str:
    """The text after the last blank line."""
    return _PARAGRAPH.split(text.strip())[-1]


def parts(messages: Iterable[Mapping[str, str]]) -> Parts:
    """The parts of a conversation; its system prompt is none of them."""
    turns = [message for message in messages if message["role"] != "system"]
    last = max((position for position, turn in enumerate(turns) if turn["role"] == "user"), default=-1)
    before = [turn["content"] for turn in turns[: max(last, 0)]]
    question = ""
    if last >= 0:
        whole = turns[last]["content"].strip()
        question = last_paragraph(whole)
        before.append(whole[: len(whole) - len(question)])
    answer = "\n".join(turn["content"] for turn in turns[last + 1 :])
    return Parts("\n".join(filter(str.strip, before)), question, answer)

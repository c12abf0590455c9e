"""Text comparison: words of any script, n-grams, shingles, and the parts of a conversation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Scripts without spaces between words: every character counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")


@dataclass(frozen=True)
class Parts:
    """A conversation as question, answer and the text before them.

    InstructLab puts a document before its question, separated by a blank line. The question is therefore the
    last paragraph of the last user turn; the document and earlier turns are the context.
    """

    context: str
    question: str
    answer: str


def tidy(text: str) -> str:
    """Return the text with each run of whitespace replaced by one space, in Unicode NFC."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def words(text: str) -> list[str]:
    """Return the words in order, case-folded and without punctuation (Unicode NFKC)."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def numbers(tokens: Iterable[str]) -> tuple[str, ...]:
    """Return the words that contain a digit, sorted."""
    return tuple(sorted(word for word in tokens if any(map(str.isdigit, word))))


def shingles(tokens: list[str], size: int) -> frozenset[str]:
    """Return the set of runs of `size` words; for a shorter text, the whole text."""
    if not tokens:
        return frozenset()
    if len(tokens) <= size:
        return frozenset([" ".join(tokens)])
    return frozenset(map(" ".join, ngrams(tokens, size)))


def ngrams(tokens: list[str], size: int) -> Iterable[tuple[str, ...]]:
    """Iterate over the runs of `size` words, in order; a shorter text has none."""
    return zip(*(tokens[start:] for start in range(size)), strict=False)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets; 1.0 for two empty sets."""
    if not one and not other:
        return 1.0
    return len(one & other) / len(one | other)


def last_paragraph(text: str) -> str:
    """Return the text after the last blank line."""
    return _PARAGRAPH.split(text.strip())[-1]


def parts(messages: Iterable[Mapping[str, str]]) -> Parts:
    """Split a conversation into its parts; the system prompt is ignored."""
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

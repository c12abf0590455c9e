"""Plain text: its sentences, its content words, and how much two texts have in common."""

from __future__ import annotations

import html
import re

_ABBREVIATION = re.compile(r"(?:\b[A-Za-z]|\b(?:Mr|Mrs|Ms|Dr|St|No|vs|cf|etc|approx|ca|e\.g|i\.e|U\.S))\.$")
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_COMMON = (
    "a about after all also an and any are as at be because been before being between both but by can "
    "could did do does for from had has have he her here his how i if in into is it its just may me more "
    "most must my no not now of on one only or other our out over please she should so some such tell "
    "than that the their them then there these they this those through to too under up us very was we "
    "were what when where which while who whom whose why will with would you your"
)
_STOP = frozenset(_COMMON.split())


def plain(text: str) -> str:
    """`text` without markdown's inline marks: links by their words, emphasis and code without their signs."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(\*{1,3}|`+|(?<!\w)_{1,2}(?=\S)|(?<=\S)_{1,2}(?!\w))", "", text)
    return html.unescape(re.sub(r"\\([\\`*_{}\[\]()#+.!-])", r"\1", text))


def split(document: str) -> tuple[list[str], list[str]]:
    """(headings, sentences) of a chunk, whose first lines are its headings. Tables and fragments are left
    out.
    """
    lines = [plain(line).strip() for line in document.split("\n")]
    lines = [line for line in lines if line and not line.startswith("|")]
    headings: list[str] = []
    while len(lines) > 1 and _is_heading(lines[0]):
        headings.append(lines.pop(0).lstrip("# "))
    found = []
    for line in lines:
        found += [
            sentence
            for sentence in _sentences(re.sub(r"^(?:[-*+]|\d+[.)])\s+", "", line))
            if _is_whole(sentence)
        ]
    return headings, found


def _is_heading(line: str) -> bool:
    return len(line.split()) <= 12 and not line.startswith("- ") and line[-1] not in ".!?:;,"


def _is_whole(sentence: str) -> bool:
    return sentence[-1] in ".!?\"')" and len(sentence.split()) >= 4 and not sentence.endswith("?")


def _sentences(paragraph: str) -> list[str]:
    found: list[str] = []
    for part in _END.split(paragraph):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += f" {part}"
        elif part.strip():
            found.append(part.strip())
    return found


def content_words(text: str) -> frozenset[str]:
    """Words that carry meaning, in lower case and without their commonest endings."""
    return frozenset(_stem(word) for word in _WORD.findall(plain(text).lower()) if word not in _STOP)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def share(part: str, whole: str) -> float:
    """The fraction of the content words of `part` that `whole` has too; 0 where `part` has none."""
    words = content_words(part)
    return len(words & content_words(whole)) / len(words) if words else 0.0

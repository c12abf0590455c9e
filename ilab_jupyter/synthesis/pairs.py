"""A question and its answer in one text: how a teacher writes them, and how they are read again.

The pipeline `simple` asks for both in one text. instructlab-sdg takes all up to the first question mark for
the question, which cuts a question with code or several question marks in it, and keeps a teacher's labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

_OPENING, _MIDDLE, _CLOSING = "<question>\n", "\n</question>\n<answer>\n", "\n</answer>"

_WORD = r"question|query|instruction|prompt|q|answer|response|output|solution|a"
_MARK = r"(?:\*{1,3}|_{1,3})"
# `**Question:**`, `### Question 1`, `Q1.`, `- Answer -`, `[QUESTION]`, `[Start of Answer]`, `<answer>`
_LABEL = re.compile(
    rf"""^[ \t]*(?:\#{{1,6}}[ \t]*|[-+>][ \t]+|\*[ \t]+|\d{{1,3}}[.)][ \t]+)?{_MARK}?
    (?P<bracket>[\[<(](?:start\ of\ )?)?(?P<word>{_WORD})[ \t]*(?P<number>(?:no\.?[ \t]*)?\#?[ \t]*\d{{1,3}})?
    (?:(?P<closed>[\])>])[ \t]*[:\uff1a]?{_MARK}?
      |(?P<colon>[ \t]*{_MARK}?[ \t]*[:\uff1a]{_MARK}?)
      |(?P<point>[.)]{_MARK}?(?=\s))
      |(?P<line>{_MARK}?[ \t]*$))""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_END_TAG = re.compile(
    r"\s*(?:\[/?end(?: of [a-z ]+)?\]|\[/[a-z]+\]|</(?:question|answer|response|output|query|prompt)>)\s*$",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*(```+|~~~+).*?(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_WHOLE_FENCE = re.compile(r"\s*(```+|~~~+)[\w-]*[ \t]*\n(.*)\n[ \t]*\1\s*", re.DOTALL)
_RULE = re.compile(r"^[ \t]*(?:-{3,}|\*{3,}|_{3,}|={3,})[ \t]*$")
_INTRODUCTION = re.compile(
    r"[^\n?]*\b(?:question|pair|q&a|qa|example)\b[^\n?]*[:.!]\**[ \t]*\n", re.IGNORECASE
)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
# U+037E is the Greek question mark, which looks like a semicolon.
_MARKS = "?\uff1f\u061f\u037e\u2047\u2048\u055e\u1367"
_QUESTION_END = re.compile(
    r"[?\u037e\u2047\u2048](?=[\"'\u201d\u2019)\]*_]*(?:\s|$))[\"'\u201d\u2019)\]*_]*"
    r"|[\uff1f\u061f\u055e\u1367]"
)
_QUESTION_WORDS = ("question", "query", "instruction", "prompt", "q")
_ANSWER_WORDS = ("answer", "response", "a")


class Pair(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


def joined(question: str, answer: str) -> str:
    """One text of both, from which `split` gives the same two: in tags where the plain text is ambiguous."""
    question, answer = question.strip(), answer.strip()
    plain = f"{question}\n{answer}"
    return plain if split(plain) == (question, answer) else f"{_OPENING}{question}{_MIDDLE}{answer}{_CLOSING}"


def split(text: str) -> Pair | None:
    """Question and answer without labels and markup around them; None where there are not both."""
    text = text.strip()
    if text.startswith(_OPENING) and text.endswith(_CLOSING) and _MIDDLE in text:
        question, _, answer = text[len(_OPENING) : -len(_CLOSING)].partition(_MIDDLE)
        return _whole(question.strip(), answer.strip())
    if (fenced := _WHOLE_FENCE.fullmatch(text)) and "```" not in fenced[2]:
        text = fenced[2].strip()
    return _from_json(text) or _labelled(text) or _plain(text)


def unlabelled(text: str) -> str:
    """`text` without a label such as `**Answer:**` at its beginning, and without tags at its end."""
    label = _LABEL.match(text)
    if label is not None and _is_label(label) and len(label["word"]) > 1:
        text = text[label.end() :]
    return _clean(text)


def _from_json(text: str) -> Pair | None:
    if not text.startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, dict):
        return None
    named = {str(key).lower(): item for key, item in value.items()}
    question = next((named[word] for word in _QUESTION_WORDS if word in named), None)
    answer = next((named[word] for word in ("answer", "response", "output", "a") if word in named), None)
    if not isinstance(question, str) or not isinstance(answer, str):
        return None
    return _whole(question.strip(), answer.strip())


def _labelled(text: str) -> Pair | None:
    """The first pair of a text with labels; text before the first question is left out."""
    labels = list(_labels(text))
    first = next((label for label in labels if label.word in _QUESTION_WORDS), None)
    after = [label for label in labels if first is None or label.start > first.start]
    answers = [label for label in after if label.word not in _QUESTION_WORDS]
    # an answer may have an `Output:` of its own
    answers.sort(key=lambda label: label.word not in _ANSWER_WORDS)
    if first is None:
        before = text[: answers[0].start].rstrip() if answers else ""
        if not before.endswith(tuple(_MARKS)) or answers[0].word not in _ANSWER_WORDS:
            return None
        return _whole(_question(before), _clean(text[answers[0].end :]))
    if not answers:
        return _plain(text[first.end :].strip())
    answer = answers[0]
    again = (label.start for label in after if label.word == first.word and label.start > answer.start)
    return _whole(_clean(text[first.end : answer.start]), _clean(text[answer.end : next(again, len(text))]))


class _Label(NamedTuple):
    start: int
    end: int
    word: str


def _labels(text: str) -> Iterator[_Label]:
    """The labels at the beginning of a line that is not in a code block."""
    fences = [match.span() for match in _FENCE.finditer(text)]
    for match in _LABEL.finditer(text):
        if _is_label(match) and not any(start <= match.start() < end for start, end in fences):
            yield _Label(match.start(), match.end(), match["word"].lower())


def _is_label(match: re.Match[str]) -> bool:
    """Single letters need a colon, a number or brackets, and a word by itself its own line."""
    if bool(match["bracket"]) != bool(match["closed"]):
        return False
    if match["point"]:
        return bool(match["number"])
    if match["line"] is not None:
        return bool(match["number"]) or len(match["word"]) > 1
    return True


def _plain(text: str) -> Pair | None:
    """Without labels: the first line where it is a question, else all up to the first question mark."""
    introduction = _INTRODUCTION.match(text)
    if introduction is not None and any(mark in text[introduction.end() :] for mark in _MARKS):
        text = text[introduction.end() :].lstrip()
    line, _, rest = text.partition("\n")
    if line.rstrip(" \t*_\"'`)\u201d").endswith(tuple(_MARKS)) and rest.strip():
        return _whole(_question(line), unlabelled(rest.strip()))
    codes = [match.span() for pattern in (_FENCE, _INLINE_CODE) for match in pattern.finditer(text)]
    for match in _QUESTION_END.finditer(text):
        if not any(start <= match.start() < end for start, end in codes):
            return _whole(_question(text[: match.end()]), unlabelled(text[match.end() :].strip()))
    return None


def _question(text: str) -> str:
    """Without the marks of a heading, a numbered list or bold text around all of it."""
    text = re.sub(r"^\s*(?:#{1,6}\s+|\d{1,3}[.)]\s+)", "", text).strip()
    bold = re.fullmatch(r"(\*{1,3}|_{2,3})([^*_]+)\1", text)
    return bold[2].strip() if bold else text


def _clean(text: str) -> str:
    """Without closing tags, rules and blank lines around it."""
    while (shorter := _END_TAG.sub("", text)) != text:
        text = shorter
    lines = text.strip().split("\n")
    while lines and (not lines[0].strip() or _RULE.match(lines[0])):
        lines.pop(0)
    while lines and (not lines[-1].strip() or _RULE.match(lines[-1])):
        lines.pop()
    return "\n".join(lines).strip()


def _whole(question: str, answer: str) -> Pair | None:
    return Pair(question, answer) if question and answer else None

"""Plain text: its sentences, its content words, and how much two texts have in common."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from unicodedata import category

_ABBREVIATION = re.compile(r"(?:\b[A-Za-z]|\b(?:Mr|Mrs|Ms|Dr|St|No|vs|cf|etc|approx|ca|e\.g|i\.e|U\.S))\.$")
# Sentence ends that need a blank after them, and those of scripts that need none: Arabic, Urdu, Devanagari,
# Chinese, Japanese, Armenian, Ethiopic, Khmer, Burmese, Tibetan.
_POINTS = ".!?\u2026\u203d"
_QUESTION_MARKS = "?\uff1f\u061f\u037e\u055e\u1367"
_ALWAYS = "\u061f\u06d4\u0964\u0965\u3002\uff01\uff1f\uff61\uff0e"
_ALWAYS += "\u0589\u1362\u1367\u1368\u17d4\u17d5\u104b\u0f0d\u0f0e"
_CLOSING = "\"')\\]\u201d\u2019\u00bb\u300d\u300f\uff09"
_OPENING = "\"'(\\[\u201c\u2018\u00ab\u00bf\u00a1"
_END = re.compile(
    rf"[{_POINTS}]+[{_CLOSING}]*(?P<blank>\s+)(?=[{_OPENING}]*(?P<next>\S))|[{_ALWAYS}]+[{_CLOSING}]*(?P<any>\s*)"
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
# Scripts that put no blanks between words: Thai, Lao, Tibetan, Burmese, Khmer, kana and Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
_WITHOUT_POINTS = re.compile("[\u0e00-\u0eff]")  # Thai and Lao part sentences with a blank
SHORTEST_UNSPACED = 6
_SHORTEST_THAI = 20
_LONGEST_UNSPACED_HEADING = 16
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
    """(headings, sentences) of a chunk, whose first lines are its headings.

    Tables and fragments are left out where there are whole sentences. A text without any gives its shorter
    sentences, then its lines and the rows of its tables.
    """
    lines = [plain(line).strip() for line in document.split("\n")]
    rows = [line for line in lines if line.startswith("|")]
    lines = [line for line in lines if line and not line.startswith("|")]
    headings: list[str] = []
    while len(lines) > 1 and _is_heading(lines[0]):
        headings.append(lines.pop(0).lstrip("# "))
    bare = [re.sub(r"^(?:[-*+]|\d+[.)])\s+", "", line) for line in lines if not line.startswith("#")]
    sentences = [sentence for line in bare for sentence in _sentences(line)]
    found = [sentence for sentence in sentences if _is_whole(sentence, words=4)]
    if not found:
        found = [sentence for sentence in sentences if _is_whole(sentence, words=2)]
    if not found:
        found = [*(line for line in bare if _is_statement(line)), *_table_rows(rows)]
    return headings, found


def unspaced(text: str) -> bool:
    """Whether most letters of `text` are of a script without blanks between words."""
    letters = sum(map(str.isalpha, text))
    return letters > 0 and len(_UNSPACED.findall(text)) > letters / 2


def is_question(text: str) -> bool:
    """Whether `text` ends with a question mark of any script."""
    return text.rstrip(_CLOSING.replace("\\", "")).endswith(tuple(_QUESTION_MARKS))


def without_point(text: str) -> str:
    """`text` without the sentence end and the quotes behind it."""
    return text.rstrip(f" {_POINTS}{_ALWAYS}{_CLOSING}".replace("\\", ""))


def size(text: str) -> int:
    """How many words `text` has, two characters counting as one in a script without blanks."""
    return len(text) // 2 if unspaced(text) else len(text.split())


def _is_heading(line: str) -> bool:
    if line[-1] in f".!?:;,{_ALWAYS}" or line.startswith("- "):
        return False
    return len(line) <= _LONGEST_UNSPACED_HEADING if unspaced(line) else len(line.split()) <= 12


def _is_whole(sentence: str, words: int) -> bool:
    if is_question(sentence):
        return False
    if unspaced(sentence):
        return len(without_point(sentence)) >= SHORTEST_UNSPACED
    ends = sentence[-1] in f"{_POINTS}{_ALWAYS}{_CLOSING}"
    return ends and len(sentence.split()) >= words and any(map(str.isalpha, sentence))


def _is_statement(line: str) -> bool:
    return (
        size(line) >= 2 and not line.endswith(":") and not is_question(line) and any(map(str.isalpha, line))
    )


def _table_rows(lines: list[str]) -> list[str]:
    """Each row of a markdown table with the names of its columns: `Item: Rye, Price: 3`."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    if not rows:
        return []
    names, *rest = rows
    named = [
        ", ".join(f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=False) if cell)
        for row in rest
    ]
    return [row for row in named if row]


def _sentences(paragraph: str) -> list[str]:
    if len(_WITHOUT_POINTS.findall(paragraph)) > len(paragraph) / 2:
        return _blank_separated(paragraph)
    parts: list[str] = []
    begin = 0
    for match in _END.finditer(paragraph):
        following = match["next"]
        if following is not None and (following.islower() or not following.isalnum()):
            continue
        end = match.start("blank") if following is not None else match.start("any")
        parts.append(paragraph[begin:end])
        begin = match.end()
    found: list[str] = []
    for part in [*parts, paragraph[begin:]]:
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += f" {part}"
        elif part.strip():
            found.append(part.strip())
    return found


def _blank_separated(paragraph: str) -> list[str]:
    """The parts between blanks; a short one, such as a number, belongs to what was before it."""
    found: list[str] = []
    for part in paragraph.split():
        if found and (len(found[-1]) < _SHORTEST_THAI or len(part) < _SHORTEST_THAI):
            found[-1] += f" {part}"
        else:
            found.append(part)
    return found


def content_words(text: str) -> frozenset[str]:
    """Words that carry meaning, in lower case and without their commonest endings."""
    return frozenset(_stem(word) for word in _words(plain(text).lower()) if word not in _STOP)


def _words(text: str) -> Iterator[str]:
    """The words of `text`; in a script without blanks each two characters that follow each other."""
    if text.isascii():
        yield from _WORD.findall(text)
        return
    # vowel signs are part of a word, though they are no letters
    spaced = "".join(
        char if char.isalnum() or category(char)[0] == "M" or char in "'\u2019-" else " " for char in text
    )
    for run in spaced.split():
        if _UNSPACED.search(run):
            yield from (run[position : position + 2] for position in range(max(1, len(run) - 1)))
        else:
            yield run.strip("'\u2019-")


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def share(part: str, whole: str) -> float:
    """The fraction of the content words of `part` that `whole` has too; 0 where `part` has none."""
    words = content_words(part)
    return len(words & content_words(whole)) / len(words) if words else 0.0

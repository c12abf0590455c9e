"""Deduplication: the first of several equal rows is kept; a report lists the removed ones."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import display
from ilab_jupyter.curation import sources, targets, text
from ilab_jupyter.curation.similarity import Buckets
from ilab_jupyter.curation.sources import Source, Sources
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.progress import Reporter
from ilab_jupyter.training.data import Conversation, Record

Kind = Literal["exact", "near"]

_REMEMBERED = 1024


class Duplicate(BaseModel):
    """A removed row and the earlier row that it duplicates."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    score: float = Field(description="Jaccard similarity, 1 for an exact duplicate.")
    file: str
    row: int
    kept_file: str
    kept_row: int
    text: str = Field(description="The beginning of the row's question and answer.")


class Deduplicated(display.Shown, BaseModel):
    """Result of `dedup`. `duplicates` contains the first ones; the report file contains all."""

    model_config = ConfigDict(frozen=True)

    output: str
    report: str = Field(description="JSON Lines, a `Duplicate` each.")
    rows: int
    kept: int
    exact: int
    near: int
    threshold: float | None
    duplicates: tuple[Duplicate, ...]

    def __fspath__(self) -> str:
        return self.output

    def __str__(self) -> str:
        near = "" if self.threshold is None else f", {self.near:,} near ones"
        return (
            f"{display.counted(self.rows, 'row')}: {self.kept:,} kept, {self.exact:,} exact duplicates{near}."
            f"\n{self.output}\n{self.report}"
        )

    def _repr_html_(self) -> str:
        listed = (
            (
                one.kind,
                f"{one.score:.2f}",
                f"{Path(one.file).name}:{one.row}",
                f"{Path(one.kept_file).name}:{one.kept_row}",
                one.text,
            )
            for one in self.duplicates
        )
        shown = display.table(("kind", "score", "removed", "duplicate of", "text"), listed, most=20)
        return f"<pre>{display.html(str(self))}</pre>{shown if self.duplicates else ''}"


@dataclass(frozen=True)
class _Sides:
    """The parts of a row as sets of shingles.

    They are compared separately, so that a long shared document or answer does not hide a different question.
    """

    context: frozenset[str]
    question: frozenset[str]
    answer: frozenset[str]
    numbers: tuple[str, ...]

    @property
    def said(self) -> frozenset[str]:
        """Shingles of question and answer; at least as similar as the less similar of the two."""
        return frozenset(f"? {run}" for run in self.question) | self.answer

    def similarity(self, other: _Sides) -> float:
        """Return the Jaccard similarity of the least similar part."""
        return min(
            text.jaccard(self.context, other.context),
            text.jaccard(self.question, other.question),
            text.jaccard(self.answer, other.answer),
        )


@dataclass(frozen=True)
class Match:
    """A kept row, by its number in `Kept`, that another row duplicates."""

    kind: Kind
    item: int
    score: float


class Kept:
    """Index of the rows kept so far, with their positions in the files.

    A row takes about 0.2 kB for exact duplicates and, with a threshold, about 2.5 kB more; its text is read
    again from the file when it has to be compared.
    """

    def __init__(self, threshold: float | None, shingle: int) -> None:
        self._threshold, self._shingle = threshold, shingle
        self._files: dict[Path, int] = {}
        self._names: list[Path] = []
        self._file, self._row, self._start = array("I"), array("Q"), array("Q")
        self._exact: dict[bytes, int] = {}
        self._buckets = None if threshold is None else Buckets(threshold)
        self._sides: Callable[[int], _Sides] = lru_cache(_REMEMBERED)(self._read)

    def position(self, item: int) -> tuple[Path, int]:
        """Return the file and row number of a kept row."""
        return self._names[self._file[item]], self._row[item]

    def find(self, record: Record) -> Match | None:
        """Return the kept row that the record duplicates; if there is none, keep the record."""
        conversation = record.conversation
        digest = _digest(conversation)
        if (same := self._exact.get(digest)) is not None:
            return Match("exact", same, 1.0)
        if self._buckets is not None and self._threshold is not None:
            sides = _sides(conversation, self._shingle)
            keys = self._buckets.keys(sides.said, sides.context, (sides.numbers, conversation.unmask))
            scored = ((self._sides(item).similarity(sides), item) for item in self._buckets.candidates(keys))
            best = max(scored, default=(0.0, -1), key=lambda pair: (pair[0], -pair[1]))
            if best[0] >= self._threshold:
                return Match("near", best[1], best[0])
            self._buckets.add(keys)
        self._exact[digest] = len(self._row)
        file = conversation.file
        if file not in self._files:
            self._files[file] = len(self._names)
            self._names.append(file)
        self._file.append(self._files[file])
        self._row.append(conversation.row)
        self._start.append(record.start)
        return None

    def _read(self, item: int) -> _Sides:
        file, row = self.position(item)
        return _sides(sources.again(file, row, self._start[item]).conversation, self._shingle)


def dedup(
    data: Sources,
    output: Source | None = None,
    *,
    threshold: float | None = 0.8,
    shingle: int = 3,
    overwrite: bool = False,
    limit: int = 100,
    reporter: Reporter | None = None,
) -> Deduplicated:
    """Write the rows of `data` without duplicates of earlier rows.

    Exact duplicates have the same user and assistant turns, ignoring differences in whitespace. Near
    duplicates have the same numbers, and a Jaccard similarity of at least `threshold` (None: exact ones only)
    over runs of `shingle` words, ignoring case and punctuation, in each of context, question and answer.
    Questions that share a document are therefore not duplicates. The similarity is exact, not estimated. A
    row with `unmask` is never a duplicate of one without. Rows are written byte for byte, in their order.

    Raises InvalidInput, NotFound, Conflict, or Unprocessable at a row that training would refuse; no file is
    written then.
    """
    if shingle < 1:
        raise InvalidInput(f"shingle is {shingle}.", "Give a number of words, 1 or more.")
    paths = sources.files(data)
    file = targets.choose(output, targets.beside(data, "-dedup.jsonl"), paths, overwrite)
    # .ndjson instead of .jsonl, so that the report is not read as a dataset
    report = file.with_name(f"{file.stem}.duplicates.ndjson")
    targets.choose(report, report, paths, overwrite)
    kept = Kept(threshold, shingle)
    found: list[Duplicate] = []
    rows = exact = near = 0
    with targets.written(report, overwrite) as records, targets.written(file, overwrite) as lines:
        for record in sources.records(paths, reporter):
            rows += 1
            match = kept.find(record)
            if match is None:
                lines.write(record.line + b"\n")
                continue
            duplicate = _duplicate(record.conversation, match, *kept.position(match.item))
            exact += duplicate.kind == "exact"
            near += duplicate.kind == "near"
            records.write(targets.line(duplicate.model_dump()))
            if len(found) < limit:
                found.append(duplicate)
    return Deduplicated(
        output=str(file),
        report=str(report),
        rows=rows,
        kept=rows - exact - near,
        exact=exact,
        near=near,
        threshold=threshold,
        duplicates=tuple(found),
    )


def _duplicate(conversation: Conversation, match: Match, kept_file: Path, kept_row: int) -> Duplicate:
    said = text.parts(conversation.messages)
    return Duplicate(
        kind=match.kind,
        score=round(match.score, 4),
        file=str(conversation.file),
        row=conversation.row,
        kept_file=str(kept_file),
        kept_row=kept_row,
        text=display.cut(f"{said.question} {said.answer}"),
    )


def _digest(conversation: Conversation) -> bytes:
    turns = [
        f"{message['role']}\0{text.tidy(message['content'])}"
        for message in conversation.messages
        if message["role"] != "system"
    ]
    digest = hashlib.blake2b("\0\0".join(turns).encode(), digest_size=16)
    digest.update(b"1" if conversation.unmask else b"0")
    return digest.digest()


def _sides(conversation: Conversation, shingle: int) -> _Sides:
    parts = text.parts(conversation.messages)
    question, answer = text.words(parts.question), text.words(parts.answer)
    return _Sides(
        text.shingles(text.words(parts.context), shingle),
        text.shingles(question, shingle),
        text.shingles(answer, shingle),
        text.numbers([*question, *answer]),
    )

"""Input files and rows of a curation, from the name, folder or path of a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry import Datasets, jsonl
from ilab_jupyter.registry.entries import Role
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training.data import Record

Source = str | os.PathLike[str]
Sources = Source | Sequence[Source]

TRAINING: tuple[Role, ...] = ("skills", "knowledge")
_BETWEEN_LOOKS = 500
_NAME = "Name a dataset, a run's folder or JSONL files, or give what a generation returned."


def listed(data: Sources) -> list[Source]:
    """Return `data` as a list. Raises InvalidInput if it is empty or has an item of another type."""
    given: list[Source] = [data] if isinstance(data, str | os.PathLike) else _items(data)
    if not given:
        raise InvalidInput("No data is named.", _NAME)
    return given


def _items(data: object) -> list[Source]:
    named: list[Source] = []
    for item in data if isinstance(data, Iterable) else [data]:
        if not isinstance(item, str | os.PathLike):
            raise InvalidInput(f"This names no data: a {type(item).__name__}.", _NAME)
        named.append(item)
    return named


def files(data: Sources, roles: Sequence[Role] = TRAINING) -> tuple[Path, ...]:
    """Return the distinct JSONL files of `data`; for a generated run, those with one of `roles`.

    Raises NotFound for an unknown name or path, Unprocessable for a file that is not JSON Lines.
    """
    resolved = (Datasets().resolve(item, roles) for item in listed(data))
    return tuple(dict.fromkeys(chain.from_iterable(resolved)))


def records(paths: Iterable[Path], reporter: Reporter | None = None) -> Iterator[Record]:
    """Yield the rows of all files, one after the other.

    Raises Unprocessable at the first row that training would refuse, Stopped on a stop request.
    """
    paths = tuple(paths)
    total = count(paths) if reporter else None
    every = chain.from_iterable(map(training_data.records, paths))
    for number, record in enumerate(every, 1):
        if reporter and number % _BETWEEN_LOOKS == 0:
            look(reporter, number, total)
        yield record


def look(reporter: Reporter, number: int, total: int | None) -> None:
    """Report the progress. Raises Stopped on a stop request."""
    if reporter.stopping:
        raise Stopped
    reporter.progress(number, total, rows=number)


def count(paths: Iterable[Path]) -> int:
    """Return the number of lines in all files."""
    total = 0
    for path in paths:
        with path.open("rb") as stream:
            total += jsonl.count(stream)
    return total


def again(file: Path, row: int, start: int) -> Record:
    """Read the row at byte `start` of its file again."""
    with file.open("rb") as stream:
        stream.seek(start)
        line = stream.readline(jsonl.MAX_LINE + 1).rstrip(b"\r\n")
    return training_data.record(file, row, line, start)

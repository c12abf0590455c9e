"""Validation of datasets: report every problem that training would refuse, with file, row and column."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import display
from ilab_jupyter.curation import sources
from ilab_jupyter.curation.sources import Sources
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry import jsonl
from ilab_jupyter.registry.entries import Role
from ilab_jupyter.training import data as training_data

_HEAD = 16


class Problem(display.Shown, BaseModel):
    """A problem in a row. `field` is the path of the invalid value, such as `messages[1].role`."""

    model_config = ConfigDict(frozen=True)

    file: str
    row: int = Field(description="The line, from 1.")
    column: int = Field(description="The character within the line, from 1, where the wrong value begins.")
    field: str
    message: str

    def __str__(self) -> str:
        return display.safe(f"{Path(self.file).name}:{self.row}:{self.column}: {self.message}")


class FileCheck(BaseModel):
    """A file with the number of its rows, of invalid rows, and of problems."""

    model_config = ConfigDict(frozen=True)

    file: str
    rows: int
    wrong_rows: int
    problems: int


class Validation(display.Shown, BaseModel):
    """Result of `validate`. `problems` contains the first ones; the counts include all."""

    model_config = ConfigDict(frozen=True)

    files: tuple[FileCheck, ...]
    problems: tuple[Problem, ...]

    @property
    def rows(self) -> int:
        """Number of rows in all files, without blank lines."""
        return sum(file.rows for file in self.files)

    @property
    def wrong_rows(self) -> int:
        """Number of rows that training would refuse."""
        return sum(file.wrong_rows for file in self.files)

    @property
    def found(self) -> int:
        """Number of all problems, including those not in `problems`."""
        return sum(file.problems for file in self.files)

    @property
    def ok(self) -> bool:
        """True if every row can be trained on."""
        return not self.found

    def __str__(self) -> str:
        lines = [self._summary(), *map(str, self.problems)]
        if self.found > len(self.problems):
            lines.append(f"... and {self.found - len(self.problems):,} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        files = display.table(
            ("file", "rows", "wrong rows", "problems"),
            ((Path(file.file).name, file.rows, file.wrong_rows, file.problems) for file in self.files),
        )
        head = f"<p>{display.html(self._summary())}</p>{files}"
        if self.problems:
            listed = ((Path(one.file).name, one.row, one.column, one.message) for one in self.problems)
            head += display.table(("file", "row", "column", "problem"), listed, most=50)
        return head

    def _summary(self) -> str:
        read = f"{display.counted(self.rows, 'row')} in {display.counted(len(self.files), 'file')}"
        if self.ok:
            return f"{read}: all can be trained on."
        return f"{read}: {display.counted(self.found, 'problem')} in {self.wrong_rows:,} of them."


def validate(
    data: Sources,
    *,
    limit: int = 100,
    roles: Sequence[Role] = sources.TRAINING,
    reporter: Reporter | None = None,
) -> Validation:
    """Check every row against the rules of training, in one pass with one line (at most 8 MiB) in memory.

    Nothing in a file is executed: a pickle, a Parquet file or a script is only reported as such. The result
    contains the first `limit` problems. Raises InvalidInput for a negative limit, NotFound, or Unprocessable
    if there is no JSON Lines file to read.
    """
    if limit < 0:
        raise InvalidInput(f"limit is {limit}.", "Give how many problems to keep, 0 or more.")
    kept: list[Problem] = []
    checks: list[FileCheck] = []
    paths = sources.files(data, roles)
    total = sources.count(paths) if reporter else None
    for path in paths:
        read = wrong = found = 0
        for problems in _rows(path):
            read += 1
            before = found
            for problem in problems:
                found += 1
                if len(kept) < limit:
                    kept.append(problem)
            wrong += found > before
            if reporter and read % 500 == 0:
                sources.look(reporter, sum(check.rows for check in checks) + read, total)
        checks.append(FileCheck(file=str(path), rows=read, wrong_rows=wrong, problems=found))
    return Validation(files=tuple(checks), problems=tuple(kept))


def _rows(path: Path) -> Iterator[Iterable[Problem]]:
    """Yield the problems of each non-blank line; a file of another format gives a single entry."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        stream.seek(0)
        if (name := jsonl.other_format(head)) is not None:
            what = f"this is a {name} file under a wrong name; write its rows as JSON Lines"
            yield [_problem(path, 1, 1, (), what)]
            return
        if not _is_lines(path) and (document := jsonl.document(path)) is not None:
            yield [_problem(path, 1, 1, (), f"The file is {document}; write one object per line.")]
            return
        empty = True
        for number, line in jsonl.lines(stream):
            if line is None:
                yield [_problem(path, number, 1, (), f"the line is longer than {jsonl.MAX_LINE} bytes")]
            elif line.strip():
                yield _of_line(path, number, line)
            else:
                continue
            empty = False
        if empty:
            yield [_problem(path, 1, 1, (), "the file has no rows")]


def _is_lines(path: Path) -> bool:
    """Return whether the first non-blank line is a JSON object, or cannot be the start of a JSON document."""
    with path.open("rb") as stream:
        line = next((line for _, line in jsonl.lines(stream) if line is None or line.strip()), None)
    if line is None or not line.removeprefix(BOM_UTF8).lstrip().startswith((b"{", b"[")):
        return True
    try:
        return isinstance(jsonl.parse(line), dict)
    except jsonl.BadLine:
        return False


def _of_line(path: Path, number: int, line: bytes) -> Iterator[Problem]:
    try:
        value = jsonl.parse(line)
    except jsonl.BadLine as error:
        yield _problem(path, number, error.column, (), str(error))
        return
    for fault in training_data.faults(value):
        column = jsonl.column(line, fault.path)
        yield _problem(path, number, column, fault.path, fault.what)


def _problem(path: Path, number: int, column: int, position: Sequence[str | int], what: str) -> Problem:
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in position)
    return Problem(file=str(path), row=number, column=column, field=field.lstrip("."), message=what)

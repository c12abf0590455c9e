"""Annotation of rows by a person, stored as it is given, and export as preference datasets."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilab_jupyter import display, durable, paths
from ilab_jupyter.curation import preferences, sources, targets, text
from ilab_jupyter.curation.preferences import Exported, Format
from ilab_jupyter.curation.sources import Source, Sources
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, Unprocessable, wrong_field
from ilab_jupyter.registry import jsonl
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training.data import Conversation

# The first bytes of every line of the state file.
_BEGINNING = b'{"row": "'

Judgement = Literal["accepted", "rejected", "skipped", "open"]


class Verdict(BaseModel):
    """A verdict on a row: one line of the state file. `open` revokes an earlier one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str = Field(description="The row's `key`, which is made of its messages.")
    judgement: Judgement
    better: str = Field(default="", max_length=1_000_000, description="The answer that it should have been.")
    by: str = Field(default="", max_length=256)
    note: str = Field(default="", max_length=10_000)
    at: datetime


class Item(display.Shown, BaseModel):
    """A row to judge."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(description="Its place in the session, from 0.")
    key: str
    file: str
    row: int
    system: str
    question: str
    answer: str
    verdict: Verdict | None = None

    def __str__(self) -> str:
        judged = f" [{self.verdict.judgement}]" if self.verdict else ""
        text = f"{Path(self.file).name}, row {self.row}{judged}\n? {self.question}\n> {self.answer}"
        return display.safe(
            text + (f"\n+ {self.verdict.better}" if self.verdict and self.verdict.better else "")
        )

    def _repr_html_(self) -> str:
        judged = self.verdict.judgement if self.verdict else "open"
        cells = [("question", self.question), ("answer", self.answer)]
        if self.verdict and self.verdict.better:
            cells.append(("better", self.verdict.better))
        head = f"<p><b>{display.html(Path(self.file).name)}, row {self.row}</b>: {judged}</p>"
        return head + "".join(
            f'<p>{name}</p><pre style="white-space: pre-wrap">{display.html(value)}</pre>'
            for name, value in cells
        )


class Progress(display.Shown, BaseModel):
    """Number of rows of a session by judgement."""

    model_config = ConfigDict(frozen=True)

    rows: int
    accepted: int
    rejected: int
    skipped: int

    @property
    def open(self) -> int:
        """Rows without a verdict."""
        return self.rows - self.accepted - self.rejected - self.skipped

    def __str__(self) -> str:
        return (
            f"{self.rows - self.open:,} of {display.counted(self.rows, 'row')} judged: {self.accepted:,} "
            f"accepted, {self.rejected:,} rejected, {self.skipped:,} skipped"
        )


class Annotations:
    """A session of judging the rows of a dataset.

    Iterating yields the open rows; a judged row is no longer open. Every verdict is written durably to
    `path`, as one line, before the call returns. A new session on the same data resumes there, also after a
    crash; it matches verdicts to rows by content, not by number. Only one session can use `path` at a time;
    rows with the same content are judged once.
    """

    def __init__(self, data: Sources, path: Path) -> None:
        self.path = path
        rows: dict[str, Conversation] = {}
        for record in sources.records(sources.files(data)):
            rows.setdefault(key(record.conversation), record.conversation)
        self._conversations = tuple(rows.values())
        self._numbers = {name: number for number, name in enumerate(rows)}
        self._keys = tuple(rows)
        self._verdicts: dict[str, Verdict] = {}
        with _advice(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._resume()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file for another session. All verdicts are stored already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Item:
        """Return the row at an index, judged or not. Raises IndexError if it is out of range."""
        return self._item(range(len(self))[number])

    def __iter__(self) -> Iterator[Item]:
        """Iterate over the rows that are open when they are reached, in the order of the data."""
        return (self._item(number) for number in range(len(self)) if self._keys[number] not in self._verdicts)

    def next(self) -> Item | None:
        """Return the first open row, or None if all are judged."""
        return next(iter(self), None)

    @property
    def progress(self) -> Progress:
        """The progress of the session."""
        judged = [self._verdicts[name].judgement for name in self._keys if name in self._verdicts]
        return Progress(
            rows=len(self),
            accepted=judged.count("accepted"),
            rejected=judged.count("rejected"),
            skipped=judged.count("skipped"),
        )

    def accept(self, row: Item | int, *, by: str = "", note: str = "") -> Verdict:
        """Accept the answer as good."""
        return self._judge(row, "accepted", by=by, note=note)

    def reject(self, row: Item | int, *, better: str = "", by: str = "", note: str = "") -> Verdict:
        """Reject the answer; `better` is the answer that it should have been.

        Raises InvalidInput if both are the same, or if training would refuse the better one.
        """
        if better:
            if text.tidy(better) == text.tidy(self._item(self._number(row)).answer):
                raise InvalidInput("The better answer is the rejected one.", "Accept the row, or change it.")
            conversation = {"messages": [{"role": "assistant", "content": better}]}
            if fault := next(training_data.faults(conversation), None):
                raise InvalidInput(f"The better answer cannot be learned: {fault.what}.", "Change it.")
        return self._judge(row, "rejected", better=better, by=by, note=note)

    def skip(self, row: Item | int, *, by: str = "", note: str = "") -> Verdict:
        """Skip the row: it is neither accepted nor rejected, and is not exported."""
        return self._judge(row, "skipped", by=by, note=note)

    def undo(self, row: Item | int, *, by: str = "") -> Verdict:
        """Revoke the verdict, so that the row is open again."""
        return self._judge(row, "open", by=by)

    def export(
        self, output: Source | None = None, *, format: Format = "dpo", overwrite: bool = False
    ) -> Exported:
        """Write the judged rows as a training dataset; see `preferences.rows` for the formats.

        Raises InvalidInput for an unknown format, Unprocessable if no judged row gives a row of that format.
        """
        if format not in preferences.FORMATS:
            raise InvalidInput(
                f"There is no format {format!r}.", f"Use one of {', '.join(preferences.FORMATS)}."
            )
        judged = [
            preferences.Judged(conversation.messages, verdict.judgement == "accepted", verdict.better)
            for name, conversation in zip(self._keys, self._conversations, strict=True)
            if (verdict := self._verdicts.get(name)) and verdict.judgement in ("accepted", "rejected")
        ]
        default = self.path.with_name(f"{self.path.stem}-{format}.jsonl")
        inputs = {conversation.file for conversation in self._conversations}
        file = targets.choose(output, default, [*inputs, self.path], overwrite)
        made = list(preferences.rows(judged, format))
        if not made:
            raise Unprocessable(
                f"None of {display.counted(len(judged), 'judged row')} gives a row for {format}.",
                preferences.NEEDS[format],
            )
        with targets.written(file, overwrite) as stream:
            for row in made:
                stream.write(targets.line(row))
        return Exported(output=str(file), format=format, rows=len(made), judged=len(judged))

    def __repr__(self) -> str:
        return f"{self.progress}\n{self.path}"

    def _repr_html_(self) -> str:
        return f"<p>{display.html(str(self.progress))}</p><p>{display.html(str(self.path))}</p>"

    def _item(self, number: int) -> Item:
        name = self._keys[number]
        conversation = self._conversations[number]
        first = conversation.messages[0]
        prompt, answer = preferences.split(conversation.messages)
        questions = [turn["content"] for turn in prompt if turn["role"] == "user"]
        return Item(
            number=number,
            key=name,
            file=str(conversation.file),
            row=conversation.row,
            system=first["content"] if first["role"] == "system" else "",
            question=questions[-1] if questions else "",
            answer=answer,
            verdict=self._verdicts.get(name),
        )

    def _number(self, row: Item | int) -> int:
        if isinstance(row, Item):
            if row.key not in self._numbers:
                raise InvalidInput("This row is not one of the session.", "Take it from the session itself.")
            return self._numbers[row.key]
        if not 0 <= row < len(self):
            raise InvalidInput(f"There is no row {row}.", f"Use a number from 0 to {len(self) - 1}.")
        return row

    def _judge(
        self, row: Item | int, judgement: Judgement, better: str = "", by: str = "", note: str = ""
    ) -> Verdict:
        name, now = self._keys[self._number(row)], datetime.now(UTC)
        try:
            verdict = Verdict(row=name, judgement=judgement, better=better, by=by, note=note, at=now)
        except ValidationError as error:
            raise InvalidInput(f"{wrong_field(error.errors()[0])}.", "Shorten it.") from None
        if self._descriptor < 0:
            raise Conflict("The session is closed.", "Open it again with Data.annotate; nothing is lost.")
        with _advice(self.path):
            size = os.fstat(self._descriptor).st_size
            try:
                data = memoryview(targets.line(verdict.model_dump(mode="json")))
                while data:
                    data = data[os.write(self._descriptor, data) :]
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, size)
                raise
        self._take(verdict)
        return verdict

    def _take(self, verdict: Verdict) -> None:
        if verdict.judgement == "open":
            self._verdicts.pop(verdict.row, None)
        else:
            self._verdicts[verdict.row] = verdict

    def _resume(self) -> None:
        """Lock the file and load the verdicts of earlier sessions.

        A last line truncated by a crash is removed; its call never returned. Raises Conflict if another
        session has the file, Unprocessable for an invalid line.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"Somebody is judging into {self.path.name} now.",
                "Close that session, or choose another output.",
            ) from None
        durable.sync(self.path.parent)
        whole = 0
        with open(self._descriptor, "rb", closefd=False) as stream:
            for number, line in jsonl.lines(stream):
                line = line or b""
                cut_off = os.pread(self._descriptor, 1, stream.tell() - 1) != b"\n"
                if cut_off and line[: len(_BEGINNING)] == _BEGINNING[: len(line)]:
                    os.ftruncate(self._descriptor, whole)
                    break
                try:
                    self._take(Verdict.model_validate(jsonl.parse(line)))
                except (jsonl.BadLine, ValidationError):
                    raise Unprocessable(
                        f"{self.path.name}, row {number}: it is no verdict.",
                        "Choose another output, or take the line away.",
                    ) from None
                whole = stream.tell()


def annotate(data: Sources, output: Source | None = None) -> Annotations:
    """Open a session of judging the rows of `data`, with its state in `output` (None: beside the data).

    Raises NotFound, InvalidInput if `output` is the data, Unprocessable at a row that training would refuse,
    Conflict if another session has the file.
    """
    default = targets.beside(data, "-annotations.ndjson")
    path = paths.given(output).absolute() if output is not None else default
    if paths.exists(path) and any(path.samefile(file) for file in sources.files(data)):
        raise InvalidInput(f"{path.name} is the data.", "Choose another output; nothing is lost.")
    return Annotations(data, path)


def key(conversation: Conversation) -> str:
    """Return the key of a row: the first 32 hexadecimal digits of the SHA-256 of its messages."""
    return hashlib.sha256(json.dumps(conversation.messages).encode()).hexdigest()[:32]


@contextmanager
def _advice(path: Path) -> Iterator[None]:
    """Convert an OSError inside the with block to Unavailable with a hint."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}.",
            "Choose a folder of yours with space on its disk; what was said before is kept.",
        ) from error

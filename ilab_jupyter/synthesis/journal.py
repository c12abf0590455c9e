"""Every answer of a teacher, written down as it comes, so a second attempt asks only for what is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ilab_jupyter.synthesis.teachers import Answer, Spent


class Journal:
    """An append-only file of answers: one JSON line each, `{"k": key, "i": index, "t": text}`, with
    `"cut": true` where the answer was, and the tokens of its request in the first line of a reply.

    A line that a crash cut short is dropped when the file is opened again. A reply reaches the operating
    system at once and whole, so it survives the death of this process. The texts stay in the file: memory
    holds only where they are. For one thread.
    """

    def __init__(self, path: Path) -> None:
        self.spent = Spent()
        self._places: dict[tuple[bytes, int], tuple[int, int]] = {}
        self._end = 0
        if path.exists():
            with path.open("rb") as lines:
                for line in lines:
                    entry = _entry(line)
                    if entry is None:
                        break
                    self._keep(entry, len(line))
        self._file = path.open("a+b", buffering=0)
        self._file.truncate(self._end)

    def get(self, key: str, index: int) -> Answer | None:
        """The answer number `index` to the question `key`, if it was ever given."""
        position = self._places.get((key.encode(), index))
        if position is None:
            return None
        entry = json.loads(os.pread(self._file.fileno(), position[1], position[0]))
        return Answer(entry["t"], bool(entry.get("cut")))

    def add(self, key: str, answers: Mapping[int, Answer], spent: Spent = Spent()) -> None:  # noqa: B008
        """Write down answers to the question `key`; the first one for its place stays."""
        fresh = [index for index in answers if (key.encode(), index) not in self._places]
        entries: list[dict[str, Any]] = []
        for index in fresh:
            entry: dict[str, Any] = {"k": key, "i": index, "t": answers[index].text}
            if answers[index].cut:
                entry["cut"] = True
            if not entries and spent != Spent():
                entry["u"] = [spent.prompt, spent.answer, int(spent.counted)]
            entries.append(entry)
        lines = [json.dumps(entry).encode() + b"\n" for entry in entries]
        left = memoryview(b"".join(lines))
        while left:
            left = left[self._file.write(left) :]
        for entry, line in zip(entries, lines, strict=True):
            self._keep(entry, len(line))

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _keep(self, entry: Mapping[str, Any], length: int) -> None:
        self._places.setdefault((entry["k"].encode(), entry["i"]), (self._end, length))
        self._end += length
        if "u" in entry:
            prompt, answer, counted = entry["u"]
            self.spent += Spent(prompt, answer, bool(counted))


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a whole line; None for one that was cut."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(entry, dict) and {"k", "i", "t"} <= entry.keys()
    return entry if whole else None

"""Every answer of a teacher, written down as it comes, so a second attempt asks only for what is missing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Any


class Journal:
    """An append-only file of answers: one JSON line each, `{"k": key, "i": index, "t": text}`.

    A line that a crash cut short is dropped when the file is opened again. Lines reach the operating system
    at once, so they survive the death of this process.
    """

    def __init__(self, path: Path) -> None:
        self._answers: dict[tuple[str, int], str] = {}
        self._lock = threading.Lock()
        complete = 0
        if path.exists():
            with path.open("rb") as lines:
                for line in lines:
                    entry = _entry(line)
                    if entry is None:
                        break
                    self._answers[entry["k"], entry["i"]] = entry["t"]
                    complete += len(line)
        self._file = path.open("ab")
        self._file.truncate(complete)

    def get(self, key: str, index: int) -> str | None:
        """The answer number `index` to the question `key`, if it was ever given."""
        return self._answers.get((key, index))

    def add(self, key: str, index: int, text: str) -> None:
        """Write down an answer; the first one for its place stays."""
        line = json.dumps({"k": key, "i": index, "t": text}).encode() + b"\n"
        with self._lock:
            if (key, index) not in self._answers:
                self._answers[key, index] = text
                self._file.write(line)
                self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


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

"""Persistent answers of an evaluation, so that a second attempt only requests the missing ones."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ilab_jupyter.errors import InvalidInput, Unavailable
from ilab_jupyter.synthesis.journal import Journal
from ilab_jupyter.synthesis.teachers import Answer

Position = tuple[str, int]
# The first bytes of a journal.
_BEGIN = b'{"k": "'


class Answers:
    """Answers by model and request, stored in a journal; without a journal nothing is stored. Thread-safe.

    A request that is repeated within one attempt has one answer for each repetition; a second attempt gets
    the same answers in the same order.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._repetitions: Counter[str] = Counter()

    def position(self, who: str, what: str) -> Position:
        """Return the key of the answer to this request; each call counts as one more repetition."""
        key = hashlib.sha256(json.dumps([who, what]).encode()).hexdigest()
        with self._lock:
            self._repetitions[key] += 1
            return key, self._repetitions[key] - 1

    def get(self, position: Position) -> str | None:
        """Return the stored answer, or None."""
        with self._lock:
            found = None if self._journal is None else self._journal.get(*position)
        return None if found is None else found.text

    def put(self, position: Position, text: str) -> None:
        """Store an answer durably. Raises OSError if it cannot be written."""
        key, index = position
        with self._lock:
            if self._journal is not None:
                self._journal.add(key, {index: Answer(text)})


@contextmanager
def kept(journal: Path | None) -> Iterator[Answers]:
    """Open the answers stored in the file `journal`, which is created if missing.

    Raises InvalidInput if the file is not a journal, Unavailable if it cannot be written.
    """
    if journal is None:
        yield Answers()
        return
    try:
        with journal.open("a+b") as file:
            file.seek(0)
            begin = file.read(len(_BEGIN))
        if begin != _BEGIN[: len(begin)]:
            raise InvalidInput(
                f"{str(journal)[:200]!r} is no journal of an evaluation, and stays as it is.",
                "Give a new file, or that of the evaluation which was interrupted.",
            )
        opened = Journal(journal)
    except OSError as error:
        raise Unavailable(
            f"The journal {str(journal)[:200]!r} cannot be written: {error.strerror}.", "Choose another file."
        ) from None
    with opened:
        yield Answers(opened)


def of_model(folder: Path) -> str:
    """Return an identifier of the model in this folder; it changes when a file changes."""
    return of_files(path for path in folder.resolve().rglob("*") if path.is_file())


def of_files(files: Iterable[Path]) -> str:
    """Return an identifier of these files, made of their paths, sizes and modification times."""
    found = [(str(path), path.stat()) for path in sorted(files)]
    return json.dumps([(path, status.st_size, status.st_mtime_ns) for path, status in found])

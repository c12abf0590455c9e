"""The answers of an evaluation, kept as they come, so that a second attempt asks only for what is missing."""

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
# How a journal begins.
_BEGIN = b'{"k": "'


class Answers:
    """What was said to what by whom, in a journal; without one nothing is kept. For any number of threads.

    Who asks the same twice gets two answers, in a second attempt the same two.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._repetitions: Counter[str] = Counter()

    def position(self, who: str, what: str) -> Position:
        """The key of the answer to this request; each call counts one more repetition."""
        key = hashlib.sha256(json.dumps([who, what]).encode()).hexdigest()
        with self._lock:
            self._repetitions[key] += 1
            return key, self._repetitions[key] - 1

    def get(self, position: Position) -> str | None:
        """The answer, if it was ever given."""
        with self._lock:
            found = None if self._journal is None else self._journal.get(*position)
        return None if found is None else found.text

    def put(self, position: Position, text: str) -> None:
        """Keep an answer; it outlives this process. OSError where it cannot be written."""
        key, index = position
        with self._lock:
            if self._journal is not None:
                self._journal.add(key, {index: Answer(text)})


@contextmanager
def kept(journal: Path | None) -> Iterator[Answers]:
    """Answers that this file has and gets; InvalidInput where it is another file, Unavailable where it cannot
    be written.
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
    """Names the model of this folder, as long as no file in it changes."""
    return of_files(path for path in folder.resolve().rglob("*") if path.is_file())


def of_files(files: Iterable[Path]) -> str:
    """Names these files as they are: another text as soon as one of them is written."""
    found = [(str(path), path.stat()) for path in sorted(files)]
    return json.dumps([(path, status.st_size, status.st_mtime_ns) for path, status in found])

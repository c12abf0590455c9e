"""The client that instructlab-sdg talks to: looks like openai's, counts, remembers, stops when asked."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.synthesis.compatibility import block_name, one_line_end
from ilab_jupyter.synthesis.journal import Journal
from ilab_jupyter.synthesis.teachers import Question, Teacher

# An event for each of some thousand answers would drown the job's log.
PROGRESS_SECONDS = 0.25


@dataclass(frozen=True)
class Choice:
    """One answer."""

    text: str


@dataclass(frozen=True)
class Completion:
    """The answers to a request, those of the first prompt first."""

    choices: list[Choice]


class Client:
    """`client.completions.create(...)` over a teacher, with a journal.

    `server_supports_batched` is always true: how a real server takes its prompts is the teacher's own
    business, and instructlab-sdg then neither probes a server nor asks each of n answers n times, as it does
    for servers without lists.
    """

    server_supports_batched = True

    def __init__(self, teacher: Teacher, journal: Journal, reporter: Reporter) -> None:
        self.completions = self
        self.failure: Exception | None = None
        self._teacher = teacher
        self._journal = journal
        self._reporter = reporter
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._leaf = ""
        self._total: int | None = None
        self._done = 0
        self._rows = 0
        self._blocks: set[tuple[str, str]] = set()
        self._told = 0.0

    def begin(self, leaf: str, rows: int, total: int | None) -> None:
        """What follows belongs to `leaf`: `rows` samples, and `total` answers of the whole run where that is
        known.
        """
        self._leaf = leaf
        self._rows = rows
        self._total = total

    def create(self, *, prompt: str | Sequence[str], n: int = 1, **sampling: Any) -> Completion:
        """n answers to each prompt, from the journal where it has them."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        # looked up here, because answers come in on the teacher's own threads
        block = block_name()
        keys = [self._key(text, n, sampling) for text in prompts]
        texts = [[self._journal.get(key, index) for index in range(n)] for key in keys]
        self._count(block, sum(text is not None for row in texts for text in row))
        asked = [row for row, known in enumerate(texts) if None in known]
        questions = [
            Question(prompts[row], tuple(index for index in range(n) if texts[row][index] is None))
            for row in asked
        ]

        def tell(question: int, index: int, text: str) -> None:
            row, clean = asked[question], one_line_end(text)
            self._journal.add(keys[row], index, clean)
            texts[row][index] = clean
            self._count(block, 1)

        if questions:
            self._ask(questions, sampling, tell)
        return Completion([Choice(text or "") for row in texts for text in row])

    def _ask(
        self, questions: list[Question], sampling: dict[str, Any], tell: Callable[[int, int, str], None]
    ) -> None:
        try:
            self._stop()
            self._teacher.answer(questions, sampling, self._stop, tell)
        except Exception as error:
            # the pipeline goes on with every batch that it has queued: the first failure has to end those too
            with self._lock:
                self.failure = self.failure or error
            raise

    def _stop(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._reporter.stopping:
            raise Stopped("generation was asked to stop")

    def _key(self, prompt: str, n: int, sampling: dict[str, Any]) -> str:
        """The same in each attempt. A prompt that a run asks again counts as another question."""
        asked = json.dumps([prompt, n, sampling], sort_keys=True, default=str)
        with self._lock:
            self._seen[asked] += 1
            again = self._seen[asked]
        return hashlib.sha256(f"{again}:{asked}".encode()).hexdigest()[:32]

    def _count(self, block: str, answers: int) -> None:
        if not answers:
            return
        with self._lock:
            self._done += answers
            due = time.monotonic() - self._told >= PROGRESS_SECONDS or (self._leaf, block) not in self._blocks
            self._blocks.add((self._leaf, block))
        if due:
            self.tell_progress(block)

    def tell_progress(self, block: str = "") -> None:
        """Report where the answers stand now."""
        with self._lock:
            self._told = time.monotonic()
            done = self._done
        self._reporter.progress(done, self._total, leaf=self._leaf, block=block, rows=self._rows)

"""What a generation has done so far: samples, rows, answers, tokens, and what was kept apart and why."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter.progress import Reporter
from ilab_jupyter.synthesis.teachers import Spent

REASONS = ("empty", "cut", "wrong_tags", "no_question", "missing_field", "reasoning", "bad_characters")
# An event for each of some thousand answers would drown the job's log.
PROGRESS_SECONDS = 0.25
WARNING_SECONDS = 30.0
SLOW_SECONDS = 10.0


class Ledger:
    """Counts of one run, sent to its reporter as they change.

    A step of progress is a sample that has been through its whole pipeline. The events `leaf` say for each
    leaf how many rows left each block. Rejected answers go to `path`, one JSON line each.
    """

    def __init__(self, reporter: Reporter, path: Path, spent: Spent = Spent()) -> None:  # noqa: B008
        self.rejected: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.rows: Counter[str] = Counter()
        self.spent = spent
        self.answers = 0
        self._reporter = reporter
        self._path = path
        # an unpaired surrogate becomes its JSON escape
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._samples: Counter[str] = Counter()
        self._finished: Counter[str] = Counter()
        self._blocks: dict[str, Counter[str]] = {}
        self._position = ("", "")
        self._reported = 0.0
        self._first_request: tuple[float, int] | None = None
        self.delays = 0
        self._warned = -WARNING_SECONDS
        self._in_flight = self._pending = 0
        self._began = time.monotonic()
        self._known = spent.answer

    def expect(self, leaf: str, samples: int) -> None:
        """`samples` of `leaf` will go through a pipeline."""
        self._samples[leaf] += samples

    def answered(self, answers: int, spent: Spent) -> None:
        """The teacher, or the journal, gave so many answers."""
        self.answers += answers
        if spent != Spent():
            self.spent += spent
            if self._first_request is None:
                # what the journal knew came at once and says nothing of how long the rest will take
                self._first_request = (time.monotonic(), sum(self._finished.values()))

    def delayed(self, reason: str, limit: int) -> None:
        """A request without an answer is sent again; `limit`: requests at once from now on."""
        self.delays += 1
        now = time.monotonic()
        if now - self._warned >= WARNING_SECONDS:
            self._warned = now
            again = f" ({self.delays} times so far)" if self.delays > 1 else ""
            self._reporter.warning(
                f"A request is sent again{again}: {reason.rstrip('.')}.",
                f"Now at most {limit} request{'' if limit == 1 else 's'} at once.",
            )
        self._tell(True)

    def pulse(self, in_flight: int, pieces: int) -> None:
        """Progress while answers take long: requests in flight, and the pieces of text that have come."""
        self._in_flight, self._pending = in_flight, pieces
        self._tell(True)

    def passed(self, leaf: str, block: str, rows: int) -> None:
        """So many rows came out of a block."""
        blocks = self._blocks.setdefault(leaf, Counter())
        new = block not in blocks
        blocks[block] += rows
        self._position = (leaf, block)
        self._tell(new)

    def finished(self, leaf: str, samples: int) -> None:
        """So many samples of `leaf` are through."""
        self._finished[leaf] += samples
        if samples and self._finished[leaf] == self._samples[leaf]:
            counted = dict(self._blocks.get(leaf, {}))
            self._reporter.event(
                "leaf", leaf=leaf, samples=self._samples[leaf], rows=self.rows[leaf], blocks=counted
            )
        self._tell(False)

    def reject(self, reason: str, leaf: str, block: str, answer: str, row: Mapping[str, Any]) -> None:
        """Keep an answer apart that gave no row."""
        self.rejected[reason] += 1
        entry = {"reason": reason, "leaf": leaf, "block": block, "answer": answer, "row": row}
        self._file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        """Put the rejected answers in order, whatever order they came in; no file where there are none."""
        self._tell(True)
        self._file.close()
        with self._path.open(encoding="utf-8") as lines:
            ordered = sorted(lines)
        if ordered:
            self._path.write_text("".join(ordered), encoding="utf-8")
        else:
            self._path.unlink()

    def _tell(self, now: bool) -> None:
        moment = time.monotonic()
        if not now and moment - self._reported < PROGRESS_SECONDS:
            return
        self._reported = moment
        leaf, block = self._position
        self._reporter.progress(
            sum(self._finished.values()),
            sum(self._samples.values()),
            leaf=leaf,
            block=block,
            leaf_step=self._finished[leaf],
            leaf_total=self._samples[leaf],
            rows=sum(self.rows.values()),
            answers=self.answers,
            tokens=self.spent.prompt + self.spent.answer + self._pending,
            rejected=sum(self.rejected.values()),
            eta_seconds=self._eta(moment),
            **self._speed(moment),
        )

    def _speed(self, now: float) -> dict[str, Any]:
        """Tokens a second, and the estimate in words, for a teacher that takes its time."""
        made = self.spent.answer - self._known + self._pending
        if now - self._began < SLOW_SECONDS or not made:
            return {"retries": self.delays} if self.delays else {}
        rate = made / (now - self._began)
        said: dict[str, Any] = {"tokens_per_second": round(rate, 1), "in_flight": self._in_flight}
        if self.delays:
            said["retries"] = self.delays
        if eta := self._eta(now):
            minutes = max(1, round(eta / 60))
            said["estimate"] = f"about {minutes} minute{'' if minutes == 1 else 's'} at {rate:,.0f} tokens/s"
        return said

    def _eta(self, now: float) -> float | None:
        done, samples = sum(self._finished.values()), sum(self._samples.values())
        if done == samples:
            return 0.0
        if self._first_request is None or done <= self._first_request[1]:
            return None
        since, then = self._first_request
        return round((now - since) / (done - then) * (samples - done), 1)

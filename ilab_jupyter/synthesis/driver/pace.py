"""How many requests a teacher gets at once: found out from how it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

START = 16
BETTER = 1.05
STEP = 8
PATIENCE = 2


@dataclass(frozen=True)
class _Window:
    """As many requests answered as were in flight when it began, and how many units came in a second."""

    limit: int
    rate: float


class Pace:
    """A limit of requests in flight that grows while the rate of answers grows, and no further.

    It starts at 16 and grows by one with each answer, which doubles it in the time of a request. Once more
    requests bring no more text in a second, only later, it falls back to what was enough, and tries an eighth
    more now and then; where that helps it doubles again. A teacher that says it has too much to do (429, 503)
    or lets a request run out of time halves it, once for each such crowd, and is left alone for as long as it
    asks.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = min(START, most)
        self.quiet_until = 0.0
        self._most = most
        self._clock = clock
        self._fast = True
        self._best: _Window | None = None
        self._same = 0
        self._halved_at = -1.0
        self._full = True
        self._open()

    def answered(self, units: float, waiting: bool) -> None:
        """A request was answered with `units` of text; `waiting`: others wait for its place."""
        self._count += 1
        self._units += units
        self._full = self._full and waiting
        if self._fast and waiting:
            self.limit = min(self.limit + 1, self._most)
        if self._count >= max(self._limit_then, STEP):
            self._close()

    def crowded(self, sent_at: float, wait: float | None) -> None:
        """A request sent at `sent_at` was refused; the teacher requested a pause of `wait` seconds."""
        now = self._clock()
        if wait is not None:
            self.quiet_until = max(self.quiet_until, now + wait)
        if sent_at >= self._halved_at:
            self.limit = max(1, self.limit // 2)
            self._halved_at = now
            self._fast, self._best = False, None
            self._open()

    def _open(self) -> None:
        self._began = self._clock()
        self._limit_then = self.limit
        self._count, self._units, self._full = 0, 0.0, True

    def _close(self) -> None:
        elapsed = max(self._clock() - self._began, 1e-9)
        # where nothing waited, the work was short, not the teacher
        if self._full:
            self._judge(_Window(self._limit_then, self._units / elapsed))
        self._open()

    def _judge(self, window: _Window) -> None:
        best = self._best
        if best is None:
            self._best = window
        elif window.limit <= best.limit:
            # blocks differ in how long their answers are, so an old best says less and less
            self._best = window
            self._same += 1
            if self._same % PATIENCE == 0:
                self.limit = min(self.limit + self.limit // STEP + 1, self._most)
        elif window.rate >= BETTER * best.rate:
            self._best, self._fast = window, True
        else:
            # by Little's law, each request now takes longer by as much as there are more of them
            self._fast = False
            self.limit = best.limit

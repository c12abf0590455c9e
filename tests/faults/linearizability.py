"""Check whether concurrent observations of a row are linearizable.

Uses the search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with memoization of
visited states, as in Lowe (2017). The row is a register with compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Value = tuple[str, int, int]
"""State, attempt, version."""


@dataclass(frozen=True)
class Call:
    """A read that returned `seen`, or a compare-and-swap of `seen` by `new` that succeeded or not."""

    start: float
    end: float
    seen: Value
    new: Value | None = None
    succeeded: bool = True

    def after(self, value: Value) -> Value | None:
        """Return the row's value after this call if it was `value` before; None if that is impossible."""
        if self.new is None:
            return value if value == self.seen else None
        if (value == self.seen) != self.succeeded:
            return None
        return self.new if self.succeeded else value


def linearizable(calls: Sequence[Call], value: Value) -> bool:
    """Return whether such an order exists."""
    seen: set[tuple[frozenset[int], Value]] = set()
    stack = [(frozenset(range(len(calls))), value)]
    while stack:
        left, now = stack.pop()
        if not left:
            return True
        if (left, now) in seen:
            continue
        seen.add((left, now))
        # The next one began before any of the others had ended.
        first_end = min(calls[number].end for number in left)
        for number in left:
            if calls[number].start <= first_end and (then := calls[number].after(now)) is not None:
                stack.append((left - {number}, then))
    return False

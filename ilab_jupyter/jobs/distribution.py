"""Histogram: how many values are at or below each of some bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Distribution:
    """Counts of values per bound, and their sum. It only grows."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        """Add a bucket for values above the last bound."""
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value. A negative one, such as after a change of the clock, counts as 0."""
        value = max(0.0, value)
        self.sum += value
        self.counts[next((n for n, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))] += 1

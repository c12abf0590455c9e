"""How many requests a teacher gets at once, against servers that are simulated in their time alone."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from ilab_jupyter.synthesis.driver.pace import START, Pace


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def served(
    slots: int, requests: int, step: Callable[[int], float], most: int = 256
) -> tuple[list[int], float]:
    """(the limit after each answer, seconds in all) for a server that decodes `slots` answers of 100 tokens
    together, a step of which takes `step(active)` seconds. Requests always wait for a place.
    """
    clock = Clock()
    pace = Pace(most, clock)
    decoded, active, waiting, limits, begun = 0.0, [], 0, [], 0
    while len(limits) < requests:
        while begun < requests and len(active) + waiting < pace.limit:
            waiting += 1
            begun += 1
        while waiting and len(active) < slots:
            heapq.heappush(active, decoded + 60 + 80 * ((7 * begun + len(active)) % 10) / 10)
            waiting -= 1
        end = heapq.heappop(active)
        clock.now += max(0.0, end - decoded) * step(len(active) + 1)
        decoded = max(decoded, end)
        pace.answered(100, waiting=begun < requests)
        limits.append(pace.limit)
    return limits, clock.now


def test_it_grows_to_what_a_batching_server_can_take() -> None:
    limits, seconds = served(256, 4000, lambda active: 0.008 + 0.00004 * active)
    assert limits[0] <= START + 1
    assert max(limits[:600]) >= 200, "found within a few hundred answers"
    best = 4000 * 100 / 256 * (0.008 + 0.00004 * 256)
    assert seconds < 1.35 * best


def test_sequential_server_is_not_flooded() -> None:
    limits, _ = served(1, 1000, lambda active: 0.01)
    assert max(limits[200:]) <= 3 * START


def test_requested_limit_is_kept() -> None:
    limits, _ = served(256, 500, lambda active: 0.008, most=5)
    assert max(limits) == 5


def test_concurrency_is_halved_once_and_retry_after_respected() -> None:
    clock = Clock()
    pace = Pace(256, clock)
    clock.now = 10.0
    for _ in range(8):
        pace.crowded(sent_at=9.0, wait=3.0)
    assert pace.limit == START // 2
    assert pace.quiet_until == 13.0
    clock.now = 14.0
    pace.crowded(sent_at=13.5, wait=None)
    assert pace.limit == START // 4
    for _ in range(40):
        clock.now += 1.0
        pace.crowded(sent_at=clock.now, wait=None)
    assert pace.limit == 1


def test_it_recovers_after_a_crowd() -> None:
    clock = Clock()
    pace = Pace(64, clock)
    pace.crowded(sent_at=0.0, wait=None)
    low = pace.limit
    for _ in range(600):
        clock.now += 1.0 / pace.limit  # twice the limit is twice the rate
        pace.answered(100, waiting=True)
    assert pace.limit > 2 * low


def test_where_nothing_waits_it_stays() -> None:
    clock = Clock()
    pace = Pace(256, clock)
    for _ in range(100):
        clock.now += 0.1
        pace.answered(100, waiting=False)
    assert pace.limit == START

"""Wait for a condition, from synchronous and from asynchronous tests."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 20, *, what: str = "", pause: float = 0.02) -> T:
    """Return the first true value of `condition`; AssertionError after `seconds` names what was awaited."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, _timed_out(condition, seconds, what, value)
        time.sleep(pause)
    return value


async def until_async(
    condition: Callable[[], Awaitable[Any]], seconds: float = 20, *, what: str = "", pause: float = 0.05
) -> Any:
    """Return the first true value of `await condition()`; fail as `until` does."""
    deadline = time.monotonic() + seconds
    while not (value := await condition()):
        assert time.monotonic() < deadline, _timed_out(condition, seconds, what, value)
        await asyncio.sleep(pause)
    return value


def _timed_out(condition: Callable[..., Any], seconds: float, what: str, value: Any) -> str:
    """Without a description, the condition's source."""
    if not what:
        try:
            what = " ".join(inspect.getsource(condition).split())
        except (OSError, TypeError):
            what = repr(condition)
    return f"timed out after {seconds:g} s waiting for: {what} (last value: {value!r})"

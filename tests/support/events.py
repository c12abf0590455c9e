"""A reporter that keeps its events, for engine code that runs in the test's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# ("phase", name, message), ("progress", step, total, metrics), ("artifact", kind, name, path),
# ("warning", message, hint), (type, fields) of any other event.
Event = tuple[Any, ...]


class EventRecorder:
    """Keeps `events` as tuples; `stopping` becomes true with the first event that `stop_at` accepts."""

    def __init__(self, stop_at: Callable[[Event], bool] = lambda event: False) -> None:
        self.stop_at = stop_at
        self.stopping = False
        self.events: list[Event] = []

    def _add(self, *event: Any) -> None:
        self.events.append(event)
        self.stopping = self.stopping or self.stop_at(event)

    def phase(self, name: str, message: str = "") -> None:
        self._add("phase", name, message)

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        self._add("progress", step, total, metrics)

    def artifact(self, kind: str, name: str, path: Path) -> None:
        self._add("artifact", kind, name, path)

    def warning(self, message: str, hint: str = "") -> None:
        self._add("warning", message, hint)

    def event(self, type: str, **fields: Any) -> None:
        self._add(type, fields)

    def of(self, type: str) -> list[Event]:
        """The events of one type, without the type."""
        return [event[1:] for event in self.events if event[0] == type]

    @property
    def phases(self) -> list[str]:
        """Names of the phases, in order."""
        return [name for name, _ in self.of("phase")]

    @property
    def steps(self) -> list[Event]:
        """(step, total, metrics) of each progress event."""
        return self.of("progress")

    @property
    def losses(self) -> dict[int, float]:
        """Step -> loss."""
        return {step: metrics["loss"] for step, _, metrics in self.steps}


def stop_after(step: int) -> Callable[[Event], bool]:
    """Request the stop with the progress event of this step or a later one."""
    return lambda event: event[0] == "progress" and event[1] >= step


def stop_in(phase: str) -> Callable[[Event], bool]:
    """Request the stop with the first progress event of this phase."""
    current = ""

    def check(event: Event) -> bool:
        nonlocal current
        if event[0] == "phase":
            current = event[1]
        return event[0] == "progress" and current == phase

    return check

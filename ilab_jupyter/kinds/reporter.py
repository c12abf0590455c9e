"""Reporters of a job: progress is written as events to events.jsonl, and as text to the log."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.logs.events import EventWriter
from ilab_jupyter.progress import ConsoleReporter

_INTERVAL = 0.1


class EventReporter:
    """`progress.Reporter` for one attempt: at most ten progress events a second, always a phase's last."""

    def __init__(self, path: Path, attempt: int) -> None:
        self._events = EventWriter(path, attempt=attempt)
        self._stopping = False
        self._phase = ""
        self._written = 0.0
        self._pending: dict[str, Any] | None = None
        self._first: tuple[float, int] | None = None

    @property
    def stopping(self) -> bool:
        """True once the work should save a checkpoint and raise `Stopped`."""
        return self._stopping

    def stop(self) -> None:
        """Request a stop; safe in a signal handler."""
        self._stopping = True

    def phase(self, name: str, message: str = "") -> None:
        """See Reporter."""
        self._flush()
        self._phase, self._first = name, None
        self._written = 0.0
        self._write("phase", name=name, message=message)

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        """See Reporter. Adds `eta_seconds` from the pace of this phase if it is not given."""
        now = time.monotonic()
        if self._first is None or step < self._first[1]:
            self._first = (now, step)
        if "eta_seconds" not in metrics and (eta := self._eta(now, step, total)) is not None:
            metrics["eta_seconds"] = round(eta, 1)
        self._pending = {**metrics, "phase": self._phase, "step": step, "total": total}
        if now - self._written >= _INTERVAL or (total is not None and step >= total):
            self._flush()

    def artifact(self, kind: str, name: str, path: Path) -> None:
        """See Reporter."""
        self._flush()
        self._write("artifact", kind=kind, name=name, path=str(path))

    def warning(self, message: str, hint: str = "") -> None:
        """See Reporter."""
        self._write("warning", message=message, hint=hint)

    def event(self, type: str, **fields: Any) -> None:
        """See Reporter."""
        self._write(type, **fields)

    def write_final(self, type: str, **fields: Any) -> None:
        """Write a `result` or an `error`, synced to disk; OSError if it cannot be written."""
        self._flush()
        self._events.write(type, **fields)
        self._events.sync()

    def _eta(self, now: float, step: int, total: int | None) -> float | None:
        if total is None or self._first is None or step <= self._first[1]:
            return None
        since, first = self._first
        return max(0.0, (now - since) / (step - first) * (total - step))

    def _flush(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self._written = time.monotonic()
            self._write("progress", **pending)

    def _write(self, type: str, **fields: Any) -> None:
        """Write an event; if the disk refuses it, the log records the loss and the work continues."""
        try:
            self._events.write(type, **fields)
        except OSError as error:
            with suppress(OSError):
                print(f"An event of type {type} was lost: {error}", file=sys.stderr)


class LoggedReporter(EventReporter):
    """Also prints each event to the log; errors of the log's disk are ignored."""

    def __init__(self, path: Path, attempt: int) -> None:
        super().__init__(path, attempt)
        self._log = ConsoleReporter()

    def phase(self, name: str, message: str = "") -> None:
        """See Reporter."""
        with suppress(OSError):
            self._log.phase(name, message)
        super().phase(name, message)

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        """See Reporter."""
        with suppress(OSError):
            self._log.progress(step, total, **metrics)
        super().progress(step, total, **metrics)

    def artifact(self, kind: str, name: str, path: Path) -> None:
        """See Reporter."""
        with suppress(OSError):
            self._log.artifact(kind, name, path)
        super().artifact(kind, name, path)

    def warning(self, message: str, hint: str = "") -> None:
        """See Reporter."""
        with suppress(OSError):
            self._log.warning(message, hint)
        super().warning(message, hint)

    def event(self, type: str, **fields: Any) -> None:
        """See Reporter."""
        with suppress(OSError):
            self._log.event(type, **fields)
        super().event(type, **fields)

"""Progress of long work, and requests to stop it: the SDK's side of a job's events."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any, Protocol


class Stopped(Exception):
    """Raised by work that was requested to stop, after it has saved its state."""


class Reporter(Protocol):
    """Receives what long work has to say. Calls are cheap and never raise."""

    @property
    def stopping(self) -> bool:
        """True once the work should save a checkpoint and raise `Stopped`."""

    def phase(self, name: str, message: str = "") -> None:
        """A new stretch of work begins: 'loading', 'generating', 'training', 'saving'."""

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        """`step` of `total` units done in this phase; metrics such as loss (nats), learning_rate,
        grad_norm, tokens_per_second, eta_seconds, epoch, leaf, block, rows."""

    def artifact(self, kind: str, name: str, path: Path) -> None:
        """Something complete now lies at `path`; kind is 'model', 'dataset', 'checkpoint' or 'file'."""

    def warning(self, message: str, hint: str = "") -> None:
        """Something is wrong or lost, and the work goes on."""

    def event(self, type: str, **fields: Any) -> None:
        """A fact of the work's own that its faces understand, such as serving's 'endpoint'."""


class ConsoleReporter:
    """Prints to stderr what a person wants to read later: a script's output, or a job's log.

    Progress is printed at most once in `interval` seconds, and at a phase's last step.
    """

    stopping = False

    def __init__(self, interval: float = 2.0) -> None:
        self._interval = interval
        self._printed = -math.inf
        self._phase = "step"

    def phase(self, name: str, message: str = "") -> None:
        """See Reporter."""
        self._printed, self._phase = -math.inf, name
        self._print(f"[{name}] {message}")

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        """See Reporter."""
        now = time.monotonic()
        if now - self._printed < self._interval and step != total:
            return
        self._printed = now
        eta = metrics.pop("eta_seconds", None)
        parts = [f"{self._phase} {step}" + ("" if total is None else f" of {total}")]
        parts += [f"{name} {_short(value)}" for name, value in metrics.items() if value not in (None, "")]
        parts += [] if eta is None else [f"{eta:.0f} s left"]
        self._print("  ".join(parts))

    def artifact(self, kind: str, name: str, path: Path) -> None:
        """See Reporter."""
        self._print(f"{kind} {name}: {path}")

    def warning(self, message: str, hint: str = "") -> None:
        """See Reporter."""
        self._print(f"warning: {message} {hint}")

    def event(self, type: str, **fields: Any) -> None:
        """See Reporter."""
        self._print(f"{type}: " + ", ".join(f"{name} {value}" for name, value in fields.items()))

    def _print(self, line: str) -> None:
        print(line.rstrip(), file=sys.stderr, flush=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

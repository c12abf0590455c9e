"""How long work tells where it stands, and learns that it should stop. The SDK's side of a job's events."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol


class Stopped(Exception):
    """Work was asked to stop, has saved what it could, and stops now. Raised by the work."""


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

    def warning(self, message: str, next_step: str = "") -> None:
        """Something is wrong or lost, and the work goes on."""

    def event(self, type: str, **fields: Any) -> None:
        """A fact of the work's own that its faces understand, such as serving's 'endpoint'."""


class ConsoleReporter:
    """Prints to stderr; what the SDK uses when it is called alone in a script."""

    stopping = False

    def phase(self, name: str, message: str = "") -> None:
        print(f"[{name}] {message}".rstrip(), file=sys.stderr)

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        shown = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in metrics.items())
        print(f"  {step}/{total if total is not None else '?'} {shown}".rstrip(), file=sys.stderr)

    def artifact(self, kind: str, name: str, path: Path) -> None:
        print(f"  {kind} {name}: {path}", file=sys.stderr)

    def warning(self, message: str, next_step: str = "") -> None:
        print(f"  warning: {message} {next_step}".rstrip(), file=sys.stderr)

    def event(self, type: str, **fields: Any) -> None:
        print(f"  {type}: {fields}", file=sys.stderr)

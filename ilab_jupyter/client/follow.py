"""A job's events as lines of text, for a terminal."""

from __future__ import annotations

import time
from typing import Any, TextIO

from ilab_jupyter.client import render
from ilab_jupyter.jobs.record import Event

PROGRESS_LINE_SECONDS = 2.0


class Follower:
    """Prints log lines as they are completed, and where the work stands at most every two seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._rest = ""
        self._attempt: int | None = None
        self._phase = ""
        self._shown_at = 0.0

    def show(self, events: list[Event]) -> None:
        newest: Event | None = None
        for event in events:
            fields = event.fields
            if event.type == "log":
                self._log(fields)
            elif event.type == "phase":
                self._phase = str(fields.get("name", ""))
                self._line(f"[{self._phase}] {fields.get('message', '')}")
            elif event.type == "warning":
                self._line(f"warning: {fields.get('message', '')} {fields.get('next_step', '')}")
            elif event.type == "progress":
                newest = event
            elif event.type == "end" and self._rest:
                self._line(self._rest)
                self._rest = ""
        now = time.monotonic()
        if newest is not None and now - self._shown_at >= PROGRESS_LINE_SECONDS:
            self._shown_at = now
            self._line(self._standing(newest.fields))

    def _log(self, fields: dict[str, Any]) -> None:
        if fields.get("attempt") != self._attempt:
            self._attempt, self._rest = fields.get("attempt"), ""
        *lines, self._rest = (self._rest + str(fields.get("text", ""))).split("\n")
        for line in lines:
            self._line(line)

    def _standing(self, fields: dict[str, Any]) -> str:
        total, eta, loss = fields.get("total"), fields.get("eta_seconds"), fields.get("loss")
        parts = [f"{self._phase or 'step'} {fields.get('step')}" + (f" of {total}" if total else "")]
        if isinstance(loss, int | float):
            parts.append(f"loss {loss:.4g}")
        if isinstance(eta, int | float):
            parts.append(f"{render.duration(eta)} left")
        return "  " + " · ".join(parts)

    def _line(self, text: str) -> None:
        print(render.fold(text).rstrip(), file=self._out, flush=True)

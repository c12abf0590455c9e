"""A job's log as lines of text, for a terminal. The log itself shows the progress."""

from __future__ import annotations

from typing import Any, TextIO

from ilab_jupyter.client import render
from ilab_jupyter.jobs.record import Event


class Follower:
    """Prints log lines as they are completed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._rest = ""
        self._attempt: int | None = None

    def show(self, events: list[Event]) -> None:
        """Print what the `log` events add, and at the `end` a last line without a line end."""
        for event in events:
            if event.type == "log":
                self._log(event.fields)
            elif event.type == "end" and self._rest:
                self._line(self._rest)
                self._rest = ""

    def _log(self, fields: dict[str, Any]) -> None:
        if fields.get("attempt") != self._attempt:
            self._attempt, self._rest = fields.get("attempt"), ""
        *lines, self._rest = (self._rest + str(fields.get("text", ""))).split("\n")
        for line in lines:
            self._line(line)

    def _line(self, text: str) -> None:
        print(render.fold(text).rstrip(), file=self._out, flush=True)

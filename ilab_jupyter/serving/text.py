"""From tokens to text as they come: whole characters only, and never a piece of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """One answer's text. `add` gives what may be shown; what could still become a stop string is held back.

    `decode` turns token ids into text. `stopped`: a stop string was met; it is not part of the text.
    """

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._stops = tuple(stops)
        self._longest = max((len(stop) for stop in self._stops), default=0)
        self._ids: list[int] = []
        self._start = 0
        self._shown = 0
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that this token makes certain; empty while a character or stop string may be half done."""
        if self.stopped:
            return ""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._shown])
        now = self._decode(self._ids[self._start :])
        # A tokenizer may join a character or blank with the tokens before it, so a few of those stay in view.
        if len(now) <= len(before) or now.endswith(_BROKEN):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return self._release(now[len(before) :])

    def finish(self) -> str:
        """What is left when generation ends."""
        if self.stopped:
            return ""
        before = self._decode(self._ids[self._start : self._shown])
        rest = self._decode(self._ids[self._start :])[len(before) :]
        self._start = self._shown = len(self._ids)
        shown = self._release(rest)
        if self.stopped:
            return shown
        shown, self._held = shown + self._held, ""
        return shown

    def _release(self, new: str) -> str:
        text = self._held + new
        found = [position for stop in self._stops if (position := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = next(
            (
                size
                for size in range(min(self._longest - 1, len(text)), 0, -1)
                if any(stop.startswith(text[-size:]) for stop in self._stops)
            ),
            0,
        )
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

"""Search in a log: in bounded memory and time, and only in the masked text, so that it reveals no secret."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.logs.masking import Mask
from ilab_jupyter.jobs.record import LogMatch, LogMatches

SECONDS = 2.0
MAX_MATCHES = 1000
MAX_PATTERN = 1000
MAX_TEXT = 2000
_WINDOW = 262_144
_BEFORE = 200  # bytes shown before a match that is far from the start of its line


def compiled(pattern: str, *, regex: bool) -> Any:
    """Compile the pattern for bytes, ignoring case. InvalidInput if it is not valid."""
    import re2  # type: ignore[import-untyped]

    if not 0 < len(pattern) <= MAX_PATTERN:
        raise InvalidInput(f"A pattern has 1 to {MAX_PATTERN} characters.")
    options = re2.Options()
    options.case_sensitive = False
    options.never_nl = True
    options.log_errors = False
    options.max_mem = 16 << 20
    try:
        wanted = pattern.encode()
        return re2.compile(b"(?m:" + (wanted if regex else re2.escape(wanted)) + b")", options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise InvalidInput(
            f"The pattern is not a valid regular expression: {reason[:300]}.",
            "Use the RE2 syntax, which has no look-around and no back-references.",
        ) from None


def search(
    path: Path, pattern: Any, *, attempt: int, offset: int, limit: int, final: bool, mask: Mask
) -> LogMatches:
    """Return at most `limit` matching lines from byte `offset` on, counted from the end if negative.

    A line longer than 256 KiB is searched in parts of that size. `final`: the log no longer grows.
    """
    deadline = time.monotonic() + SECONDS
    found: list[LogMatch] = []
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return LogMatches(matches=found, attempt=attempt, next_offset=0, complete=True)
    with file:
        size = file.seek(0, os.SEEK_END)
        at = max(0, size + offset) if offset < 0 else min(offset, size)
        while at < size:
            before = min(at, mask.back)
            file.seek(at - before)
            read = file.read(before + min(_WINDOW, size - at) + mask.ahead)
            last = at - before + len(read) >= size
            shown = mask.apply(read, at - before)
            if last and not final:
                held = mask.held(read)
                size = min(size, at - before + len(read) - held)
                shown = shown[: len(read) - held]
            end = _end(shown, before, min(len(shown), before + min(_WINDOW, size - at)), at_end=last)
            for start, text, behind in _lines(pattern, shown, before, end):
                match_offset = at - before + start
                found.append(LogMatch(attempt=attempt, offset=match_offset, text=text))
                if len(found) == limit:
                    return _result(found, attempt, at - before + behind, size)
            at += end - before
            if end == before or time.monotonic() >= deadline:
                break
    return _result(found, attempt, at, size)


def _result(found: list[LogMatch], attempt: int, at: int, size: int) -> LogMatches:
    return LogMatches(matches=found, attempt=attempt, next_offset=at, complete=at >= size)


def _end(data: bytes, start: int, end: int, *, at_end: bool) -> int:
    """Return the offset after the last whole line in data[start:end]; `end` if there is none or nothing
    follows."""
    if at_end and end == len(data):
        return end
    feed = data.rfind(b"\n", start, end)
    return feed + 1 if feed >= 0 else end


def _lines(pattern: Any, data: bytes, start: int, end: int) -> Any:
    """Yield (start of the displayed text, the text, start of the next line) of each line with a match."""
    while start < end and (match := pattern.search(data, start, end)) is not None:
        feed = data.find(b"\n", match.end(), end)
        stop = feed if feed >= 0 else end
        first = max(start, data.rfind(b"\n", start, match.start()) + 1)
        if match.start() - first > MAX_TEXT - 2 * _BEFORE:
            first = match.start() - _BEFORE
        text = data[first : min(stop, first + 4 * MAX_TEXT)].decode(errors="replace")[:MAX_TEXT]
        start = stop + 1
        if first == end:  # the empty text after the last line feed is not a line
            return
        yield first, text.rstrip("\r"), min(start, end)

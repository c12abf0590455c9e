"""Looking for lines in a log: in bounded memory and time, and only in what a reader may see of it, so that a
search tells no secret either."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.logs.masking import Mask
from ilab_jupyter.jobs.record import LogMatch, LogMatches

SECONDS = 2.0
MOST = 1000
LONGEST_PATTERN = 1000
LONGEST_TEXT = 2000
_WINDOW = 262_144
_BEFORE = 200  # bytes shown before a match that stands far behind its line's beginning


def compiled(pattern: str, *, regex: bool) -> Any:
    """The pattern for bytes, in any case of letters; InvalidInput for one that cannot be."""
    import re2  # type: ignore[import-untyped]

    if not 0 < len(pattern) <= LONGEST_PATTERN:
        raise InvalidInput(f"A pattern has 1 to {LONGEST_PATTERN} characters.")
    options = re2.Options()
    options.case_sensitive = False
    options.never_nl = True
    options.log_errors = False
    options.max_mem = 16 << 20
    try:
        wanted = pattern.encode()
        return re2.compile(b"(?m:" + (wanted if regex else re2.escape(wanted)) + b")", options)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise InvalidInput(
            f"The pattern is no regular expression: {said[:300]}.",
            "Write it as RE2 does: no look-around, no back-references.",
        ) from None


def search(
    path: Path, pattern: Any, *, attempt: int, offset: int, limit: int, final: bool, mask: Mask
) -> LogMatches:
    """At most `limit` lines from byte `offset` on, counted from the end where negative.

    A line longer than 256 KiB is searched in parts of that size. `final`: the log grows no more.
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
                place = at - before + start
                found.append(LogMatch(attempt=attempt, offset=place, text=text))
                if len(found) == limit:
                    return _result(found, attempt, at - before + behind, size)
            at += end - before
            if end == before or time.monotonic() >= deadline:
                break
    return _result(found, attempt, at, size)


def _result(found: list[LogMatch], attempt: int, at: int, size: int) -> LogMatches:
    return LogMatches(matches=found, attempt=attempt, next_offset=at, complete=at >= size)


def _end(data: bytes, start: int, end: int, *, at_end: bool) -> int:
    """Behind the last whole line in data[start:end]; all of it where there is none, or nothing follows."""
    if at_end and end == len(data):
        return end
    feed = data.rfind(b"\n", start, end)
    return feed + 1 if feed >= 0 else end


def _lines(pattern: Any, data: bytes, start: int, end: int) -> Any:
    """(where the text shown begins, the text, where the next line begins) of each line with a match."""
    while start < end and (match := pattern.search(data, start, end)) is not None:
        feed = data.find(b"\n", match.end(), end)
        stop = feed if feed >= 0 else end
        first = max(start, data.rfind(b"\n", start, match.start()) + 1)
        if match.start() - first > LONGEST_TEXT - 2 * _BEFORE:
            first = match.start() - _BEFORE
        text = data[first : min(stop, first + 4 * LONGEST_TEXT)].decode(errors="replace")[:LONGEST_TEXT]
        start = stop + 1
        if first == end:  # the empty rest behind the last line feed is no line
            return
        yield first, text.rstrip("\r"), min(start, end)

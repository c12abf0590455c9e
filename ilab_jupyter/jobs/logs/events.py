"""events.jsonl: appending lines that survive a crash, and reading that tolerates truncated lines."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TAIL = 65536
MAX_DEPTH = 100
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
Line = dict[str, Any]


class EventWriter:
    """Appends to one job's events. Only one process writes at a time; its threads may share a writer."""

    def __init__(self, path: Path, **common: Any) -> None:
        """`common` fields are added to every line."""
        self._common = common
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        self._seq = last_seq(path)

    def write(self, type: str, **fields: Any) -> int:
        """Append one event and return its seq. Raises OSError if the disk refuses the write."""
        with self._lock:
            seq = self._seq + 1
            line = {"seq": seq, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "type": type}
            data = _dumps({**line, **fields, **self._common, **line}) + b"\n"
            if self._torn:
                data = b"\n" + data
            self._torn = True
            if os.write(self._descriptor, data) == len(data):
                self._torn = False
                self._seq = seq
                return seq
            raise OSError(28, "No space left on device")

    def sync(self) -> None:
        """Make everything written so far durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _dumps(value: Line) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError):
        return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False).encode(errors="replace")


def _plain(value: Any) -> Any:
    """Return the nearest JSON value: null for NaN and infinity, text for unsupported types."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if callable(item := getattr(value, "item", None)):  # a numpy or torch scalar
        try:
            return _plain(item())
        except (TypeError, ValueError, RuntimeError):
            return str(value)
    return str(value)


def parse(line: bytes) -> Line | None:
    """Return the event, or None for a line that is truncated or not an event."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if _SURROGATE.search(line):
        value = _text_only(value)
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        return None
    if isinstance(value, dict) and type(value.get("seq")) is int and {"time", "type"} <= value.keys():
        try:
            datetime.fromisoformat(value["time"])
        except (TypeError, ValueError):
            return None
        return value if isinstance(value["type"], str) else None
    return None


def _text_only(value: Any) -> Any:
    """Replace each unpaired surrogate, which a response cannot contain, by a question mark."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while (level := [one for one in level if isinstance(one, dict | list)]) and depth <= MAX_DEPTH:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


class EventTail:
    """Reads events incrementally; a call costs as much as there is new data."""

    def __init__(self, path: Path, after: int = 0) -> None:
        """Start after the event with seq `after`."""
        self._path = path
        self._seq = after
        self._offset = offset_after(path, after)

    def changed(self) -> bool:
        """Whether there are unread bytes."""
        try:
            return self._path.stat().st_size > self._offset
        except FileNotFoundError:
            return False

    def read(self, limit: int = 1000) -> list[Line]:
        """Return the next events, at most `limit`. An incomplete line is left for a later call."""
        found, self._offset = read_from(self._path, self._offset, limit, self._seq)
        if found:
            self._seq = found[-1]["seq"]
        return found


def read_from(path: Path, offset: int, limit: int, after: int = 0) -> tuple[list[Line], int]:
    """Return at most `limit` events with seq > `after` from byte `offset` on, and the offset after the last
    line.

    An incomplete line is left for a later call.
    """
    found: list[Line] = []
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return found, offset
    with file:
        file.seek(offset)
        for line in file:
            if len(found) >= limit or not line.endswith(b"\n"):
                break
            offset += len(line)
            event = parse(line)
            if event is not None and event["seq"] > after:
                after = event["seq"]
                found.append(event)
    return found, offset


def offset_after(path: Path, after: int) -> int:
    """Return a byte offset before which no event has a seq > `after`, by binary search."""
    low = 0
    try:
        with path.open("rb") as file:
            high = file.seek(0, os.SEEK_END)
            while after > 0 and high - low > TAIL:
                middle = (low + high) // 2
                file.seek(middle)
                file.readline()
                seen, start = None, file.tell()
                while seen is None and start < high:
                    line = file.readline()
                    if not line:
                        break
                    seen = parse(line)
                    if seen is None:
                        start = file.tell()
                if seen is not None and seen["seq"] <= after:
                    low = start
                else:
                    high = middle
    except FileNotFoundError:
        pass
    return low


def backwards(path: Path, limit: int | None = None) -> Iterator[Line]:
    """Yield events from newest to oldest, reading at most `limit` bytes."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        end = file.seek(0, os.SEEK_END)
        stop = 0 if limit is None else max(0, end - limit)
        rest = b""
        while end > stop:
            start = max(stop, end - TAIL)
            file.seek(start)
            lines = (file.read(end - start) + rest).split(b"\n")
            rest, end = lines[0], start
            for line in reversed(lines[1:]):
                if (event := parse(line)) is not None:
                    yield event
        if stop == 0 and (event := parse(rest)) is not None:
            yield event


def last_seq(path: Path) -> int:
    """Return the seq of the newest valid line; 0 if there is none."""
    return next((int(event["seq"]) for event in backwards(path)), 0)


def last_of(path: Path, types: frozenset[str], attempt: int) -> Line | None:
    """Return the attempt's newest event of these types."""
    for event in backwards(path):
        if event.get("attempt", attempt) != attempt:
            return None
        if event["type"] in types:
            return event
    return None


def progress(path: Path, attempt: int) -> Line:
    """Return an attempt's current progress in the fields of `record.Progress`, from the tail of the file."""
    phase: Line | None = None
    step: Line | None = None
    for event in backwards(path, TAIL):
        if event.get("attempt", attempt) != attempt:
            break
        if event["type"] == "phase" and phase is None:
            phase = event
        elif event["type"] == "progress" and step is None:
            step = event
        if phase is not None and step is not None:
            break
    progress: Line = {}
    if step is not None:
        own = {"seq", "time", "type", "attempt", "phase", "step", "total", "eta_seconds"}
        progress["metrics"] = {name: value for name, value in step.items() if name not in own}
        if phase is None or step["seq"] > phase["seq"]:
            progress |= {name: step.get(name) for name in ("step", "total", "eta_seconds")}
            progress["phase"] = step.get("phase", "")
    if phase is not None:
        progress |= {"phase": phase.get("name", ""), "message": phase.get("message", "")}
    return progress

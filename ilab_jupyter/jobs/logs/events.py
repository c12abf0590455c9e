"""events.jsonl: appending lines that survive a crash, and reading them without stumbling over a torn one."""

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
    """Appends to one job's events. One process at a time writes; its threads may share a writer."""

    def __init__(self, path: Path, **common: Any) -> None:
        """`common` fields go into every line."""
        self._common = common
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        self._seq = last_seq(path)

    def write(self, type: str, **fields: Any) -> int:
        """Append one event and give its seq. OSError where the disk refuses."""
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
        """No more writes."""
        os.close(self._descriptor)


def _dumps(value: Line) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError):
        return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False).encode(errors="replace")


def _plain(value: Any) -> Any:
    """The nearest JSON value: null for numbers that JSON does not have, text for objects it does not know."""
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
    """An event, or None for a line that is torn or not an event."""
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
    """The value with a question mark in place of each unpaired surrogate, which no answer can hold."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while (level := [one for one in level if isinstance(one, dict | list)]) and depth <= MAX_DEPTH:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


class EventTail:
    """Reads on from where the last call stopped; a call costs as much as there is new."""

    def __init__(self, path: Path, after: int = 0) -> None:
        """Events with seq > `after`."""
        self._path = path
        self._seq = after
        self._offset = offset_after(path, after)

    def changed(self) -> bool:
        """Whether there are bytes that were not read yet."""
        try:
            return self._path.stat().st_size > self._offset
        except FileNotFoundError:
            return False

    def read(self, limit: int = 1000) -> list[Line]:
        """The next events, at most `limit`; a line without its end waits for the rest."""
        found, self._offset = read_from(self._path, self._offset, limit, self._seq)
        if found:
            self._seq = found[-1]["seq"]
        return found


def read_from(path: Path, offset: int, limit: int, after: int = 0) -> tuple[list[Line], int]:
    """At most `limit` events with seq > `after` from byte `offset` on, and the offset behind the last line;
    a line without its end waits for the rest."""
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
    """A byte offset before which there is no event with seq > `after`: a binary search, as seq only grows."""
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
    """Events from the newest to the oldest, looking at no more than `limit` bytes."""
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
    """The seq of the newest valid line; 0 where there is none."""
    return next((int(event["seq"]) for event in backwards(path)), 0)


def last_of(path: Path, types: frozenset[str], attempt: int) -> Line | None:
    """The newest event of these types that belongs to the attempt."""
    for event in backwards(path):
        if event.get("attempt", attempt) != attempt:
            return None
        if event["type"] in types:
            return event
    return None


def progress(path: Path, attempt: int) -> Line:
    """Where an attempt stands, in the fields of `record.Progress`, from the tail of the file."""
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
    stands: Line = {}
    if step is not None:
        own = {"seq", "time", "type", "attempt", "phase", "step", "total", "eta_seconds"}
        stands["metrics"] = {name: value for name, value in step.items() if name not in own}
        if phase is None or step["seq"] > phase["seq"]:
            stands |= {name: step.get(name) for name in ("step", "total", "eta_seconds")}
            stands["phase"] = step.get("phase", "")
    if phase is not None:
        stands |= {"phase": phase.get("name", ""), "message": phase.get("message", "")}
    return stands

"""Masking of secrets in logs and events: the job's own secrets, and anything that looks like a token or key.

A secret is replaced by as many asterisks as it has bytes, so offsets stay valid and a text reads the same
however it is split. Only output is masked; files on disk keep what was written.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from ilab_jupyter.durable import read_json, write_json
from ilab_jupyter.jobs.folder import JobFolder
from ilab_jupyter.jobs.logs import tokens
from ilab_jupyter.jobs.logs.events import EventTail
from ilab_jupyter.jobs.logs.tokens import Span
from ilab_jupyter.secret_names import environment_secrets

SHORTEST = 6  # characters of a job's own secret: a shorter one would match too much
_AHEAD = 4096
_WINDOW = 1_048_576
_KNOWN_JOBS = 256
_HEAD = 64

_STARS = bytes(byte if byte == 10 else 42 for byte in range(256))


class Mask:
    """Hides secrets in bytes and values. Without a job's secrets only the general patterns apply."""

    def __init__(
        self,
        values: Iterable[str] = (),
        ranges: Iterable[Span] = (),
        events: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """`values`: secrets; `ranges`: byte ranges of the file; `events`: replacements by seq."""
        self._own = sorted(_variants(values), key=len, reverse=True)
        heads = b"|".join(re.escape(one[:_HEAD]) for one in self._own)
        self._pattern = tokens.compiled(heads) if heads else None
        self._ranges = sorted(ranges)
        self._ends = [end for _, end in self._ranges]
        self._events = events or {}
        longest = max(map(len, self._own), default=0)
        self.back = tokens.LONGEST + 2 * longest
        self.ahead = _AHEAD + 2 * longest

    def apply(self, data: bytes, offset: int = 0) -> bytes:
        """Return `data`, which starts at byte `offset` of the file, with secrets replaced by asterisks.

        Whether a byte is hidden depends on the `back` bytes before it and the `ahead` bytes after it.
        """
        return _starred(data, [*_seen(data, self._found), *self._sealed(offset, len(data))])

    def held(self, data: bytes) -> int:
        """Return how many bytes at the end of a growing file may be the start of a secret."""
        tail = data[-self.ahead :]
        plain, origin = tokens.plain(tail)
        partial = self._partial(tail)
        if origin is not None:
            partial = max(partial, len(tail) - origin(len(plain) - self._partial(plain)))
        return partial

    def text(self, text: str) -> str:
        """Mask a text."""
        if len(text) < SHORTEST:
            return text
        data = text.encode(errors="surrogatepass")
        shown = _starred(data, _seen(data, self._found))
        return text if shown is data else shown.decode(errors="replace")

    def value(self, value: Any) -> Any:
        """Mask every text in a JSON value, including the names of its fields."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.value(name): self.value(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def event(self, line: dict[str, Any]) -> dict[str, Any]:
        """Mask a line of events.jsonl."""
        if (masked := self._events.get(str(line["seq"]))) is not None:
            line = masked
        kept = {name: line[name] for name in ("seq", "time", "type")}
        return {**{name: self.value(item) for name, item in line.items()}, **kept}

    def own(self, data: bytes) -> list[Span]:
        """Return the positions of the job's own secrets in `data`."""
        return _seen(data, self._found_own)

    def _found(self, data: bytes) -> Iterator[Span]:
        yield from self._found_own(data)
        yield from tokens.found(data)

    def _found_own(self, data: bytes) -> Iterator[Span]:
        at = 0
        while self._pattern is not None and (match := self._pattern.search(data, at)) is not None:
            at = match.start()
            for one in self._own:
                if data.startswith(one, at):
                    yield at, at + len(one)
                    break
            at += 1

    def _sealed(self, offset: int, size: int) -> Iterator[Span]:
        for start, end in self._ranges[bisect_right(self._ends, offset) :]:
            if start >= offset + size:
                return
            yield max(0, start - offset), min(size, end - offset)

    def _partial(self, data: bytes) -> int:
        """Return how many bytes at the end may continue to a secret."""
        most = tokens.partial(data)
        for one in self._own:
            at = max(0, len(data) - len(one) + 1)
            while (at := data.find(one[:1], at)) >= 0 and len(data) - at > most:
                if one.startswith(data[at:]):
                    most = len(data) - at
                    break
                at += 1
        return most


def mask_of(folder: JobFolder, attempt: int | None = None) -> Mask:
    """Return the mask of a job's texts, or of the log of one of its attempts."""
    # In this order, because `seal` writes the ranges before it removes the secrets.
    inherited = environment_secrets()
    stamps = _stamp(folder.secrets), _stamp(folder.path / "masks.json"), inherited
    if stamps[:2] == (None, None):
        return _of_environment(inherited)
    key = (folder.path, attempt)
    known = _known.get(key)
    if known is None or known[0] != stamps:
        values = [text for text in (read_json(folder.secrets) or {}).values() if isinstance(text, str)]
        sealed = read_json(folder.path / "masks.json") or {}
        ranges = sealed.get("logs", {}).get(str(attempt), [])
        while len(_known) >= _KNOWN_JOBS:
            with suppress(KeyError, RuntimeError):
                _known.pop(next(iter(_known)), None)
        known = _known[key] = (
            stamps,
            Mask([*values, *inherited], [(start, end) for start, end in ranges], sealed.get("events")),
        )
    return known[1]


def seal(folder: JobFolder, *, forget: bool = True) -> None:
    """Record the positions of secrets in a job's logs and events, so that they stay masked without the
    secrets.

    With `forget`, delete the job's own secrets afterwards. They are kept if recording fails.
    """
    mask = mask_of(folder)
    with suppress(OSError):
        if not folder.secrets.exists() and not environment_secrets():
            return
        logs = {}
        for path in sorted(folder.path.glob("attempts/*/log.txt")):
            if ranges := list(_ranges(path, mask)):
                logs[path.parent.name] = ranges
        known = folder.path / "masks.json"
        earlier = read_json(known) or {}
        found = {
            # An earlier attempt may have had other secrets.
            "logs": {**earlier.get("logs", {}), **logs},
            "events": {**earlier.get("events", {}), **_masked_events(folder.events, mask)},
        }
        if found["logs"] or found["events"] or folder.secrets.exists():
            write_json(known, found)
        if forget:
            folder.secrets.unlink(missing_ok=True)


@lru_cache(maxsize=8)
def _of_environment(inherited: tuple[str, ...]) -> Mask:
    return Mask(inherited) if inherited else GENERAL


_known: dict[tuple[Path, int | None], tuple[tuple[Any, Any, Any], Mask]] = {}


@lru_cache(maxsize=4096)
def _encoded(secret: bytes) -> frozenset[bytes]:
    """Return the secret in base64, also as part of a longer text, and in hexadecimal."""
    found = {secret.hex().encode(), secret.hex().upper().encode()}
    for before in range(3):
        # Neighbouring bytes determine the characters at both ends.
        first, last = -(-8 * before // 6), 8 * (before + len(secret)) // 6
        whole = b64encode(bytes(before) + secret)[first:last]
        found |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return frozenset(found)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _ranges(path: Path, mask: Mask) -> Iterator[Span]:
    done = -1
    with path.open("rb") as file:
        start = 0
        while True:
            file.seek(start)
            data = file.read(_WINDOW)
            for one, end in sorted(mask.own(data)):
                if start + end > done:
                    yield max(done, start + one), start + end
                    done = start + end
            if len(data) < _WINDOW:
                return
            start += _WINDOW - mask.back


def _masked_events(path: Path, mask: Mask) -> dict[str, dict[str, Any]]:
    tail, masked = EventTail(path), {}
    while lines := tail.read():
        for line in lines:
            if (hidden := mask.event(line)) != line:
                masked[str(line["seq"])] = hidden
    return masked


def _variants(values: Iterable[str]) -> set[bytes]:
    """Return each secret in the forms that programs write: plain, quoted for JSON, HTML or URLs, encoded, by
    line."""
    found: set[bytes] = set()
    for value in values:
        for one in {value.strip(), *(line.strip() for line in value.splitlines())}:
            if len(one) >= SHORTEST:
                quoted = (
                    *(json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], repr(one)[1:-1]),
                    *(escape(one), escape(one, quote=False), escape(one).replace("&#x27;", "&#39;")),
                    *(quote(one, safe=""), quote(one), quote_plus(one)),
                )
                found |= {text.encode(errors="surrogatepass") for text in (one, *quoted)}
                found |= _encoded(one.encode(errors="surrogatepass"))
    return found


def _starred(data: bytes, spans: list[Span]) -> bytes:
    if not spans:
        return data
    shown = bytearray(data)
    for start, end in spans:
        shown[start:end] = data[start:end].translate(_STARS)
    return bytes(shown)


def _seen(data: bytes, find: Callable[[bytes], Iterator[Span]]) -> list[Span]:
    """Apply `find` to the raw bytes and to the text as a terminal displays it."""
    spans: list[Span] = list(find(data))
    plain, origin = tokens.plain(data)
    if origin is not None:
        spans += [(origin(start), origin(end - 1) + 1) for start, end in find(plain)]
    return spans


GENERAL = Mask()

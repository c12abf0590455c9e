"""Patterns of tokens, keys and passwords in a program's output, also between terminal escape sequences."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

LONGEST = 16_384  # bytes of a private key; of any other token, half of that

Span = tuple[int, int]

_CONTROL = bytes(byte for byte in (*range(32), 127) if byte not in b"\t\n\r")
# CSI and OSC sequences, other two-byte escapes, single control characters; also one that is cut at the end.
# Zero-width characters: U+00AD, U+200B to U+200F, U+202A to U+202E, U+2060 to U+206F, U+FEFF.
_ESCAPE = re.compile(
    rb"(?:\x1b\[|\xc2\x9b)[0-?]*[ -/]*(?:[@-~]|\Z)"
    rb"|(?:\x1b[\]PX^_]|\xc2\x9d)[^\x07\x1b]{0,2048}(?:\x07|\x1b\\|\x1b?\Z)?"
    rb"|\x1b(?:[ -/]*[0-~]|\Z)?|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"
    rb"|\xc2\xad|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf|(?:\xe2[\x80\x81]?|\xef\xbb?|\xc2)\Z"
)

_WIDTHLESS = re.compile(
    rb"\xc2[\x9b\x9d\xad]|\xe2(?:\x80[\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xaf]|[\x80\x81]?\Z)|\xef\xbb(?:\xbf|\Z)"
    rb"|[\xc2\xef]\Z"
)

_NAMES = rb"(?i:token|api[_\-]?key|secret|secret[_\-]?(?:access[_\-]?)?key|access[_\-]?key|passw(?:or)?d)"
_SIGNS = rb"sk[_\-]|glpat-|xox[abeprs]-|nvapi-|pypi-|AIza|github_pat_|gh[pousr]_"
_ASSIGNED = _NAMES + rb"(?:\\?[\"'])?[ \t]*[=:][ \t]*(?:\\?[\"'])?"
_FORMS = b"|".join(
    (
        rb"(?:hf_|api_org_|npm_)[A-Za-z0-9]{16,512}",
        rb"(?:" + _SIGNS + rb")[A-Za-z0-9_\-]{16,512}",
        rb"(?:AKIA|ASIA)[A-Z0-9]{12,512}",
        rb"eyJ[A-Za-z0-9_\-]{8,1000}\.[A-Za-z0-9_\-]{8,512}",
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY",
        rb"://[^\s/:@'\"]{0,256}:[^\s/@'\"]{1,512}@",
        rb"(?i:bearer[ \t]+[A-Za-z0-9_.~+/=\-]{8,512})",
        _ASSIGNED + rb"[^\s\"'&;,\\)\]}>]{6,512}",
        rb"--" + _NAMES + rb"[ \t]+[^\s\"'&;,\-][^\s\"'&;,]{5,512}",
    )
)
# Prefixes of these forms, anchored at the end.
_PARTIAL = rb"(?:(?:%s)\z)" % b"|".join(
    (
        rb"(?:hf_|api_org_|npm_|AKIA|ASIA|" + _SIGNS + rb")[A-Za-z0-9_\-]*",
        rb"eyJ[A-Za-z0-9_\-]*\.?[A-Za-z0-9_\-]*",
        rb"-----BEGIN [A-Z0-9 ]{0,54}",
        rb"://[^\s/@'\"]{0,768}",
        rb"(?i:bearer[ \t]*[A-Za-z0-9_.~+/=\-]{0,8})",
        _NAMES + rb"(?:\\?[\"'])?[ \t]*(?:[=:][ \t]*(?:\\?[\"'])?[^\s\"'&;,\\)\]}>]{0,6})?",
        rb"--" + _NAMES + rb"[ \t]+[^\s\"'&;,]{0,6}",
    )
)
# Names of a tokenizer's special tokens, such as `eos_token=`.
_OF_A_TOKENIZER = re.compile(
    rb"(?i)(?:\A|[^a-z0-9])(?:bos|eos|pad|unk|sep|cls|mask|stop|image|added|special|next|last|first|per|new|max"
    rb"|min|num|n|end|start|begin|decoder|forced|suppress)[_\-]?\Z"
)
_WORD = re.compile(rb"[A-Za-z0-9_]\Z")
_VALUE = re.compile(_ASSIGNED + rb"|--" + _NAMES + rb"[ \t]+")
_REST = re.compile(rb"[A-Za-z0-9_.~+/=\-]*")


def plain(data: bytes) -> tuple[bytes, Callable[[int], int] | None]:
    """Return the bytes without escape sequences, and a function that maps their positions back to `data`.

    The function is None if there are no escape sequences.
    """
    if len(data.translate(None, _CONTROL)) == len(data) and not _WIDTHLESS.search(data):
        return data, None
    parts, starts, origins = [], [], []
    done = length = 0
    for match in _ESCAPE.finditer(data):
        if match.start() > done:
            starts.append(length)
            origins.append(done)
            parts.append(data[done : match.start()])
            length += match.start() - done
        done = match.end()
    starts.append(length)
    origins.append(done)
    parts.append(data[done:])

    def origin(at: int) -> int:
        index = bisect_right(starts, at) - 1
        return int(origins[index] + at - starts[index])

    return b"".join(parts), origin


def found(data: bytes) -> Iterator[Span]:
    """Yield the positions of tokens, keys and passwords in `data`."""
    pattern, at = _forms_pattern(), 0
    while (match := pattern.search(data, at)) is not None:
        start, end = match.span()
        span = _secret(data, start, end)
        if span is None:
            at = start + 1
        else:
            yield span
            at = max(span[1], start + 1)


def _secret(data: bytes, start: int, end: int) -> Span | None:
    """Return the secret part of a match; None if it is a false positive."""
    text = data[start:end]
    before = data[max(0, start - 24) : start]
    if text.startswith(b"-----BEGIN"):
        stop = data.find(b"-----END", end, start + LONGEST)
        closed = -1 if stop < 0 else data.find(b"-----", stop + 8, stop + 80)
        return start, closed + 5 if closed >= 0 else min(len(data), start + LONGEST)
    if text.startswith(b"://"):
        return start + 3 + text[3:].index(b":") + 1, end - 1
    rest = _REST.match(data, end, start + LONGEST // 2)
    end = rest.end() if rest is not None else end
    if text[:6].lower() == b"bearer":
        return None if _WORD.search(before) else (start + 6 + _gap(text[6:]), end)
    if (name := _VALUE.match(text)) is None:
        return None if _WORD.search(before) else (start, end)
    value = text[name.end() :]
    called = name.group().lower()
    if called.startswith(b"token"):
        if _OF_A_TOKENIZER.search(before):
            return None
        prose = b":" in called and called[-1:] not in b"\"'"
        if prose and not (len(value) >= 16 and re.search(rb"[0-9]", value)):
            return None
    return None if value.isdigit() and len(value) < 16 else (start + name.end(), end)


def _gap(data: bytes) -> int:
    return len(data) - len(data.lstrip(b" \t"))


def compiled(pattern: bytes) -> Any:
    """Compile a pattern of RE2, which takes linear time, for bytes."""
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = 64 << 20
    return re2.compile(pattern, options)


def partial(data: bytes) -> int:
    """Return how many bytes at the end of `data` may be the start of a token."""
    match = _partial_pattern().search(data)
    return 0 if match is None else len(data) - int(match.start())


@cache
def _forms_pattern() -> Any:
    return compiled(_FORMS)


@cache
def _partial_pattern() -> Any:
    return compiled(_PARTIAL)

"""Reading a log by byte offset, without splitting a UTF-8 character."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ilab_jupyter.jobs.logs.masking import Mask

MAX_LIMIT = 16 * 1024 * 1024
_LETTER = 4  # bytes of the longest UTF-8 sequence


class Piece(NamedTuple):
    """Bytes [offset, next_offset) of a file of `size` bytes, as text; invalid UTF-8 becomes U+FFFD."""

    offset: int
    next_offset: int
    size: int
    text: str


def read(path: Path, offset: int, limit: int, *, final: bool, mask: Mask | None = None) -> Piece:
    """Return at most `limit` bytes without splitting a character, and at least one character if there is one.

    A negative offset counts from the end. `final`: the file no longer grows, so an incomplete character and a
    possible start of a secret are returned too. With `mask`, secrets are replaced by asterisks.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return Piece(0, 0, 0, "")
    back, ahead = (0, _LETTER) if mask is None else (mask.back, mask.ahead)
    with file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size + offset) if offset < 0 else min(offset, size)
        before = min(start, back)
        file.seek(start - before)
        read = file.read(before + min(limit, MAX_LIMIT, size - start) + ahead)
    if offset < 0 and start > 0:
        skipped = next(
            (i for i, byte in enumerate(read[before : before + _LETTER]) if byte & 0xC0 != 0x80), 0
        )
        start, before = start + skipped, before + skipped
    data = read[before:]
    at_end = start + len(data) >= size
    taken = data[:limit]
    whole = len(taken) - _unfinished(taken)
    if len(taken) < len(data):  # cut by the limit
        whole = whole or min(len(data), _length(data[0]))
    elif final and at_end:
        whole = len(taken)
    if mask is not None:
        if at_end and not final:
            whole = min(whole, max(0, len(data) - mask.held(read)))
        data = mask.apply(read, start - before)[before:]
    return Piece(start, start + whole, max(size, start + whole), data[:whole].decode(errors="replace"))


def _length(lead: int) -> int:
    return 4 if 0xF0 <= lead <= 0xF4 else 3 if lead >= 0xE0 else 2 if lead >= 0xC2 else 1


def _unfinished(data: bytes) -> int:
    """Return how many bytes at the end belong to an incomplete character."""
    for back in range(1, min(_LETTER, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            return back if 0xC2 <= byte <= 0xF4 and _length(byte) > back else 0
    return 0

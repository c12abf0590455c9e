"""Typed rows of the tables: a job, an attempt, and the seal that detects changes of a job's row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Double

from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store import schema


class Unreadable(Exception):
    """A row has content that we never wrote."""


class Row(NamedTuple):
    """A job as stored; `schema.job` documents the columns. A tuple, because lists read many."""

    seq: int
    id: str
    kind: str
    name: str
    owner: str
    state: JobState
    attempt: int
    version: int
    spec: dict[str, Any]
    launch: dict[str, Any]
    key: str | None
    spec_hash: str
    queue: str
    priority: int
    rank: float | None
    retries: int
    due: float | None
    created: float
    started: float | None
    ended: float | None
    token: str | None
    boot_id: str | None
    spawned: float | None
    stop_reason: str | None
    exit_code: int | None
    cause: str | None
    message: str | None
    hint: str | None
    remedy: str | None
    result: dict[str, Any]
    progress: dict[str, Any]

    @classmethod
    def read(cls, row: Sequence[Any]) -> Row:
        """Convert all columns of `schema.job`. Unreadable if they are not what was written."""
        data = dict(zip(_NAMES, row, strict=True))
        sealed = data.pop("seal")
        data.pop("resources")
        try:
            # Version 1 moved rows without updating the seal: it then belongs to an older version.
            if sealed is not None and sealed.startswith(f"{data['version']}:") and sealed != seal(data):
                raise Unreadable(f"the row of {data['id']!r} is not what was written")
            # One call for all columns: the call costs more than the parsing.
            values = json.loads(f"[{','.join(data[name] or '{}' for name in JSON)}]")
            data.update(zip(JSON, values, strict=True), state=JobState(data["state"]))
            return cls(**data)
        except (TypeError, ValueError) as error:
            raise Unreadable(f"the row of {data.get('id')} cannot be read: {error}") from error


@dataclass(frozen=True)
class AttemptRow:
    """An attempt as stored."""

    job: str
    n: int
    state: JobState
    token: str | None
    cause: str | None
    why: str | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str | None = None
    pruned: float | None = None


JSON = ("spec", "launch", "result", "progress")
COLUMNS = frozenset(Row._fields)
ATTEMPT = [schema.attempt.c[field.name] for field in fields(AttemptRow)]

_NAMES = [column.name for column in schema.job.c]
# Index of each column in a row of `schema.job`.
COLUMN = {name: index for index, name in enumerate(_NAMES)}
_FLOATS = frozenset(column.name for column in schema.job.c if isinstance(column.type, Double))
# The columns that a seal covers, in its order since version 2: all but `seq` and what the queue changes.
_SEALED = (
    *("attempt", "boot_id", "cause", "created", "ended", "exit_code", "id", "key", "kind", "launch"),
    *("message", "name", "hint", "owner", "priority", "progress", "queue", "remedy", "result", "spawned"),
    *("spec", "spec_hash", "started", "state", "stop_reason", "token", "version"),
)
_sealed = itemgetter(*_SEALED)
_JSON_SEALED = [_SEALED.index(name) for name in JSON]


def parsed(name: str, text: str, of: type) -> dict[str, Any]:
    """Parse the setting `name`, a JSON object with values `of` one type. Unreadable if it is invalid."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict) or any(type(value) is not of for value in found.values()):
        raise Unreadable(f"the setting {name} is {text!r}")
    return found


def stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values for the database: JSON as text, and texts without unsupported characters."""
    assert values.keys() <= COLUMNS, values.keys() - COLUMNS
    found = dict(values)
    for name, value in values.items():
        if name in JSON:
            found[name] = json.dumps(value)
        elif name in _FLOATS and value is not None:
            found[name] = float(value)
        elif isinstance(value, str) and not value.isascii():
            found[name] = value.encode(errors="replace").decode()
        if isinstance(value, str) and "\0" in value:
            found[name] = found[name].replace("\0", "\ufffd")
    return found


def seal(values: Mapping[str, Any]) -> str:
    """Return a digest of a row as stored, which detects changes made by a faulty disk."""
    written = [*_sealed(values)]
    for index in _JSON_SEALED:  # version 1 stored missing JSON as an empty text
        written[index] = written[index] or "{}"
    digest = hashlib.blake2b(json.dumps(written).encode(), digest_size=12)
    return f"{values['version']}:{digest.hexdigest()}"

"""Record of the last scheduler turn, kept in the lock file of the turn."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ilab_jupyter.durable import read_json
from ilab_jupyter.jobs.attempt.lock import is_held
from ilab_jupyter.jobs.attempt.process import boot_clock, boot_id
from ilab_jupyter.jobs.folder import StateFolder


@dataclass(frozen=True)
class LastTurn:
    """`age`: seconds since it started. `held`: the turn's lock is still held."""

    pid: int
    name: str
    age: float
    held: bool


def note(state: StateFolder) -> None:
    """Record that the holder of the turn's lock has started a turn. Errors of the disk are ignored."""
    record = {"pid": os.getpid(), "boot_id": boot_id(), "at": boot_clock(), "name": _name()}
    with suppress(OSError):
        state.turn_lock.write_text(json.dumps(record), encoding="utf-8")


def last(state: StateFolder) -> LastTurn | None:
    """Return the last turn of this boot, by any process; None if there was none."""
    held = is_held(state.turn_lock)
    record = read_json(state.turn_lock)
    if record is None or record.get("boot_id") != boot_id():
        return None
    try:
        return LastTurn(
            int(record["pid"]), str(record["name"])[:64], max(0.0, boot_clock() - float(record["at"])), held
        )
    except (KeyError, TypeError, ValueError):
        return None


def _name() -> str:
    try:
        return Path("/proc/self/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

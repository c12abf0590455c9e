"""Who moved the queue last, and when: a note in the file of the turn's lock."""

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
    """`age`: seconds since it began. `held`: it, or something else that keeps the queue still, goes on."""

    pid: int
    name: str
    age: float
    held: bool


def note(state: StateFolder) -> None:
    """For who holds the turn's lock. A disk that refuses it does not matter."""
    told = {"pid": os.getpid(), "boot_id": boot_id(), "at": boot_clock(), "name": _name()}
    with suppress(OSError):
        state.turn_lock.write_text(json.dumps(told), encoding="utf-8")


def last(state: StateFolder) -> LastTurn | None:
    """The last turn of this boot, by any process; None where there was none."""
    held = is_held(state.turn_lock)
    told = read_json(state.turn_lock)
    if told is None or told.get("boot_id") != boot_id():
        return None
    try:
        return LastTurn(
            int(told["pid"]), str(told["name"])[:64], max(0.0, boot_clock() - float(told["at"])), held
        )
    except (KeyError, TypeError, ValueError):
        return None


def _name() -> str:
    try:
        return Path("/proc/self/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

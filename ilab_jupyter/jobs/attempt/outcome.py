"""What an attempt's end was, told from how its worker exited, who asked it to stop, and its own last word."""

from __future__ import annotations

import math
import re
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ilab_jupyter.display import safe
from ilab_jupyter.durable import read_json
from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.folder import AttemptFolder, JobFolder
from ilab_jupyter.jobs.logs import events, masking
from ilab_jupyter.jobs.queue import retries
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store.rows import Row, Store

_TERMED = frozenset({-signal.SIGTERM, 128 + signal.SIGTERM})
_KILLED = frozenset({-signal.SIGKILL, 128 + signal.SIGKILL})
_LAST_WORDS = frozenset({"result", "error"})
_OTHER_PYTHON = (
    "Jobs need a Python in which ilab-jupyter[engine] is installed: "
    "name it in worker_python (or ILAB_JUPYTER_WORKER_PYTHON)."
)
_LESS = "Give it less to do at once, or ask for more memory; then start it again."
_SERVING = "serving"
MAX_MESSAGE = 4000
_CONTINUE = "Resume it to continue from its last checkpoint."


@dataclass(frozen=True)
class Exit:
    """The content of exit.json: how the worker ended, written by its supervisor."""

    token: str
    exit_code: int
    shutdown: bool
    """The supervisor was told to end without anyone asking for this job to be cancelled."""
    forced: bool
    """The worker was killed because it did not stop in its grace period."""
    cleared: bool = True
    """Nothing that it had started is left; False where the kernel could not kill a process."""
    oom_kills: int = 0
    """How many processes of its cgroup the kernel killed for want of memory just before."""
    over: int | None = None
    """Bytes of memory that it had when it was killed for having more than it asked for."""
    ended: float = field(default_factory=time.time)

    def to_dict(self) -> dict[str, Any]:
        """What `read` reads."""
        return asdict(self)

    @classmethod
    def read(cls, data: dict[str, Any] | None, token: str | None) -> Exit | None:
        """From a file; None where it is not the exit of the attempt with this token."""
        if (
            data is None
            or token is None
            or data.get("token") != token
            or type(data.get("exit_code")) is not int
        ):
            return None
        try:
            flags = {name: data[name] is True for name in ("shutdown", "forced", "cleared")}
            over = data.get("over")
            return cls(
                token,
                data["exit_code"],
                **flags,
                oom_kills=int(data.get("oom_kills", 0)),
                over=None if over is None else int(over),
                ended=float(data["ended"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


def end(row: Row, how: Exit, folder: JobFolder) -> tuple[JobState, dict[str, Any]]:
    """The state to move the row to, and the columns that go with it."""
    progress = events.progress(folder.events, row.attempt)
    word = events.last_of(folder.events, _LAST_WORDS, row.attempt) or {"type": ""}
    state, columns = _verdict(row, how, word)
    if columns.get("cause") == "out_of_memory" and "remedy" not in columns:
        columns["remedy"] = _prepared(folder.attempt(row.attempt), "out_of_memory")
    if state is JobState.FAILED and not word["type"] and (why := _unfit(folder.attempt(row.attempt).log)):
        columns |= _said("worker_unfit", f"{row.launch['python']} cannot run this job: {why}.", _OTHER_PYTHON)
    if not how.cleared:
        left = "A process that it had started could not be killed."
        columns["message"] = f"{columns.get('message', '')} {left}".strip()
    return state, {**columns, "ended": how.ended, "exit_code": how.exit_code, "progress": progress}


def _verdict(row: Row, how: Exit, word: events.Line) -> tuple[JobState, dict[str, Any]]:
    if how.exit_code == 0 and word["type"] == "result":
        result = word.get("result")
        return JobState.SUCCEEDED, {"result": result if isinstance(result, dict) else {}}
    if row.stop_reason == "cancel":
        late = " It did not stop in time and was killed." if how.forced else ""
        ended = "Stopped." if row.queue == _SERVING else "Cancelled."
        return JobState.CANCELLED, _said("cancelled", f"{ended}{late}", _continue(row))
    if how.over is not None:
        asked = row.spec.get("resources", {}).get("memory_gb")
        used = math.ceil(how.over / 1e6) / 1e3
        message = f"It used {used:g} GB of memory, more than the {asked:g} GB that it asked for."
        return JobState.FAILED, _said("out_of_memory", message, _LESS)
    if how.shutdown:
        return JobState.INTERRUPTED, _said(
            "shutdown", "It was told to end from outside, as when the machine shuts down.", _continue(row)
        )
    if how.exit_code in _TERMED:
        message = "Its process was told to end from outside."
        return JobState.INTERRUPTED, _said("terminated", message, _continue(row))
    if word["type"] == "error":
        texts = [str(word.get(name) or "") for name in ("cause", "message", "hint")]
        columns = _said(texts[0][:64] or "crashed", *texts[1:])
        # Who made room for another job has not failed.
        state = JobState.INTERRUPTED if columns["cause"] == "preempted" else JobState.FAILED
        return state, {**columns, "remedy": _command(word.get("remedy"))}
    if how.oom_kills and how.exit_code in _KILLED:
        message = "The kernel killed its process because the memory ran out."
        return JobState.FAILED, _said("out_of_memory", message, _LESS)
    return JobState.FAILED, _crash(how.exit_code)


def _continue(row: Row) -> str:
    """A deployment has no checkpoint: another attempt serves the same model."""
    return f"Serve again with `%ilab resume {row.id}`." if row.queue == _SERVING else _CONTINUE


def lost(message: str, *, cause: str = "lost") -> dict[str, Any]:
    """The columns of an attempt that ended without leaving an exit."""
    return {"ended": time.time(), **_said(cause, message, _CONTINUE)}


def _prepared(attempt: AttemptFolder, cause: str) -> str | None:
    """What the worker, while it lived, found best to run after this cause."""
    return _command((read_json(attempt.remedies) or {}).get(cause))


def _command(text: Any) -> str | None:
    """One line for `%ilab`, or None: a worker of another make may write anything."""
    return text if isinstance(text, str) and text.isprintable() and 0 < len(text) <= 8192 else None


def _said(cause: str, message: str, hint: str) -> dict[str, Any]:
    return {
        "cause": safe(cause),
        "message": safe(message)[:MAX_MESSAGE],
        "hint": safe(hint)[:MAX_MESSAGE],
    }


def _unfit(log: Path) -> str:
    """The last line of the log where it is an interpreter's complaint that it cannot start the work."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 1000))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last.rstrip(".")[:300] if re.search(r"No module named|[Uu]nknown option:? -P", last) else ""


def _crash(code: int) -> dict[str, Any]:
    if code == 0:
        return _said("no_result", "Its process ended without a result.", f"Read its log. {_OTHER_PYTHON}")
    if code == causes.NO_SPACE:
        return _said(
            "disk_full",
            "The disk was so full that not even its end could be written down.",
            "Free some space, then resume it.",
        )
    if code in _KILLED:
        return _said(
            "killed",
            "Its process was killed by somebody or by the kernel, possibly because memory ran out.",
            "Read the end of the log. If memory was short, free some or use smaller batches, then resume it.",
        )
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return _said("crashed", f"Its process crashed with {name}.", "Read the end of the log.")
    return _said("crashed", f"Its process ended with exit code {code}.", "Read the end of the log.")


def finish(store: Store, row: Row, how: Exit) -> None:
    """Move the attempt to its end, once; nothing where it has ended already or another one followed."""
    folder = store.state.job(row.id)
    current: Row | None = row
    while (
        current and current.attempt == row.attempt and current.token == how.token and not current.state.ended
    ):
        state, columns = end(current, how, folder)
        columns = masking.mask_of(folder).value(columns)
        # A process that is left may still use the device, and would meet another attempt.
        again = retries.following(store, current, state, columns) if how.cleared else None
        if not how.cleared and any(lease.job == row.id for lease in store.leases()):
            columns["message"] += " Its GPU is kept from other jobs until that process is gone."
        if store.move(current, state, keep_leases=not how.cleared, retry=again, **columns) is not None:
            # Not earlier: whoever writes the end must still know what to mask in it.
            # Others keep their own secrets for another attempt.
            masking.seal(folder, forget=state is JobState.SUCCEEDED)
            return
        current = store.get(row.id)

"""The outcome of an attempt, derived from its worker's exit, a stop request and its last event."""

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

_SIGTERM_CODES = frozenset({-signal.SIGTERM, 128 + signal.SIGTERM})
_SIGKILL_CODES = frozenset({-signal.SIGKILL, 128 + signal.SIGKILL})
_FINAL_EVENTS = frozenset({"result", "error"})
_OTHER_PYTHON = (
    "Jobs need a Python in which ilab-jupyter[engine] is installed: "
    "name it in worker_python (or ILAB_JUPYTER_WORKER_PYTHON)."
)
_REDUCE_MEMORY = "Reduce the batch size or request more memory, then start it again."
_SERVING = "serving"
MAX_MESSAGE = 4000
_CONTINUE = "Resume it to continue from its last checkpoint."


@dataclass(frozen=True)
class Exit:
    """The content of exit.json: how the worker ended, written by its supervisor."""

    token: str
    exit_code: int
    shutdown: bool
    """The supervisor received a termination signal although the job was not cancelled."""
    forced: bool
    """The worker was killed because it did not stop in its grace period."""
    cleared: bool = True
    """No process of the worker is left; False if the kernel could not kill one."""
    oom_kills: int = 0
    """Processes of its cgroup that the kernel killed because of low memory just before."""
    memory_over_limit: int | None = None
    """Bytes of memory that it had when it was killed for having more than it requested for."""
    ended: float = field(default_factory=time.time)

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `read` accepts."""
        return asdict(self)

    @classmethod
    def read(cls, data: dict[str, Any] | None, token: str | None) -> Exit | None:
        """Parse a file's content; None if it is not the exit of the attempt with this token."""
        if (
            data is None
            or token is None
            or data.get("token") != token
            or type(data.get("exit_code")) is not int
        ):
            return None
        try:
            flags = {name: data[name] is True for name in ("shutdown", "forced", "cleared")}
            memory_over_limit = data.get("memory_over_limit")
            return cls(
                token,
                data["exit_code"],
                **flags,
                oom_kills=int(data.get("oom_kills", 0)),
                memory_over_limit=None if memory_over_limit is None else int(memory_over_limit),
                ended=float(data["ended"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


def end(row: Row, worker_exit: Exit, folder: JobFolder) -> tuple[JobState, dict[str, Any]]:
    """Return the final state of the row and the columns that change with it."""
    progress = events.progress(folder.events, row.attempt)
    final_event = events.last_of(folder.events, _FINAL_EVENTS, row.attempt) or {"type": ""}
    state, columns = _verdict(row, worker_exit, final_event)
    if columns.get("cause") == "out_of_memory" and "remedy" not in columns:
        columns["remedy"] = _prepared(folder.attempt(row.attempt), "out_of_memory")
    if (
        state is JobState.FAILED
        and not final_event["type"]
        and (why := _interpreter_error(folder.attempt(row.attempt).log))
    ):
        columns |= _end_columns(
            "worker_unfit", f"{row.launch['python']} cannot run this job: {why}.", _OTHER_PYTHON
        )
    if not worker_exit.cleared:
        left = "A process that it had started could not be killed."
        columns["message"] = f"{columns.get('message', '')} {left}".strip()
    return state, {
        **columns,
        "ended": worker_exit.ended,
        "exit_code": worker_exit.exit_code,
        "progress": progress,
    }


def _verdict(row: Row, worker_exit: Exit, final_event: events.Line) -> tuple[JobState, dict[str, Any]]:
    if worker_exit.exit_code == 0 and final_event["type"] == "result":
        result = final_event.get("result")
        return JobState.SUCCEEDED, {"result": result if isinstance(result, dict) else {}}
    if row.stop_reason == "cancel":
        forced = " It did not stop in time and was killed." if worker_exit.forced else ""
        ended = "Stopped." if row.queue == _SERVING else "Cancelled."
        return JobState.CANCELLED, _end_columns("cancelled", f"{ended}{forced}", _continue(row))
    if worker_exit.memory_over_limit is not None:
        requested = row.spec.get("resources", {}).get("memory_gb")
        used = math.ceil(worker_exit.memory_over_limit / 1e6) / 1e3
        message = f"It used {used:g} GB of memory, more than the {requested:g} GB that it requested."
        return JobState.FAILED, _end_columns("out_of_memory", message, _REDUCE_MEMORY)
    if worker_exit.shutdown:
        return JobState.INTERRUPTED, _end_columns(
            "shutdown",
            "It was terminated by an external signal, such as a shutdown of the machine.",
            _continue(row),
        )
    if worker_exit.exit_code in _SIGTERM_CODES:
        message = "Its process was terminated by an external signal."
        return JobState.INTERRUPTED, _end_columns("terminated", message, _continue(row))
    if final_event["type"] == "error":
        texts = [str(final_event.get(name) or "") for name in ("cause", "message", "hint")]
        columns = _end_columns(texts[0][:64] or "crashed", *texts[1:])
        # A preempted job has not failed.
        state = JobState.INTERRUPTED if columns["cause"] == "preempted" else JobState.FAILED
        return state, {**columns, "remedy": _command(final_event.get("remedy"))}
    if worker_exit.oom_kills and worker_exit.exit_code in _SIGKILL_CODES:
        message = "The kernel killed its process because memory ran out."
        return JobState.FAILED, _end_columns("out_of_memory", message, _REDUCE_MEMORY)
    return JobState.FAILED, _crash(worker_exit.exit_code)


def _continue(row: Row) -> str:
    """Return the hint to continue. A deployment has no checkpoint: another attempt serves the same model."""
    return f"Serve again with `%ilab resume {row.id}`." if row.queue == _SERVING else _CONTINUE


def lost(message: str, *, cause: str = "lost") -> dict[str, Any]:
    """Return the columns of an attempt that ended without writing an exit."""
    return {"ended": time.time(), **_end_columns(cause, message, _CONTINUE)}


def _prepared(attempt: AttemptFolder, cause: str) -> str | None:
    """Return the command that the worker prepared for this cause while it was running."""
    return _command((read_json(attempt.remedies) or {}).get(cause))


def _command(text: Any) -> str | None:
    """Return the text if it is one line for `%ilab`, else None: a worker of another version may write
    anything."""
    return text if isinstance(text, str) and text.isprintable() and 0 < len(text) <= 8192 else None


def _end_columns(cause: str, message: str, hint: str) -> dict[str, Any]:
    return {
        "cause": safe(cause),
        "message": safe(message)[:MAX_MESSAGE],
        "hint": safe(hint)[:MAX_MESSAGE],
    }


def _interpreter_error(log: Path) -> str:
    """Return the last line of the log if an interpreter reports in it that it cannot start the work."""
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
        return _end_columns(
            "no_result", "Its process ended without a result.", f"Read its log. {_OTHER_PYTHON}"
        )
    if code == causes.NO_SPACE:
        return _end_columns(
            "disk_full",
            "The disk was full, so that not even its result could be written.",
            "Free some space, then resume it.",
        )
    if code in _SIGKILL_CODES:
        return _end_columns(
            "killed",
            "Its process was killed by a user or by the kernel, possibly because memory ran out.",
            "Read the end of the log. If memory was short, free some or use smaller batches, then resume it.",
        )
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return _end_columns("crashed", f"Its process crashed with {name}.", "Read the end of the log.")
    return _end_columns("crashed", f"Its process ended with exit code {code}.", "Read the end of the log.")


def finish(store: Store, row: Row, worker_exit: Exit) -> None:
    """Move the attempt to its final state, once. Does nothing if it has ended or a newer attempt exists."""
    folder = store.state.job(row.id)
    current: Row | None = row
    while (
        current
        and current.attempt == row.attempt
        and current.token == worker_exit.token
        and not current.state.ended
    ):
        state, columns = end(current, worker_exit, folder)
        columns = masking.mask_of(folder).value(columns)
        # A remaining process may still use the device and would run beside the next attempt.
        again = retries.next_attempt(store, current, state, columns) if worker_exit.cleared else None
        if not worker_exit.cleared and any(lease.job == row.id for lease in store.leases()):
            columns["message"] += " Its GPU is kept from other jobs until that process is gone."
        if (
            store.move(current, state, keep_leases=not worker_exit.cleared, retry=again, **columns)
            is not None
        ):
            # Only now: the secrets are needed to mask the columns written above.
            # Jobs that may be resumed keep their secrets for the next attempt.
            masking.seal(folder, forget=state is JobState.SUCCEEDED)
            return
        current = store.get(row.id)

"""The process of one attempt: reads the job's spec, runs its kind, and writes the final event."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.durable import write_json
from ilab_jupyter.errors import (
    InvalidInput,
    PublicError,
    Unavailable,
    chain,
    is_disk_full,
    out_of_memory_cause,
)
from ilab_jupyter.jobs.causes import NO_SPACE
from ilab_jupyter.jobs.folder import JobFolder
from ilab_jupyter.kinds.reporter import LoggedReporter
from ilab_jupyter.progress import Stopped

STOPPED = 128 + signal.SIGTERM
_ENGINE = frozenset(
    {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "safetensors", "instructlab"}
)


def main(arguments: list[str]) -> int:
    """Run attempt `arguments[1]` of the job in folder `arguments[0]` and return the exit code."""
    folder, attempt = Path(arguments[0]), int(arguments[1])
    spec: dict[str, Any] = {}
    reporter = LoggedReporter(folder / "events.jsonl", attempt)
    # Before the slow imports, so that a stop during them is not a crash.
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop())
    try:
        result = _work(folder, attempt, reporter, spec)
    except Stopped:
        with suppress(OSError):
            print("Stopped on request.", file=sys.stderr)
        return STOPPED
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code in (0, None):
            error = RuntimeError("the process exited without a result")
        public = explain(error)
        # The log may be on the full disk.
        with suppress(OSError):
            if public is not error:
                traceback.print_exception(error)
            print(f"{public.cause}: {public}", file=sys.stderr)
        fields = {**public.to_dict(), "remedy": _remedy(public.cause, spec)}
        return _finish(1, reporter, "error", fields)
    return _finish(0, reporter, "result", {"result": result})


def _finish(code: int, reporter: LoggedReporter, type: str, fields: dict[str, Any]) -> int:
    """Write the final event and return the exit code; NO_SPACE if the disk is too full for the event."""
    try:
        reporter.write_final(type, **fields)
    except OSError as error:
        if not is_disk_full(error):
            raise
        return NO_SPACE
    return code


def _work(folder: Path, attempt: int, reporter: LoggedReporter, spec: dict[str, Any]) -> dict[str, Any]:
    """Run the job and return its result. `spec` is filled as soon as the spec is read."""
    from ilab_jupyter.kinds import environment

    environment.prepare()
    from ilab_jupyter.kinds.catalog import KINDS, describe
    from ilab_jupyter.kinds.context import Context

    spec.update(json.loads((folder / "spec.json").read_bytes()))
    try:
        kind = KINDS[spec["kind"]]
        arguments = kind.spec.model_validate(spec["arguments"])
    except KeyError:
        raise InvalidInput(
            f"This interpreter's ilab-jupyter has no job kind {spec['kind']!r}.",
            "Install the same version of ilab-jupyter where jobs run as where they are submitted.",
        ) from None
    except ValidationError as error:
        raise InvalidInput(describe(error)) from None
    (folder / "artifacts").mkdir(mode=0o700, exist_ok=True)
    # If the kernel kills this process, its supervisor reports the prepared remedy.
    with suppress(OSError):
        prepared = {cause: _remedy(cause, spec) for cause in ("out_of_memory",)}
        write_json(JobFolder(folder).attempt(attempt).remedies, prepared)
    return kind.run(arguments, Context(spec["id"], attempt, folder, reporter))


def _remedy(cause: str, spec: dict[str, Any]) -> str | None:
    """The command to run after this cause; None if the spec could not be read."""
    try:
        from ilab_jupyter.kinds.remedies import remedy

        return remedy(cause, spec["kind"], spec["arguments"], spec["id"], spec.get("sources"))
    except Exception:
        # An error in the advice must not hide the failure. The job engine has a general remedy.
        return None


def explain(error: BaseException) -> PublicError:
    """The error for the user, with a cause and a hint; a PublicError is returned unchanged."""
    if isinstance(error, PublicError):
        return error
    for link in chain(error):
        if is_disk_full(link):
            return Unavailable(
                "The disk is full.",
                "Free some space, then resume the job from its last checkpoint.",
                cause="disk_full",
            )
        if isinstance(link, ModuleNotFoundError) and (link.name or "").partition(".")[0] in _ENGINE:
            return Unavailable(
                f"The library {link.name} is not installed where jobs run.",
                f"Run: {sys.executable} -m pip install 'ilab-jupyter[engine]'",
                cause="engine_missing",
            )
    if (cause := out_of_memory_cause(error)) is not None:
        what = "GPU" if cause == "gpu_out_of_memory" else "machine"
        return Unavailable(
            f"The {what} ran out of memory.",
            f"Free memory on the {what} and resume the job, or choose smaller batches.",
            cause=cause,
        )
    text = str(error)[:500].strip()
    return PublicError(
        f"{type(error).__name__}: {text}" if text else type(error).__name__,
        "Read the end of the log; if it looks like a bug, report it with the log.",
        cause="crashed",
    )

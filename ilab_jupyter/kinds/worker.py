"""The process of one attempt: reads the job's spec, does the work of its kind, and leaves a last word."""

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
    lack_of_memory,
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
    """Run attempt `arguments[1]` of the job in folder `arguments[0]`; the exit code is for its supervisor."""
    folder, attempt = Path(arguments[0]), int(arguments[1])
    told: dict[str, Any] = {}
    reporter = LoggedReporter(folder / "events.jsonl", attempt)
    # First of all, so that a stop during the slow imports is not a crash.
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop())
    try:
        result = _work(folder, attempt, reporter, told)
    except Stopped:
        with suppress(OSError):
            print("Stopped as asked.", file=sys.stderr)
        return STOPPED
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code in (0, None):
            error = RuntimeError("the work left without a result")
        public = explain(error)
        # The disk that is full may be the log's own.
        with suppress(OSError):
            if public is not error:
                traceback.print_exception(error)
            print(f"{public.cause}: {public}", file=sys.stderr)
        fields = {**public.to_dict(), "remedy": _remedy(public.cause, told)}
        return _leave(1, reporter, "error", fields)
    return _leave(0, reporter, "result", {"result": result})


def _leave(code: int, reporter: LoggedReporter, type: str, fields: dict[str, Any]) -> int:
    """Say the last word; the exit code tells where not even that fits on the disk."""
    try:
        reporter.write_final(type, **fields)
    except OSError as error:
        if not is_disk_full(error):
            raise
        return NO_SPACE
    return code


def _work(folder: Path, attempt: int, reporter: LoggedReporter, told: dict[str, Any]) -> dict[str, Any]:
    """Do the work. The spec is left in `told` as soon as it is read."""
    from ilab_jupyter.kinds import environment

    environment.prepare()
    from ilab_jupyter.kinds.catalog import KINDS, describe
    from ilab_jupyter.kinds.context import Context

    spec = json.loads((folder / "spec.json").read_bytes())
    told.update(spec)
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
    # Where the kernel kills it, only its supervisor can still speak.
    with suppress(OSError):
        prepared = {cause: _remedy(cause, told) for cause in ("out_of_memory",)}
        write_json(JobFolder(folder).attempt(attempt).remedies, prepared)
    return kind.run(arguments, Context(spec["id"], attempt, folder, reporter))


def _remedy(cause: str, told: dict[str, Any]) -> str | None:
    """What to run after this cause; None where nothing is known of the job."""
    try:
        from ilab_jupyter.kinds.remedies import remedy

        return remedy(cause, told["kind"], told["arguments"], told["id"])
    except Exception:
        # It is advice: no trouble with it may hide the failure itself. The engine has advice of its own.
        return None


def explain(error: BaseException) -> PublicError:
    """The error as a person should read it; `error` itself where it was written for one."""
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
    if (lack := lack_of_memory(error)) is not None:
        what = "GPU" if lack == "gpu_out_of_memory" else "machine"
        return Unavailable(
            f"The {what} ran out of memory.",
            f"Resume with less beside it on the {what}, or give it less to do at once.",
            cause=lack,
        )
    text = str(error)[:500].strip()
    return PublicError(
        f"{type(error).__name__}: {text}" if text else type(error).__name__,
        "Read the end of the log; if it looks like a bug, report it with the log.",
        cause="crashed",
    )

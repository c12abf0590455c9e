"""The process of one attempt: reads the job's spec, does the work of its kind, and leaves a last word."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.errors import InvalidInput, PublicError, Unavailable, chain, is_disk_full
from ilab_jupyter.progress import Stopped
from ilab_jupyter.tasks.reporter import LoggedReporter

STOPPED = 128 + signal.SIGTERM
_ENGINE = frozenset(
    {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "safetensors", "instructlab"}
)


def main(arguments: list[str]) -> int:
    """Run attempt `arguments[1]` of the job in folder `arguments[0]`; the exit code is for its supervisor."""
    folder, attempt = Path(arguments[0]), int(arguments[1])
    reporter = LoggedReporter(folder / "events.jsonl", attempt)
    # First of all, so that a stop during the slow imports is not a crash.
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop())
    try:
        result = _work(folder, attempt, reporter)
    except Stopped:
        print("Stopped as asked.", file=sys.stderr)
        return STOPPED
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code in (0, None):
            error = RuntimeError("the work left without a result")
        public = explain(error)
        if public is not error:
            traceback.print_exception(error)
        print(f"{public.cause}: {public}", file=sys.stderr)
        reporter.last_word("error", **public.to_dict())
        return 1
    reporter.last_word("result", result=result)
    return 0


def _work(folder: Path, attempt: int, reporter: LoggedReporter) -> dict[str, Any]:
    from ilab_jupyter.tasks import environment

    environment.prepare()
    from ilab_jupyter.tasks.catalog import KINDS, describe
    from ilab_jupyter.tasks.context import Context

    spec = json.loads((folder / "spec.json").read_bytes())
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
    return kind.run(arguments, Context(spec["id"], attempt, folder, reporter))


def explain(error: BaseException) -> PublicError:
    """The error as a person should read it; `error` itself where it was written for one."""
    if isinstance(error, PublicError):
        return error
    for link in chain(error):
        name = type(link).__name__
        if is_disk_full(link):
            return Unavailable(
                "The disk is full.",
                "Free some space, then resume the job from its last checkpoint.",
                cause="disk_full",
            )
        if name == "OutOfMemoryError":
            return Unavailable(
                "The GPU ran out of memory.",
                "Resume with nothing else on the GPU, or submit with a smaller batch_size or max_seq_length.",
                cause="gpu_out_of_memory",
            )
        if isinstance(link, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(link):
            return Unavailable(
                "The machine ran out of memory.",
                "Submit with a smaller batch_size or max_seq_length, or use method `lora`.",
                cause="out_of_memory",
            )
        if isinstance(link, ModuleNotFoundError) and (link.name or "").partition(".")[0] in _ENGINE:
            return Unavailable(
                f"The library {link.name} is not installed where jobs run.",
                f"Run: {sys.executable} -m pip install 'ilab-jupyter[engine]'",
                cause="engine_missing",
            )
    text = str(error)[:500].strip()
    return PublicError(
        f"{type(error).__name__}: {text}" if text else type(error).__name__,
        "Read the end of the log; if it looks like a bug, report it with the log.",
        cause="crashed",
    )

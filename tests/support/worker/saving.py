"""A job that saves checkpoints as a training does, in the real worker's shell, with its causes and events."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.durable import write_durably
from ilab_jupyter.kinds import catalog, worker
from ilab_jupyter.kinds.context import Context, TaskSpec


class Saves(TaskSpec):
    """`do` is one step: ["saves", folder, how many checkpoints, bytes of each]."""

    do: list[list[Any]]


def checkpoint(step: int, size: int) -> bytes:
    return bytes([step % 256]) * size


def run(spec: Saves, context: Context) -> dict[str, Any]:
    """Write the missing checkpoints; the result {first, last} is what this attempt wrote."""
    _, folder, count, size = spec.do[0]
    whole = [int(path.name.removeprefix("checkpoint-")) for path in Path(folder).glob("checkpoint-*")]
    first = max(whole, default=0) + 1
    for step in range(first, count + 1):
        write_durably(Path(folder) / f"checkpoint-{step}", checkpoint(step, size))
        print(f"saved {step}", "." * 1000, flush=True)
        context.reporter.progress(step, count)
        time.sleep(0.05)
    return {"first": first, "last": count}


def main() -> None:
    catalog.KINDS["train"] = catalog.Kind(
        name="train", spec=Saves, run=run, title="Test", summary="Run a test."
    )
    sys.exit(worker.main(sys.argv[1:]))

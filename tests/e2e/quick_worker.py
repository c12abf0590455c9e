"""A worker in place of the engine: the same files and events as a real one, in seconds and without torch."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from ilab_jupyter.tasks.reporter import EventReporter


def main(folder: Path, attempt: int) -> int:
    reporter = EventReporter(folder / "events.jsonl", attempt)
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop())
    spec = json.loads((folder / "spec.json").read_bytes())
    arguments = spec["arguments"]
    print(f"worker of {spec['kind']}, attempt {attempt}", flush=True)
    if arguments.get("model") == "broken":
        told = {"message": "The model folder holds no weights.", "next_step": "Choose another model."}
        reporter.last_word("error", cause="bad_data", **told)
        return 1
    if spec["kind"] == "serve":
        reporter.phase("serving")
        reporter.event("endpoint", model=arguments["model"], ready=True)
        while not reporter.stopping:
            time.sleep(0.05)
        return 143
    total = arguments["max_steps"]
    reporter.phase("training")
    for step in range(1, total + 1):
        if reporter.stopping:
            print("checkpoint saved", flush=True)
            return 143
        time.sleep(0.05)
        loss = 4.0 / step
        print(f"\rloading {step}\rstep {step} loss {loss:.4f} <b>&amp;</b>", flush=True)
        reporter.progress(step, total, loss=loss)
    reporter.last_word("result", result={"steps": total})
    return 0


if __name__ == "__main__":
    # -P -m ilab_jupyter.tasks FOLDER ATTEMPT, as the supervisor calls an interpreter
    sys.exit(main(Path(sys.argv[-2]), int(sys.argv[-1])))

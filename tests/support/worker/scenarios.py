"""Jobs without a script, for magics, widgets and the panel: the kind and the name say how a job goes.

train: `max_steps` (or 5) steps with loss 3/step, from step 2 on in a later attempt; of 0.12 s, so that each
is reported, or of 0.05 s where there are 100 or more. A name that begins with `fails` ends at step 3 of the
first attempt with an error, one with `evil` prints what must not be shown as HTML; the model `broken` fails
at once. generate: writes a dataset. serve: chat_server.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.kinds.reporter import EventReporter

# The reporter passes on ten steps a second.
STEP_SECONDS, FAST_STEP_SECONDS = 0.12, 0.05
EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[31m red \x1b[0m"


class Stopped(Exception):
    """Raised on SIGTERM."""


class Failed(Exception):
    """The job's own error: message and hint."""


def train(arguments: dict[str, Any], name: str, reporter: EventReporter, attempt: int) -> dict[str, Any]:
    total = int(arguments.get("max_steps") or 5)
    reporter.phase("training")
    for step in range(1 if attempt == 1 else 2, total + 1):
        time.sleep(STEP_SECONDS if total < 100 else FAST_STEP_SECONDS)
        loss = 3.0 / step
        print(f"\rloading {step}\rstep {step}/{total} loss {loss:.4f} <b>&amp;</b>", flush=True)
        if name.startswith("evil"):
            print(EVIL, flush=True)
        reporter.progress(step, total, loss=loss)
        if name.startswith("fails") and step == 3 and attempt == 1:
            raise Failed("Row 7 has <b>no</b> answer.", "Correct row 7.")
        if reporter.stopping:
            print("checkpoint saved", flush=True)
            raise Stopped
    return {"model": name or "tuned", "path": "/nowhere", "steps": total}


def generate(arguments: dict[str, Any], name: str, reporter: EventReporter) -> dict[str, Any]:
    reporter.phase("generating")
    variable = (arguments.get("teacher") or {}).get("api_key_env", "ILAB_TEACHER_API_KEY")
    print(f"key in {variable}: {len(os.environ.get(variable, ''))} letters", flush=True)
    dataset = paths.datasets_dir() / (name or "made")
    dataset.mkdir(parents=True)
    row = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Orlin."}]}
    (dataset / "skills_train_msgs_x.jsonl").write_text(json.dumps(row) + "\n")
    return {"dataset": dataset.name, "path": str(dataset), "files": ["skills_train_msgs_x.jsonl"], "rows": 1}


def play(spec: dict[str, Any], folder: Path, attempt: int) -> int:
    """Run the job of `spec` and return the exit code."""
    reporter = EventReporter(folder / "events.jsonl", attempt)
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop())
    arguments, name = spec["arguments"], spec["name"]
    print(f"worker of {spec['kind']}, attempt {attempt}", flush=True)
    try:
        if arguments.get("model") == "broken":
            raise Failed("The model folder holds no weights.", "Choose another model.")
        if spec["kind"] == "train":
            result = train(arguments, name, reporter, attempt)
        elif spec["kind"] == "generate":
            result = generate(arguments, name, reporter)
        else:
            import chat_server

            model = arguments.get("name") or name or Path(arguments["model"]).name
            chat_server.serve(folder, reporter, model)
            raise Stopped
    except Failed as failure:
        message, hint = failure.args
        reporter.write_final("error", cause="bad_data", message=message, hint=hint)
        return 1
    except Stopped:
        return 128 + signal.SIGTERM
    reporter.write_final("result", result=result)
    sys.stdout.flush()
    return 0

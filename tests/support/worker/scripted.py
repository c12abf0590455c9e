"""The worker of tests: a real process of the job engine, without a model, that follows a script.

It is started as the engine starts any worker, with the job's folder and the attempt as its arguments: as
`worker_module="scripted"` with `PYTHONPATH=tests/support/worker`, or by `make_interpreter`. Its script is,
in the order in which they are looked for:

- `{"do": [[step, argument, ...], ...]}` in the job's arguments; a list of such lists has one per attempt.
  The steps are the functions below, by their names in STEPS.
- text, for clients whose `data` are strings: `["print:hello", "step:1/2", "sleep:0.3", "fail:No yeast."]`.
  `step:n/total` reports progress with loss 1/n, `lines:n` prints `line 0` and so on, `now:` prints the time,
  `repeat:n text` prints the text n times in one line, `bytes:c3a4` writes these bytes, `wait_for:path` waits
  for a file, `mark:text` appends a line to `artifacts/marks`, `first:s` sleeps in the first attempt only,
  `fail:message` ends the job with this error, `fail_first:message` in the first attempt only.
- else a scenario by the job's kind and name, for magics, widgets and the panel: see scenarios.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.logs.events import EventWriter

folder, attempt = Path(sys.argv[1]), int(sys.argv[2])
events = EventWriter(folder / "events.jsonl", attempt=attempt)


def write(path: str, text: str) -> None:
    """Append in one write, so that a second writer is detected."""
    with open(path, "a") as file:
        file.write(text)


def wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.02)


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def save_on_term(path: str) -> None:
    """Write `saved` to the file and exit with 143 once SIGTERM comes."""

    def save(*_: object) -> None:
        Path(path).write_text("saved")
        os._exit(143)

    signal.signal(signal.SIGTERM, save)


def child(path: str) -> None:
    """Fork a child that stays in the worker's process group and writes its pid to the file."""
    if os.fork() == 0:
        Path(path).write_text(str(os.getpid()))
        time.sleep(120)
        os._exit(0)


def daemon(path: str) -> None:
    """Fork a grandchild that tries to escape: own session, other parent, ignores SIGTERM, no environment."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            code = f"import os, signal, time; signal.signal(15, signal.SIG_IGN); open({path!r}, 'w')"
            code += ".write(str(os.getpid())); time.sleep(120)"
            os.execve(sys.executable, [sys.executable, "-S", "-c", code], {})
        os._exit(0)
    wait_for(path)


def event(type: str, fields: dict[str, Any]) -> None:
    events.write(type, **fields)


def show_env(*names: str) -> None:
    print(json.dumps({name: os.environ.get(name) for name in names}))


def lines(count: int) -> None:
    """Print `line 0` and so on, a thousand lines in one write."""
    for first in range(0, count, 1000):
        last = min(first + 1000, count)
        sys.stdout.write("".join(f"line {number}\n" for number in range(first, last)))


def repeat(count: int, text: str) -> None:
    """Print the text so often in one line."""
    print(text * count)


def print_bytes(digits: str) -> None:
    """Write bytes that need not be text, given as hexadecimal digits."""
    sys.stdout.buffer.write(bytes.fromhex(digits))
    sys.stdout.buffer.flush()


def run(*command: str) -> None:
    """Run another program, as a launcher of ranks does, and exit with its code."""
    sys.exit(subprocess.call(command))


def save_checkpoints(folder: str, count: int, size: int) -> None:
    """Write `count` checkpoints of `size` bytes in the real worker's shell: see saving.py."""
    from saving import main

    main()


def on_gpu(how: str, count: int, path: str) -> None:
    """Train on the GPU in the real worker's shell: see on_gpu.py."""
    from on_gpu import main

    main()


def serve_until_preempted() -> None:
    """End like an idle deployment once a waiting job needs its resources."""
    wait_for(str(folder / "release.json"))
    events.write("error", cause="preempted", message="It was preempted.", hint="It will be restarted.")
    sys.exit(1)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def step(number: int, total: int) -> None:
    events.write("progress", step=number, total=total, loss=1.0 / number)


def print_time() -> None:
    print(f"{time.time():.6f}", flush=True)


def fail(message: str) -> None:
    events.write("error", cause="requested", message=message, hint="Change the script.")
    sys.exit(1)


STEPS: dict[str, Callable[..., Any]] = {
    **{"print": print, "sleep": time.sleep, "write": write, "wait_for": wait_for, "exit": sys.exit},
    **{"die": die, "ignore_term": ignore_term, "save_on_term": save_on_term, "child": child},
    **{"daemon": daemon, "event": event, "show_env": show_env, "lines": lines, "run": run},
    **{"save_checkpoints": save_checkpoints, "on_gpu": on_gpu, "step": step, "fail": fail},
    **{"serve_until_preempted": serve_until_preempted, "now": print_time, "bytes": print_bytes},
    **{"repeat": repeat},
}
# What a textual step's part after the colon means: the name and the arguments of the step.
TEXT: dict[str, Callable[[str], list[Any]]] = {
    "print": lambda text: ["print", text],
    "now": lambda text: ["now"],
    "bytes": lambda text: ["bytes", text],
    "repeat": lambda text: ["repeat", int(text.partition(" ")[0]), text.partition(" ")[2]],
    "wait_for": lambda text: ["wait_for", text],
    "lines": lambda text: ["lines", int(text)],
    "step": lambda text: ["step", *map(int, text.split("/"))],
    "sleep": lambda text: ["sleep", float(text)],
    "mark": lambda text: ["write", str(folder / "artifacts" / "marks"), f"{text}\n"],
    "first": lambda text: ["sleep", float(text) if attempt == 1 else 0],
    "fail": lambda text: ["fail", text],
    "fail_first": lambda text: ["fail", text] if attempt == 1 else ["sleep", 0],
}


def parse(data: list[str]) -> list[list[Any]] | None:
    """Return the steps of a textual script, or None if an item is not a step."""
    steps = []
    for item in data:
        name, colon, rest = item.partition(":")
        if not colon or name not in TEXT:
            return None
        steps.append(TEXT[name](rest))
    return steps


def script(arguments: dict[str, Any]) -> list[list[Any]] | None:
    """Return the steps of this attempt; None if the job is a scenario."""
    if "do" not in arguments:
        return parse(arguments["data"]) if arguments.get("data") else None
    steps: list[list[Any]] = arguments["do"]
    return steps[attempt - 1] if steps and isinstance(steps[0][0], list) else steps


def main() -> int:
    spec = json.loads((folder / "spec.json").read_text())
    steps = script(spec["arguments"])
    if steps is None:
        from scenarios import play

        return play(spec, folder, attempt)
    # A log is read while the job runs.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for name, *arguments in steps:
        STEPS[name](*arguments)
    if not any(name == "event" and arguments[0] == "result" for name, *arguments in steps):
        events.write("result", result={"done": len(steps)})
    return 0


if __name__ == "__main__":
    sys.exit(main())

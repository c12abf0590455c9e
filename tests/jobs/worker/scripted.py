"""A worker that does what its arguments say, in order: `{"do": [["print", "text"], ["sleep", 1], ...]}`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.logs.events import EventWriter

folder, attempt = Path(sys.argv[1]), int(sys.argv[2])
events = EventWriter(folder / "events.jsonl", attempt=attempt)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def write(path: str, text: str) -> None:
    """One append, so that two writers would both show."""
    with open(path, "a") as file:
        file.write(text)


def wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.02)


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def save_when_told(path: str) -> None:
    def save(*_: object) -> None:
        Path(path).write_text("saved")
        os._exit(143)

    signal.signal(signal.SIGTERM, save)


def child(path: str) -> None:
    """A child in the worker's own group."""
    if os.fork() == 0:
        _linger(path)


def daemon(path: str) -> None:
    """A grandchild that tries to escape: own session, other parent, deaf to TERM, no environment."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            code = f"import os, signal, time; signal.signal(15, signal.SIG_IGN); open({path!r}, 'w')"
            code += ".write(str(os.getpid())); time.sleep(120)"
            os.execve(sys.executable, [sys.executable, "-S", "-c", code], {})
        os._exit(0)
    wait_for(path)


def _linger(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)
    os._exit(0)


def event(type: str, fields: dict[str, Any]) -> None:
    events.write(type, **fields)


def show_env(*names: str) -> None:
    print(json.dumps({name: os.environ.get(name) for name in names}))


def numbered(count: int) -> None:
    for number in range(count):
        print(f"line {number}")


def run(*command: str) -> None:
    """Another program, as a launcher of ranks is; its exit code becomes ours."""
    sys.exit(subprocess.call(command))


def saves(folder: str, count: int, size: int) -> None:
    from saving import main

    main()


def serve_until_asked() -> None:
    """As an idle deployment does: make room once a waiting job needs it."""
    wait_for(str(folder / "release.json"))
    events.write("error", cause="preempted", message="It made room.", next_step="It comes back.")
    sys.exit(1)


def on_gpu(how: str, count: int, about: str) -> None:
    from on_gpu import main

    main()


def die(number: int) -> None:
    os.kill(os.getpid(), number)


STEPS = {
    **{"print": print, "sleep": sleep, "write": write, "wait_for": wait_for, "exit": sys.exit, "die": die},
    **{"ignore_term": ignore_term, "save_when_told": save_when_told, "child": child, "daemon": daemon},
    **{"event": event, "show_env": show_env, "numbered": numbered, "run": run, "saves": saves},
    **{"on_gpu": on_gpu},
    **{"serve_until_asked": serve_until_asked},
}

steps = json.loads((folder / "spec.json").read_text())["arguments"]["do"]
now = steps[attempt - 1] if steps and isinstance(steps[0][0], list) else steps
for name, *arguments in now:
    STEPS[name](*arguments)
if not any(name == "event" and arguments[0] == "result" for name, *arguments in now):
    events.write("result", result={})

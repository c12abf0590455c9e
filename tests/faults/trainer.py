"""A fake trainer that records what it did, for the checker.

Called like an interpreter of jobs, with the job's folder and the attempt as its last arguments. The job's
arguments: `world` (the folder for its records), `seconds`, `exit` (its exit code; negative for a signal), and
`save_seconds` (how long it takes to save on SIGTERM).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.jobs.logs.events import EventWriter


def main() -> None:
    folder, attempt = Path(sys.argv[-2]), int(sys.argv[-1])
    given = json.loads(json.loads((folder / "spec.json").read_text())["arguments"]["data"][0])
    # A list of arguments has one entry per attempt.
    given |= given["attempts"][min(attempt, len(given["attempts"])) - 1] if "attempts" in given else {}
    world = Path(given["world"])
    nonce = os.urandom(8).hex()
    lock = os.open(world / f"{folder.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False

    def record(what: str, **fields: Any) -> None:
        line = {"what": what, "job": folder.name, "attempt": attempt, "nonce": nonce, "pid": os.getpid()}
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        descriptor = os.open(world / "workers.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, json.dumps({**line, "at": at, **fields}).encode() + b"\n")
        os.close(descriptor)

    def terminated(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(given.get("save_seconds", 0))
        record("end", exit=143, terminated=True)
        os._exit(143)

    signal.signal(signal.SIGTERM, terminated)
    record("start", alone=alone)
    print(f"attempt {attempt} {nonce}", flush=True)
    time.sleep(given["seconds"])
    # From here on SIGTERM comes too late.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = given.get("exit", 0)
    if code == 0:
        events = EventWriter(folder / "events.jsonl", attempt=attempt)
        events.write("result", result={"nonce": nonce})
        events.sync()
        events.close()
    record("end", exit=code, terminated=False)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()

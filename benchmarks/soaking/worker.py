"""A job of the soak: says that it ran, does what its data say, and has a result. Needs no library."""

import json
import os
import signal
import sys
import time
from pathlib import Path

folder, attempt = Path(sys.argv[1]), int(sys.argv[2])
what, seconds, ran = json.loads((folder / "spec.json").read_bytes())["arguments"]["data"]
with Path(ran).open("a") as file:  # one append: two workers of one attempt would both show
    file.write(f"{folder.name} {attempt}\n")
if what == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
for number in range(2000 if what == "loud" else 3):
    print(f"line {number}", flush=True)
time.sleep(float(seconds))
if what == "failing":
    sys.exit(3)
line = {"seq": 1, "time": "2026-01-01T00:00:00+00:00", "type": "result", "attempt": attempt, "result": {}}
with (folder / "events.jsonl").open("a") as file:
    file.write(json.dumps(line) + "\n")

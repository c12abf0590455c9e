"""A job's worker that does next to nothing: prints a line, sleeps as long as its data says, and has a result.

Started without any library, so that what is measured around it is the control plane.
"""

import json
import sys
import time
from pathlib import Path

folder, attempt = Path(sys.argv[1]), int(sys.argv[2])
print("first line", flush=True)
arguments = json.loads((folder / "spec.json").read_bytes())["arguments"]
time.sleep(float(arguments["data"][0]))
line = {"seq": 1, "time": "2026-01-01T00:00:00+00:00", "type": "result", "attempt": attempt, "result": {}}
with (folder / "events.jsonl").open("a") as file:
    file.write(json.dumps(line) + "\n")

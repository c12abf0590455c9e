"""How much importing the extension adds to jupyter_server's own import, and loading it to a server's start.

Each round starts three fresh interpreters in turn: one that imports jupyter_server alone, one with the
extension, one with everything that loading it imports. `import_adds_ms` and `load_adds_ms` are timed inside
such a process, after jupyter_server's import, so the noise of that long import is not in them; `ratio`
compares the whole processes. Prints one JSON line; exit status 1 where the median of `import_adds_ms` is
above 60 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

LIMIT_MS = 60.0

BASE = "import jupyter_server.serverapp"
SIDES = {
    "base": "pass",
    "extension": "import ilab_jupyter.server.app",
    # Besides, a server that loads the extension makes its settings; its routes come with the first request.
    "load": "import ilab_jupyter.server.app, ilab_jupyter.server.monitor, ilab_jupyter.server.lazy_routes",
}
TIMED = """
from time import perf_counter as now
start = now()
{base}
middle = now()
{then}
print((middle - start) * 1000, (now() - middle) * 1000)
"""


def milliseconds(then: str) -> tuple[float, float]:
    """(jupyter_server's import, `then` after it) in a new interpreter, without its own start."""
    script = TIMED.format(base=BASE, then=then)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    base, added = map(float, done.stdout.split())
    return base, added


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    for then in SIDES.values():  # compiles what is not compiled yet, and warms the disk cache
        milliseconds(then)
    taken = [{side: milliseconds(then) for side, then in SIDES.items()} for _ in range(rounds)]
    whole = {side: statistics.median(sum(one[side]) for one in taken) for side in SIDES}
    added = {side: statistics.median(one[side][1] for one in taken) for side in SIDES}
    print(
        json.dumps(
            {
                "benchmark": "extension_import",
                "rounds": rounds,
                "jupyter_server_ms": round(whole["base"], 1),
                "import_adds_ms": round(added["extension"], 1),
                "load_adds_ms": round(added["load"], 1),
                "ratio": round(whole["extension"] / whole["base"], 3),
                "limit_ms": LIMIT_MS,
            }
        )
    )
    return 0 if added["extension"] <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())

"""How much importing the extension adds to jupyter_server's own import, and loading it to a server's start.

Each measurement is a fresh interpreter; the two sides alternate, so that what else the machine does hits both.
Prints one JSON line; exit status 1 where the median of what the import adds is above 60 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

LIMIT_MS = 60.0

BASE = "import jupyter_server.serverapp"
EXTENSION = f"{BASE}; import ilab_jupyter.server.app"
# What a server does with an extension besides: settings and handlers. Its parts are imported here.
LOAD = (
    f"{EXTENSION}; import ilab_jupyter.server.services, ilab_jupyter.server.pulse, ilab_jupyter.server.routes"
)

TIMED = "import time; start = time.perf_counter(); {}; print((time.perf_counter() - start) * 1000)"


def milliseconds(statement: str) -> float:
    """How long `statement` takes in a new interpreter, without the interpreter's own start."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    sides = {"base": BASE, "extension": EXTENSION, "load": LOAD}
    for statement in sides.values():  # compiles what is not compiled yet, and warms the disk cache
        milliseconds(statement)
    taken = [{name: milliseconds(statement) for name, statement in sides.items()} for _ in range(rounds)]
    base = statistics.median(one["base"] for one in taken)
    added = statistics.median(one["extension"] - one["base"] for one in taken)
    loaded = statistics.median(one["load"] - one["base"] for one in taken)
    print(
        json.dumps(
            {
                "benchmark": "extension_import",
                "rounds": rounds,
                "jupyter_server_ms": round(base, 1),
                "import_adds_ms": round(added, 1),
                "load_adds_ms": round(loaded, 1),
                "ratio": round((base + added) / base, 3),
                "limit_ms": LIMIT_MS,
            }
        )
    )
    return 0 if added <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())

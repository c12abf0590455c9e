"""How fast rows are generated, beside instructlab-sdg in the same run: as it comes (10 threads, batches of 8)
and with 64 threads.

The teacher is a server on this machine with the latency of a GPU that decodes a batch (generating/teacher.py
says how). The samples are of four leaves, which instructlab-sdg takes one after the other. The pipeline is
its `full` one for freeform skills, four questions deep, three rows of each sample. Writes
results/generation.json; exit status 1 where a limit is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import urllib.request
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from generating import teacher

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "generation.json"
SIZES = (80, 400, 1600)
SIDES = (("ours", 256), ("instructlab-sdg", 10), ("instructlab-sdg", 64))
AT_LEAST = 2.0
# flat: a tenth more memory for four times the rows, which is the table of known answers
FLAT = 1.1


def measured(url: str, who: str, workers: int, rows: int) -> dict[str, Any]:
    """Figures of one generation in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, str(HERE / "generating" / "worker.py"), who, "--url", url),
            *("--rows", str(rows), "--workers", str(workers), "--folder", folder),
        ]
        _figures(url)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{who} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    gpu = _figures(url)
    row = {
        "who": who,
        "workers": workers,
        "rows": rows,
        "made": figures["made"],
        "seconds": round(figures["seconds"], 2),
        "rows_per_s": round(rows / figures["seconds"], 3),
        "teacher_busy": round(gpu["busy_s"] / figures["seconds"], 3),
        "tokens_per_s": round(gpu["tokens"] / figures["seconds"]),
        "cpu_s": round(figures["cpu_s"], 2),
        "peak_mib": round(figures["peak_mib"]),
        "grown_mib": round(figures["grown_mib"], 1),
    }
    print(
        f"{who:<16} {workers:>4} {rows:>5} rows {row['seconds']:>8.1f} s {row['rows_per_s']:>8.2f} rows/s"
        f" {row['peak_mib']:>6} MiB (+{row['grown_mib']:g})",
        flush=True,
    )
    return row


def _figures(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/figures") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    load = os.getloadavg()
    command = [sys.executable, str(HERE / "generating" / "teacher.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            rows = [measured(url, who, workers, size) for size in given.sizes for who, workers in SIDES]
        finally:
            server.terminate()
    checks = _checks(rows, given.sizes)
    for check in checks:
        print(f"{check['what']:<62} {check['figure']:>7g} {check['limit']:>6g}  {check['met']}")
    given.output.write_text(json.dumps(_report(rows, checks, load), indent=1) + "\n")
    return 0 if all(check["met"] for check in checks) else 1


def _checks(rows: list[dict[str, Any]], sizes: list[int]) -> list[dict[str, Any]]:
    found = {(row["who"], row["workers"], row["rows"]): row for row in rows}
    checks = []
    for size in sizes:
        ours = found["ours", 256, size]
        for workers, limit in ((10, AT_LEAST), (64, 1.0)):
            theirs = found["instructlab-sdg", workers, size]
            assert ours["made"] == theirs["made"] > 0, "both have the same rows"
            ratio = round(ours["rows_per_s"] / theirs["rows_per_s"], 2)
            what = f"{size} rows: times as fast as instructlab-sdg with {workers} threads"
            checks.append({"what": what, "figure": ratio, "limit": limit, "met": ratio >= limit})
    if {400, 1600} <= set(sizes):
        ratio = round(found["ours", 256, 1600]["peak_mib"] / found["ours", 256, 400]["peak_mib"], 3)
        what = "peak memory with 1,600 rows, as a multiple of that with 400"
        checks.append({"what": what, "figure": ratio, "limit": FLAT, "met": ratio <= FLAT})
    return checks


def _report(
    rows: list[dict[str, Any]], checks: list[dict[str, Any]], load: tuple[float, ...]
) -> dict[str, Any]:
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    names = ("instructlab-sdg", "datasets", "openai", "httpx", "tornado")
    return {
        "benchmark": "generation",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processors": os.cpu_count(),
            "processor": cpu.partition(":")[2].strip(),
            "system": platform.platform(),
            "load before": [round(value, 2) for value in load],
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "peer": "instructlab-sdg",
        "teacher": {
            "slots": teacher.SLOTS,
            "step_s": teacher.STEP,
            "step_each_s": teacher.STEP_EACH,
            "mean_tokens": {kind: mean for _, mean, kind in teacher.KINDS},
        },
        "checks": checks,
        "rows": rows,
    }


if __name__ == "__main__":
    sys.exit(main())

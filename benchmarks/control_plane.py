"""How fast the control plane is, on a real Jupyter server, beside jupyter-scheduler in the same run.

Each row of the table is a figure, its limit where one was promised, and the peer's figure where the peer can
do the same work. `--peer-python` names an interpreter that has jupyter-scheduler; `make bench` makes one.
Without it the peer's column is empty. Writes results/control_plane.json; exit status 1 where a limit is not
met.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from control import ours, peer
from control.server import Server

RESULTS = Path(__file__).parent / "results" / "control_plane.json"
RATE = 50.0
CLIENTS = 50
JOBS = 100_000


class Table:
    """The rows so far."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        what: str,
        figure: float,
        unit: str,
        *,
        limit: float | None = None,
        at_least: bool = False,
        peer: float | None = None,
        note: str = "",
        **more: Any,
    ) -> None:
        """A row; `met` is None without a limit. `ratio` is how many times better than the peer."""
        met = None if limit is None else (figure >= limit if at_least else figure <= limit)
        better = None
        if peer is not None and figure > 0 and peer > 0:
            better = figure / peer if at_least else peer / figure
        row = {
            "what": what, "figure": round(figure, 3), "unit": unit, "limit": limit, "at_least": at_least,
            "met": met,
            "peer": None if peer is None else round(peer, 3),
            "ratio": None if better is None else round(better, 1),
            "note": note, **more,
        }  # fmt: skip
        self.rows.append(row)
        print(_line(row), flush=True)


def _line(row: dict[str, Any]) -> str:
    met = {True: "met", False: "NOT MET", None: ""}[row["met"]]
    limit = "" if row["limit"] is None else f"{row['limit']:g}"
    times = "" if row["ratio"] is None else f" (x{row['ratio']:g})"
    other = "" if row["peer"] is None else f"{row['peer']:g}{times}"
    unit = row["unit"]
    return f"{row['what']:<58} {row['figure']:>10g} {unit:<8} {limit:>8} {met:<8} {other:<22} {row['note']}"


def p99(values: list[float]) -> float:
    """The smallest value that 99 % of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


def spread(values: list[float]) -> dict[str, float]:
    """Further statistics of a sample."""
    ordered = sorted(values)
    return {
        "n": len(values),
        "min": round(ordered[0], 3),
        "p50": round(statistics.median(ordered), 3),
        "p90": round(ordered[int(len(ordered) * 0.9)], 3),
        "p99": round(p99(ordered), 3),
        "max": round(ordered[-1], 3),
    }


def idle(table: Table, seconds: float, peer_python: Path | None) -> None:
    """Idle cost of the extension: servers with and without it side by side, no client."""
    servers = {"plain": Server(None), "ours": Server("ilab_jupyter")}
    if peer_python is not None:
        servers["its plain"] = Server(None, python=str(peer_python), scripted=False)
        servers["its own"] = peer.start(peer_python)
    time.sleep(10)
    before = {name: server.cpu_seconds for name, server in servers.items()}
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    cpu = {name: (server.cpu_seconds - before[name]) / passed * 100 for name, server in servers.items()}
    memory = {name: server.megabytes for name, server in servers.items()}
    resident = {name: server.resident for name, server in servers.items()}
    for server in servers.values():
        server.stop()
    theirs = peer_python is not None
    table.add(
        "idle extension: processor over plain jupyter_server", cpu["ours"] - cpu["plain"], "%", limit=0.3,
        peer=cpu["its own"] - cpu["its plain"] if theirs else None, all=cpu, seconds=round(passed, 1),
        note=f"{seconds:g} s; a clock tick is {100 / seconds / os.sysconf('SC_CLK_TCK'):.3f} %",
    )  # fmt: skip
    table.add(
        "idle extension: memory over plain jupyter_server", memory["ours"] - memory["plain"], "MB", limit=15,
        peer=memory["its own"] - memory["its plain"] if theirs else None, all=memory, resident=resident,
        note=f"resident: {resident['ours'] - resident['plain']:+.1f}",
    )  # fmt: skip


def idle_again(table: Table, seconds: float) -> None:
    """Idle cost of a server after its last job, with everything loaded."""
    servers = {"plain": Server(None), "ours": Server("ilab_jupyter")}
    asyncio.run(ours.first_lines(servers["ours"].port, 3, ours.job(0)))
    time.sleep(15)
    before = {name: server.cpu_seconds for name, server in servers.items()}
    time.sleep(seconds)
    cpu = {name: (server.cpu_seconds - before[name]) / seconds * 100 for name, server in servers.items()}
    memory = servers["ours"].megabytes - servers["plain"].megabytes
    for server in servers.values():
        server.stop()
    note = f"after three jobs; it stays loaded: {memory:+.0f} MB"
    table.add(
        "idle again: processor over plain jupyter_server",
        cpu["ours"] - cpu["plain"],
        "%",
        limit=0.3,
        note=note,
    )


def submitting(table: Table, seconds: float, each: int, runs: int, peer_times: list[float] | None) -> None:
    """POST to id: `runs` open loops, the median of their p50 and p99 counts; then a closed loop."""
    samples = []
    for _ in range(runs):
        server = Server("ilab_jupyter")
        try:
            samples.append(asyncio.run(ours.open_loop(server.port, CLIENTS, RATE, seconds)))
        finally:
            server.stop()
    note = f"open loop, {RATE:g}/s together for {seconds:g} s, {runs} runs"
    each_run = [spread(sample) for sample in samples]
    middle = statistics.median(run["p50"] for run in each_run)
    high = statistics.median(run["p99"] for run in each_run)
    table.add("submit to id, 50 clients: p50", middle, "ms", limit=5, note=note, runs=each_run)
    table.add("submit to id, 50 clients: p99", high, "ms", limit=30, note=note)
    server = Server("ilab_jupyter")
    try:
        alone, _ = asyncio.run(ours.closed_loop(server.port, 1, 100))
        crowd, rate = asyncio.run(ours.closed_loop(server.port, CLIENTS, each))
    finally:
        server.stop()
    table.add(
        "submit to id, one client after another: p50", statistics.median(alone), "ms",
        peer=statistics.median(peer_times) if peer_times else None, note="closed loop", **spread(alone),
    )  # fmt: skip
    note = "50 clients that never pause: mostly waiting in line"
    table.add("submit to id, saturated: p50", statistics.median(crowd), "ms", note=note, **spread(crowd))
    table.add("submissions a second, saturated", rate, "1/s", note="one Jupyter server process")


def first_line(table: Table, count: int, peer_done: list[float] | None) -> None:
    """Submit to the first log line: the scripted worker, and what really generates and trains."""
    bodies: dict[str, tuple[bool, dict[str, Any]]] = {
        "scripted worker": (True, ours.job(0)),
        "generate": (False, {"kind": "generate", "arguments": {"taxonomy_path": "no-such-taxonomy"}}),
        "train": (False, {"kind": "train", "arguments": {"data": ["no-such-data"]}}),
    }
    for name, (scripted, body) in bodies.items():
        server = Server("ilab_jupyter", scripted=scripted)
        try:
            taken = asyncio.run(ours.first_lines(server.port, count, body))
        finally:
            server.stop()
        other = statistics.median(peer_done) if peer_done and name == "scripted worker" else None
        first = f"n={count}; of a server's first job, which loads everything, {taken[0]:.2f}"
        why = "peer: until its output is there, it has no live log" if other else ""
        table.add(
            f"submit to first log line, {name}: p50", statistics.median(taken), "s", limit=1.0, peer=other,
            note=why, **spread(taken),
        )  # fmt: skip
        table.add(f"submit to first log line, {name}: p99", p99(taken), "s", limit=1.0, note=first)


def listing(table: Table, count: int, peer_list: list[float] | None) -> None:
    """The first page of a list of 100,000 jobs."""
    server = Server("ilab_jupyter", options=("--IlabApp.slots={'batch': 1}",))
    try:
        asyncio.run(_one(server.port))
        for waiting in (0, 1000):
            ours.fill(server, JOBS - waiting if waiting == 0 else 0, waiting)
            taken = asyncio.run(ours.lists(server.port, count, JOBS))
            kind = f"{waiting} waiting" if waiting else "none waiting"
            for name, sample in taken.items():
                limit = 10.0 if name == "first page" or "state" in name or "kind" in name else None
                other = (
                    statistics.median(peer_list)
                    if peer_list and name == "first page" and not waiting
                    else None
                )
                table.add(
                    f"list of {JOBS:,} jobs, {kind}, {name}: p50", statistics.median(sample), "ms",
                    limit=limit, peer=other, note=f"p99 {p99(sample):.1f}", **spread(sample),
                )  # fmt: skip
            sample = ours.service_list(server.state, count)
            table.add(
                f"list of {JOBS:,} jobs, {kind}, at the service: p50", statistics.median(sample), "ms",
                limit=10, note=f"p99 {p99(sample):.1f}", **spread(sample),
            )  # fmt: skip
    finally:
        server.stop()


async def _one(port: int) -> None:
    client = ours.Client(port)
    await ours.submit(client, ours.job(3600))
    await client.call("GET", "ilab/api/jobs")
    client.close()


def streaming(table: Table, quick: bool) -> None:
    """The rows of log_streaming.py. The peer's output can be read only when its job has ended."""
    import log_streaming

    found = log_streaming.run(quick)
    latency, stalled, large = found["latency_ms"], found["stalled_readers"], found["large_log"]
    polling = f"reading the whole log each second: {latency['polling']['p99']} ms"
    table.add("log line to client: p99", latency["p99"], "ms", limit=50, note=polling, streaming=found)
    for clients, least in (("1_client", 100_000), ("each_of_20_clients", 20_000)):
        name = clients.replace("_", " ")
        table.add(
            f"log lines a second, {name}", found[f"lines_per_s_{clients}"], "1/s", limit=least, at_least=True
        )
    note = "its time with them / without"
    table.add("a worker with 200 stalled readers", stalled["ratio"], "", limit=1.02, note=note)
    grown = large["stalled_readers_200_rss_grew_mb"]
    table.add("server's growth with 200 stalled readers of a large log", grown, "MB", limit=50)
    note = f"of a log of {large['log_mb']} MB; all of it takes {large['reading_it_whole_ms']} ms"
    table.add("the last 64 KiB of a large log: p50", large["last_64_kib_ms"]["p50"], "ms", note=note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer-python",
        type=Path,
        default=os.environ.get("PEER_PYTHON"),
        help="an interpreter that has jupyter-scheduler; $PEER_PYTHON where not given",
    )
    parser.add_argument("--quick", action="store_true", help="short runs, to check that it works")
    parser.add_argument("--only", action="append", choices=["idle", "submit", "first", "list", "stream"])
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    quick = given.quick
    wanted = given.only or ["idle", "submit", "first", "list", "stream"]
    table = Table()
    load = os.getloadavg()
    print(f"{'':<58} {'figure':>10} {'':<8} {'limit':>8} {'':<8} {'jupyter-scheduler':<22}")
    if "idle" in wanted:
        idle(table, 15 if quick else 120, given.peer_python)
        idle_again(table, 15 if quick else 120)
    peer_submit = peer_done = peer_list = None
    if given.peer_python is not None and {"submit", "first", "list"} & set(wanted):
        server = peer.start(given.peer_python)
        try:
            peer_submit, peer_done = asyncio.run(peer.submissions(server.port, 3 if quick else 20))
            if "list" in wanted:
                peer.fill(server, JOBS)
                peer_list = asyncio.run(peer.lists(server.port, 5 if quick else 30))
        finally:
            server.stop()
    if "submit" in wanted:
        submitting(table, 5 if quick else 30, 10 if quick else 40, 1 if quick else 3, peer_submit)
    if "first" in wanted:
        first_line(table, 3 if quick else 20, peer_done)
    if "list" in wanted:
        listing(table, 20 if quick else 200, peer_list)
    if "stream" in wanted:
        streaming(table, quick)
    given.output.parent.mkdir(exist_ok=True)
    given.output.write_text(json.dumps(_report(table, given.peer_python, quick, load), indent=1) + "\n")
    return 0 if all(row["met"] is not False for row in table.rows) else 1


def _additions() -> float:
    began, total = time.perf_counter(), 0
    for number in range(10_000_000):
        total += number
    return time.perf_counter() - began


def _report(table: Table, peer_python: Path | None, quick: bool, load: tuple[float, ...]) -> dict[str, Any]:
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    names = ("jupyter-server", "sqlalchemy", "tornado", "pydantic")
    return {
        "benchmark": "control_plane",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "machine": {
            "processors": os.cpu_count(),
            "processor": cpu.partition(":")[2].strip(),
            # Machines of one type differ by a factor of three: a reference for figures in milliseconds.
            "seconds for ten million additions": round(min(_additions() for _ in range(3)), 3),
            "system": platform.platform(),
            "load before": [round(value, 2) for value in load],
            # Other than 0 if the benchmark had a different priority than other processes.
            "scheduling policy": os.sched_getscheduler(0),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in names},
            **(peer.versions(peer_python) if peer_python is not None else {}),
        },
        "peer": "jupyter-scheduler",
        "rows": table.rows,
    }


if __name__ == "__main__":
    sys.exit(main())

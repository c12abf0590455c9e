"""Hours of jobs and faults on two real Jupyter servers that share a queue; what leaks, lags, is lost or lies.

One server is killed again and again, the other one lives on and is measured. Supervisors are killed, workers
are deaf, and where disks may be mounted that of the state folder is full now and then. The last line has the
figures; exit status 1 where a limit is broken. `make soak DURATION=259200` is three days.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from control.ours import fill
from soaking.server import ROOT, Server

sys.path.insert(0, str(ROOT))
from ilab_jupyter.jobs.attempt.process import with_argument, with_token
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.store.rows import Store

RESULTS = Path(__file__).parent / "results" / "soak.json"
KINDS = {"quick": 5, "loud": 2, "failing": 2, "deaf": 1}
SLOTS, MOST_WAITING = 3, 12
P99_LIMIT = 100.0  # milliseconds, of the first page with all the rows
GROWTH = {"descriptors": 4.0, "threads": 4.0, "megabytes": 16.0}


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path, disk: bool) -> None:
        self.options = options
        self.disk = disk
        self.state = folder / "state"
        self.ran = folder / "ran"
        self.chance = random.Random(options.seed)
        self.steady = Server(folder / "steady", self.state, SLOTS)
        self.victim = Server(folder / "victim", self.state, SLOTS)
        self.accepted: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.touched: set[str] = set()
        self.samples: list[tuple[float, int, int, float]] = []
        self.lists: list[float] = []
        self.plain: list[float] = []
        self.full: list[tuple[float, float]] = []

    def run(self) -> dict[str, Any]:
        """Inject faults until the time is up, let all jobs end, then check them."""
        self.steady.start()
        self._submit(self.steady, "quick")
        self._until_ended(60)
        fill(SimpleNamespace(state=self.state), self.options.rows, 0)
        self.victim.start()
        began = time.monotonic()
        upcoming = began + 10
        sampled = looked = 0.0
        while (now := time.monotonic()) - began < self.options.duration and (
            len(self.accepted) < self.options.jobs
        ):
            if self._waiting() < MOST_WAITING:
                self._submit(self.chance.choice((self.steady, self.victim)), *self._kind())
            if now - looked >= 0.5:
                looked = now
                self._list()
            if now - sampled >= 2:
                sampled = now
                self.samples.append((now - began, *self.steady.holds))
            if now >= upcoming:
                upcoming = now + self.chance.uniform(4, 12)
                self.chance.choice(self._faults())()
            time.sleep(self.chance.uniform(0.05, 0.4))
        seconds = time.monotonic() - began
        self._until_ended(180)
        return {**self._verdict(), "seconds": round(seconds)}

    def _kind(self) -> tuple[str]:
        return (self.chance.choices(list(KINDS), list(KINDS.values()))[0],)

    def _submit(self, server: Server, what: str) -> None:
        seconds = 30 if what == "deaf" else self.chance.uniform(0, 0.6)
        body = {"kind": "train", "arguments": {"data": [what, str(seconds), str(self.ran)]}}
        try:
            answer = server.http.post("ilab/api/jobs", json=body)
        except httpx.HTTPError:
            self.counts["unanswered"] += 1
            return
        if answer.status_code == 202:
            self.accepted[answer.json()["id"]] = what
            self.counts["jobs"] += 1
        elif answer.status_code == 503 and answer.json().get("hint"):
            self.counts["refused"] += 1
        else:
            raise RuntimeError(f"{answer.status_code}: {answer.text[:500]}")

    def _list(self) -> None:
        """Time of the first page, and of the smallest response of the same server."""
        answer, taken = self._timed("ilab/api/jobs?limit=50")
        if answer.status_code != 200 or len(answer.json()["jobs"]) != 50:
            raise RuntimeError(f"the list: {answer.status_code}: {answer.text[:500]}")
        self.lists.append(taken)
        self.plain.append(self._timed("api")[1])

    def _timed(self, path: str) -> tuple[httpx.Response, float]:
        began = time.perf_counter()
        answer = self.steady.http.get(path)
        return answer, (time.perf_counter() - began) * 1000

    def _live(self, *states: str) -> list[dict[str, Any]]:
        query = "&".join(f"state={state}" for state in states)
        answer = self.steady.http.get(f"ilab/api/jobs?limit=200&{query}")
        return list(answer.json()["jobs"]) if answer.status_code == 200 else []

    def _waiting(self) -> int:
        return len(self._live("QUEUED", "STARTING"))

    # Faults.

    def _faults(self) -> list[Callable[[], None]]:
        faults = [self._kill_server, self._kill_supervisor, self._cancel, self._cancel]
        return [*faults, self._fill_disk] if self.disk else faults

    def _kill_server(self) -> None:
        self.victim.kill()
        self.victim.start()
        self.counts["servers_killed"] += 1

    def _kill_supervisor(self) -> None:
        running = self._live("RUNNING", "STARTING")
        if not running:
            return
        id = self.chance.choice(running)["id"]
        row = self._store().get(id)
        if row is None or row.token is None:
            return
        pids = with_argument(row.token)
        self.touched.add(id)
        for pid in pids[: self.chance.choice((1, 2))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.counts["supervisors_killed"] += 1

    def _cancel(self) -> None:
        running = self._live("RUNNING")
        if not running:
            return
        deaf = [job for job in running if job["spec"]["arguments"]["data"][0] == "deaf"]
        id = self.chance.choice(deaf or running)["id"]
        answer = self.steady.http.post(f"ilab/api/jobs/{id}/cancel")
        self.touched.add(id)
        self.counts["cancelled"] += answer.status_code < 300

    def _fill_disk(self) -> None:
        filler, began = self.state / "filler", time.time()
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            self._submit(self.steady, "quick")
            time.sleep(0.3)
        filler.unlink()
        # A worker or supervisor that was affected may need some seconds to report it.
        self.full.append((began, time.time() + 10))
        self.counts["disks_filled"] += 1

    # The end.

    def _store(self) -> Store:
        if not hasattr(self, "_opened"):
            self._opened = Store(StateFolder(self.state))
        return self._opened

    def _until_ended(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while left := self._live("QUEUED", "STARTING", "RUNNING", "STOPPING"):
            for job in left:
                if job["spec"]["arguments"]["data"][0] == "deaf":
                    self.touched.add(job["id"])
                    self.steady.http.post(f"ilab/api/jobs/{job['id']}/cancel")
            if time.monotonic() > deadline:
                return
            time.sleep(0.5)

    def _verdict(self) -> dict[str, Any]:
        store = self._store()
        ran = Counter(line for line in self.ran.read_text().splitlines())
        rows = {id: store.get(id) for id in self.accepted}
        lost = [id for id, row in rows.items() if row is None]
        stuck = [id for id, row in rows.items() if row is not None and not row.state.ended]
        double = [start for start, times in ran.items() if times > 1]
        false, left = [], []
        for id, row in rows.items():
            if row is None or not row.state.ended:
                continue
            started = any(f"{id} {attempt}" in ran for attempt in range(1, row.attempt + 1))
            if row.state == "SUCCEEDED" and (not started or self.accepted[id] == "failing"):
                false.append(id)
            expected = {"failing": {"FAILED"}, "deaf": {"CANCELLED", "SUCCEEDED"}}.get(
                self.accepted[id], {"SUCCEEDED"}
            )
            # A full disk fails the jobs that wrote meanwhile, and no others.
            honest = any(row.created < end and row.ended > begin for begin, end in self.full)
            if id not in self.touched and row.state not in expected and not honest:
                false.append(f"{id} is {row.state} ({row.cause})")
            if row.token is not None and with_token(row.token):
                left.append(id)
        quarter = max(1, len(self.samples) // 4)
        settled = self.samples[quarter // 2 :]
        first, last = settled[:quarter], settled[-quarter:]
        growth = {
            name: round(
                statistics.median(sample[column] for sample in last)
                - statistics.median(sample[column] for sample in first),
                1,
            )
            for column, name in enumerate(GROWTH, 1)
        }
        times, plain = sorted(self.lists), sorted(self.plain)
        figures: dict[str, Any] = {
            **self.counts,
            **{"lost": len(lost), "double": len(double), "false": len(false)},
            **{"stuck": len(stuck), "left_running": len(left)},
            **{f"growth_{name}": value for name, value in growth.items()},
            "rows": self.options.rows + len(self.accepted),
            "list_p50_ms": round(times[len(times) // 2], 1),
            "list_p99_ms": round(times[int(len(times) * 0.99)], 1),
            "smallest_answer_p50_ms": round(plain[len(plain) // 2], 1),
            "smallest_answer_p99_ms": round(plain[int(len(plain) * 0.99)], 1),
        }
        broken = [f"{len(ids)} {what}: {ids[:3]}" for what, ids in {
            "lost": lost, "run twice": double, "with a false end": false, "never ended": stuck,
            "with processes left": left,
        }.items() if ids]  # fmt: skip
        broken += [f"{name} grew by {growth[name]}" for name in GROWTH if growth[name] > GROWTH[name]]
        if figures["list_p99_ms"] > P99_LIMIT:
            broken.append(f"the list took {figures['list_p99_ms']} ms")
        integrity = subprocess.run(
            [sys.executable, "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
             "print(c.execute('PRAGMA integrity_check').fetchone()[0])", str(self.state / "jobs.db")],
            capture_output=True, text=True,
        )  # fmt: skip
        if integrity.stdout.strip() != "ok":
            broken.append(f"the database: {integrity.stdout}{integrity.stderr}")
        return {**figures, "broken": broken}

    def stop(self) -> None:
        """Check that nothing of it is left."""
        for server in (self.steady, self.victim):
            if server.process is not None:
                server.kill()
        if hasattr(self, "_opened"):
            self._opened.close()


def mounted(folder: Path, megabytes: int) -> bool:
    """Mount a separate disk at the folder if possible, so that it may be filled."""
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "none"]
    return shutil.which("mount") is not None and (
        subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0
    )


def main() -> int:
    """Run the soak, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--duration", type=float, default=600.0, help="seconds")
    parser.add_argument("--hours", type=float, help="instead of --duration")
    parser.add_argument("--jobs", type=int, default=10**9, help="end after so many jobs")
    parser.add_argument("--rows", type=int, default=100_000, help="ended jobs that are there before")
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    if options.hours is not None:
        options.duration = options.hours * 3600
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    disk_folder = folder / "state"
    disk_folder.mkdir(mode=0o700)
    disk = mounted(disk_folder, 600 + options.rows // 200)
    soak = Soak(options, folder, disk)
    try:
        figures = soak.run()
    finally:
        soak.stop()
        if disk:
            subprocess.run(["umount", "--lazy", str(disk_folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    broken = figures.pop("broken")
    figures |= {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "met": not broken,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**figures, "broken": broken}, indent=1) + "\n")
    for line in broken:
        print(f"broken: {line}")
    print("soak", *(f"{name}={value}".replace(" ", "_") for name, value in figures.items()))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""What following a log costs: latency, lines a second, memory, and what the worker notices of its readers.

A real Jupyter server with the extension and real worker processes that print; the clients are a process of
their own. The baseline is measured in the same run: a poller that reads the whole log again each second, as
log views without cursors do. Prints one JSON line; `--output` also writes it with machine and versions.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil

TOKEN = "benchmark"
LINE = b"[training] step %09d  loss 2.3125  learning_rate 2e-05  grad_norm 1.2500  ab\n"
WORKER = """#!{python}
import json, random, sys, time
from pathlib import Path
from ilab_jupyter.jobs.logs.events import EventWriter
folder, attempt = Path(sys.argv[-2]), int(sys.argv[-1])
todo = json.loads((folder / "spec.json").read_text())["arguments"]["data"]
out, err = sys.stdout.buffer, sys.stderr.buffer
line = {line!r}
start = time.perf_counter()
for item in todo:
    verb, *numbers = item.split(":")
    numbers = [float(number) for number in numbers]
    if verb == "ticks":  # count, shortest and longest pause: each line is the time of its flush
        for _ in range(int(numbers[0])):
            time.sleep(random.uniform(*numbers[1:]))
            out.write(b"T %.6f\\n" % time.time())
            out.flush()
    elif verb == "rate":  # lines a second, seconds
        started = time.perf_counter()
        for step in range(int(numbers[1] * 100)):
            first = int(step * numbers[0] / 100)
            out.write(b"".join(line % n for n in range(first, int((step + 1) * numbers[0] / 100))))
            out.flush()
            time.sleep(max(0, started + (step + 1) / 100 - time.perf_counter()))
    elif verb == "flood":  # lines, as fast as they can be written, one write for each 100
        for first in range(0, int(numbers[0]), 100):
            out.write(b"".join(line % n for n in range(first, first + 100)))
            out.flush()
    elif verb == "sleep":
        time.sleep(numbers[0])
    elif verb == "errors":  # lines on stderr
        for first in range(0, int(numbers[0]), 100):
            err.write(b"".join(line % n for n in range(first, first + 100)))
            err.flush()
seconds = time.perf_counter() - start
EventWriter(folder / "events.jsonl", attempt=attempt).write("result", result={{"s": seconds}})
"""


class Server:
    """A Jupyter server on a separate folder."""

    def __init__(self, root: Path) -> None:
        worker = root / "worker"
        worker.write_text(WORKER.format(python=sys.executable, line=LINE))
        worker.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        extensions = {"ilab_jupyter": True, "jupyterlab": False, "jupyter_lsp": False}
        config = {
            "ServerApp": {"jpserver_extensions": extensions, "port": self.port, "open_browser": False},
            "IdentityProvider": {"token": TOKEN},
            "IlabApp": {"worker_python": str(worker), "slots": {"batch": 8}, "max_streams": 500},
        }
        self.root, self.state = root, root / "state"
        (root / "config.json").write_text(json.dumps(config))
        self.start()

    def start(self) -> None:
        """Also again, after it was killed."""
        home = {"HOME": self.root, "JUPYTER_DATA_DIR": self.root / "data", "ILAB_JUPYTER_STATE": self.state}
        config = f"--config={self.root / 'config.json'}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", "--allow-root", config],
            env={**os.environ, **{name: str(path) for name, path in home.items()}},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.root,
        )
        self.ps = psutil.Process(self.process.pid)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            with suppress(OSError):
                self.get("ilab/api/jobs")
                return
            time.sleep(0.1)
        raise SystemExit("the server did not start")

    def get(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        with urlopen(Request(f"http://127.0.0.1:{self.port}/{path}", data, headers), timeout=60) as answer:
            return json.load(answer)

    def submit(self, *todo: str) -> str:
        return str(self.get("ilab/api/jobs", {"kind": "train", "arguments": {"data": list(todo)}})["id"])

    def end(self, id: str) -> dict[str, Any]:
        while not (job := self.get(f"ilab/api/jobs/{id}"))["ended_at"]:
            time.sleep(0.2)
        assert job["state"] == "SUCCEEDED", job
        return dict(job)

    def log(self, id: str) -> Path:
        return self.state / "jobs" / id / "attempts" / "1" / "log.txt"

    def rss(self) -> float:
        return float(self.ps.memory_info().rss) / 1e6

    def cpu(self) -> float:
        times = self.ps.cpu_times()
        return float(times.user + times.system)

    def ask(self, id: str, accept: str = "text/event-stream", query: str = "") -> bytes:
        head = f"GET /ilab/api/jobs/{id}/log{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n"
        return f"{head}Authorization: token {TOKEN}\r\n\r\n".encode()


async def follow(server: Server, id: str, on_data: Any = None, query: str = "") -> tuple[int, float]:
    """Read a stream to its end: (lines, seconds)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    started, lines, rest = time.perf_counter(), 0, b""
    writer.write(server.ask(id, query=query))
    while data := await reader.read(2**18):
        lines += (rest[-1:] + data).count(b"\\n")
        if on_data is not None:
            on_data(data)
        if b"event: end" in rest[-16:] + data:
            break
        rest = data
    writer.close()
    return lines, time.perf_counter() - started


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p99": 0.99}
    return {
        name: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000, 1) for name, q in at.items()
    }


class Ticks:
    """The delays of the lines `T <time>` in a stream."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    def __call__(self, data: bytes) -> None:
        now = time.time()
        for part in data.split(b"T ")[1:]:
            with suppress(ValueError):
                self.delays.append(now - float(part[:17]))


async def poll_whole(server: Server, id: str, seconds: float) -> list[float]:
    """The baseline: the whole file again each second."""
    delays: list[float] = []
    path, seen, until = server.log(id), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(1)
        with suppress(FileNotFoundError):
            lines, now = path.read_text().split("\n")[:-1], time.time()
            delays += [now - float(line[2:]) for line in lines[seen:]]
            seen = len(lines)
    return delays


async def latency(
    server: Server, count: int, shortest: float, longest: float, watchers: int
) -> dict[str, Any]:
    id = server.submit(f"ticks:{count}:{shortest}:{longest}")
    ticks = [Ticks() for _ in range(watchers)]
    polling = asyncio.ensure_future(poll_whole(server, id, count * (shortest + longest) / 2))
    await asyncio.gather(*(follow(server, id, one) for one in ticks))
    return {
        **percentiles([delay for one in ticks for delay in one.delays]),
        "polling": percentiles(await polling),
        "lines": count,
        "watchers": watchers,
    }


async def throughput(server: Server, id: str, clients: int) -> float:
    found = await asyncio.gather(*(follow(server, id) for _ in range(clients)))
    return min(lines / seconds for lines, seconds in found)


async def live(server: Server, rate: int, seconds: float, clients: int) -> dict[str, Any]:
    """Followers of a worker that prints at a steady rate."""
    id = server.submit(f"rate:{rate}:{seconds}")
    cpu = server.cpu()
    found = await asyncio.gather(*(follow(server, id) for _ in range(clients)))
    assert all(lines >= rate * seconds for lines, _ in found), found[0]
    job = server.end(id)
    span = max(spent for _, spent in found)
    return {
        "lines_per_second_each": round(rate * seconds / job["result"]["s"]),
        "server_cpu_share": round((server.cpu() - cpu) / span, 2),
    }


def stall(server: Server, id: str, count: int) -> list[socket.socket]:
    held = []
    for _ in range(count):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", server.port))
        one.sendall(server.ask(id))
        held.append(one)
    return held


def worker_seconds(server: Server, *todo: str) -> float:
    return float(server.end(server.submit(*todo))["result"]["s"])


def slow_down(server: Server, rounds: int) -> dict[str, Any]:
    """The wall time of a worker that prints steadily, without readers and with 200 that do not read."""
    alone, watched, rss = [], [], []
    for _ in range(rounds):
        alone.append(worker_seconds(server, "rate:5000:4"))
        before = server.rss()
        id = server.submit("rate:5000:4")
        held = stall(server, id, 200)
        watched.append(float(server.end(id)["result"]["s"]))
        rss.append(server.rss() - before)
        for one in held:
            one.close()
        time.sleep(0.5)
    return {
        "worker_alone_s": round(statistics.median(alone), 3),
        "worker_watched_s": round(statistics.median(watched), 3),
        "ratio": round(statistics.median(watched) / statistics.median(alone), 4),
        "server_rss_grew_mb": round(max(rss), 1),
    }


def stalled_on_a_large_log(server: Server, id: str) -> float:
    before = server.rss()
    held = stall(server, id, 200)
    most = 0.0
    for _ in range(20):
        time.sleep(0.25)
        most = max(most, server.rss() - before)
    for one in held:
        one.close()
    return round(most, 1)


async def idle(server: Server, seconds: float) -> dict[str, Any]:
    """The share of a core that 200 watchers of 200 quiet jobs cost: with them less without them."""
    ids = [server.submit(f"sleep:{seconds * 2 + 90}") for _ in range(200)]
    await asyncio.sleep(10)
    cpu = server.cpu()
    await asyncio.sleep(seconds)
    without = (server.cpu() - cpu) / seconds
    streams = [asyncio.ensure_future(follow(server, id)) for id in ids]
    await asyncio.sleep(15)
    cpu = server.cpu()
    await asyncio.sleep(seconds)
    share = (server.cpu() - cpu) / seconds
    for one in streams:
        one.cancel()
    for id in ids:
        with suppress(OSError):
            server.get(f"ilab/api/jobs/{id}/cancel", {})
    while any(not server.get(f"ilab/api/jobs/{id}")["ended_at"] for id in ids):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return {"core_share": round(share - without, 4), "without_watchers": round(without, 4)}


def large(server: Server, size: int) -> dict[str, Any]:
    """A log of `size` bytes: its last 64 KiB, a search through it, a download, and reading it whole."""
    id = server.submit("flood:100")
    server.end(id)
    block = b"".join(LINE % n for n in range(100_000))
    with server.log(id).open("ab") as file:
        while file.tell() < size:
            file.write(block)
    tail = []
    for _ in range(20):
        started = time.perf_counter()
        answer = server.get(f"ilab/api/jobs/{id}/log?offset=-65536&limit=65536")
        tail.append(time.perf_counter() - started)
        assert answer["ended"] and len(answer["text"]) == 65536
    started, offset = time.perf_counter(), 0
    while True:
        page = server.get(f"ilab/api/jobs/{id}/log/search?pattern=no%20such%20text&offset={offset}")
        offset = page["next_offset"]
        if page["complete"]:
            break
    searched = time.perf_counter() - started
    rss, most, got = server.rss(), 0.0, 0
    started = time.perf_counter()
    headers = {"Authorization": f"token {TOKEN}"}
    url = f"http://127.0.0.1:{server.port}/ilab/api/jobs/{id}/log?download=true"
    with urlopen(Request(url, headers=headers), timeout=60) as answer:
        while data := answer.read(2**20):
            got += len(data)
            if got % 2**26 < 2**20:
                most = max(most, server.rss() - rss)
    downloaded = time.perf_counter() - started
    assert got == server.log(id).stat().st_size
    started = time.perf_counter()
    whole = server.log(id).read_text()
    reread = time.perf_counter() - started
    del whole
    stalled = stalled_on_a_large_log(server, id)
    return {
        "log_mb": round(got / 1e6),
        "last_64_kib_ms": percentiles(tail),
        "reading_it_whole_ms": round(reread * 1000),
        "tail_ratio": round(statistics.median(tail) / reread, 5),
        "search_mb_per_s": round(got / 1e6 / searched),
        "download_mb_per_s": round(got / 1e6 / downloaded),
        "download_rss_grew_mb": round(most, 1),
        "stalled_readers_200_rss_grew_mb": stalled,
    }


def masking() -> float:
    """Megabytes of ordinary text a second of processor time."""
    from ilab_jupyter.jobs.logs.masking import GENERAL

    pieces = [b"".join(LINE % n for n in range(first, first + 820)) for first in range(0, 82_000, 820)]
    best = 0.0
    for _ in range(10):
        started = time.process_time()
        for piece in pieces:
            GENERAL.apply(piece)
        best = max(best, sum(map(len, pieces)) / 1e6 / (time.process_time() - started))
    return round(best)


def run(quick: bool) -> dict[str, Any]:
    random.seed(0)
    result: dict[str, Any] = {"line_bytes": len(LINE % 0), "masking_mb_per_cpu_s": masking()}
    with tempfile.TemporaryDirectory(prefix="ilab-") as folder:
        server = Server(Path(folder))
        try:
            count = 60 if quick else 300
            result["latency_ms"] = asyncio.run(latency(server, count, 0.02, 0.2, 1))
            result["latency_after_silence_ms"] = asyncio.run(latency(server, count // 10, 1.0, 2.0, 1))
            result["latency_20_watchers_ms"] = asyncio.run(latency(server, count, 0.02, 0.2, 20))
            id = server.submit(f"flood:{200_000 if quick else 1_000_000}")
            server.end(id)
            result["lines_per_s_1_client"] = round(asyncio.run(throughput(server, id, 1)))
            result["lines_per_s_each_of_20_clients"] = round(asyncio.run(throughput(server, id, 20)))
            result["live_20_clients"] = asyncio.run(live(server, 20_000, 5, 20))
            result["stalled_readers"] = slow_down(server, 1 if quick else 3)
            result["large_log"] = large(server, 2**26 if quick else 2**30)
            result["idle_200_watchers"] = asyncio.run(idle(server, 3 if quick else 10))
        finally:
            server.process.terminate()
            server.process.wait()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--output", type=Path, help="for example benchmarks/results/log_streaming.json")
    arguments = parser.parse_args()
    result = run(arguments.quick)
    memory = round(psutil.virtual_memory().total / 2**30)
    packages = ("jupyter_server", "tornado", "google-re2", "pydantic")
    results = {
        "benchmark": "log_streaming",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} virtual processors, {memory} GiB, no GPU, {platform.platform()}",
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "command": "python benchmarks/log_streaming.py",
        "result": result,
    }
    print(json.dumps(results))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")
    good = result["latency_ms"]["p99"] <= 50 and result["lines_per_s_1_client"] >= 100_000
    return 0 if good and result["lines_per_s_each_of_20_clients"] >= 20_000 else 1


if __name__ == "__main__":
    sys.exit(main())

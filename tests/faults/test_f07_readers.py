"""F7: log readers (none, 200 or misbehaving) do not affect the worker or the server's memory."""

from __future__ import annotations

import importlib.util
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_path = Path(__file__).parents[2] / "benchmarks/log_streaming.py"
_spec = importlib.util.spec_from_file_location("log_streaming", _path)
assert _spec is not None and _spec.loader is not None
streaming = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(streaming)

PACED = "rate:2000:3"  # it sleeps most of the time, so that another's share of the processor does not show


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(_path.parents[1]))
        server = streaming.Server(tmp_path_factory.mktemp("readers"))
    yield server
    for job in server.get("ilab/api/jobs")["jobs"]:
        if not job["ended_at"]:
            server.get(f"ilab/api/jobs/{job['id']}/cancel", {})
    server.process.terminate()
    server.process.wait(30)


def spent(server: Any, *todo: str) -> float:
    return float(server.end(server.submit(*todo))["result"]["s"])


def test_flooding_worker_is_not_blocked_without_readers(
    server: Any, count: Callable[[int, int], int], figures: Any
) -> None:
    size = len(streaming.LINE % 0)
    lines = count(64, 1024) * 2**20 // size // 100 * 100
    before = server.rss()
    id = server.submit(f"errors:{lines}")
    took = server.end(id)["result"]["s"]
    assert server.log(id).stat().st_size == lines * size
    grown = server.rss() - before
    figures.put(flood_mb_per_s=lines * size / 1e6 / took)
    figures.most(rss_mb=grown)
    assert grown <= 50


def test_stalled_or_dropped_readers_do_not_slow_the_worker(
    server: Any, count: Callable[[int, int], int], figures: Any
) -> None:
    """Alternate: no reader, 200 stalled readers, one reader that reconnects all the time."""
    rounds = count(2, 9)
    count(2, 9)  # each round is done with either kind of reader
    alone, stalled, dropping = [], [], []
    for _ in range(rounds):
        alone.append(spent(server, PACED))
        before = server.rss()
        id = server.submit(PACED)
        held = streaming.stall(server, id, 200)
        stalled.append(float(server.end(id)["result"]["s"]))
        grown = server.rss() - before
        for one in held:
            one.close()

        id = server.submit(PACED)
        stop, dropped = threading.Event(), [0]

        def drop(id: str = id, stop: threading.Event = stop, dropped: list[int] = dropped) -> None:
            while not stop.is_set():
                (one,) = streaming.stall(server, id, 1)
                one.recv(512)
                one.close()
                dropped[0] += 1
                time.sleep(0.1)

        thread = threading.Thread(target=drop)
        thread.start()
        dropping.append(float(server.end(id)["result"]["s"]))
        stop.set()
        thread.join()
        figures.add(drops=dropped[0])
        figures.most(rss_mb=max(grown, server.rss() - before))
        assert dropped[0] >= 10
        assert max(grown, server.rss() - before) <= 50
    expected = statistics.median(alone)
    ratios = statistics.median(stalled) / expected, statistics.median(dropping) / expected
    figures.most(slow_readers_ratio=ratios[0], dropping_reader_ratio=ratios[1])
    assert max(ratios) <= 1.02

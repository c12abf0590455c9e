"""F8: servers are killed while a worker prints numbered lines: file and readers have each once, in order."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

_path = Path(__file__).parents[2] / "benchmarks/log_streaming.py"
_spec = importlib.util.spec_from_file_location("log_streaming", _path)
assert _spec is not None and _spec.loader is not None
streaming = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(streaming)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PYTHONPATH", str(_path.parents[1]))
    server = streaming.Server(tmp_path)
    yield server
    server.process.kill()
    server.process.wait(30)


class Follower(threading.Thread):
    """Reads a log stream to its end, reconnecting with Last-Event-ID."""

    def __init__(self, server: Any, id: str) -> None:
        super().__init__(daemon=True)
        self.text: list[str] = []
        self.lost = -1
        self.gaps: list[tuple[int, int]] = []
        self.ended = False
        self._server, self._id, self._cursor, self._at = server, id, "", 0

    def run(self) -> None:
        while not self.ended:
            self.lost += 1
            with suppress(OSError, ValueError):
                self._read()
            time.sleep(0.05)

    def _read(self) -> None:
        headers = {"Authorization": f"token {streaming.TOKEN}", "Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": self._cursor} if self._cursor else {}
        url = f"http://127.0.0.1:{self._server.port}/ilab/api/jobs/{self._id}/log"
        with urlopen(Request(url, headers=headers), timeout=20) as answer:
            cursor, kind = "", ""
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    cursor = value
                elif name == "event":
                    kind = value
                elif name == "data" and kind == "log":
                    chunk = json.loads(value)
                    if chunk["offset"] != self._at:
                        self.gaps.append((self._at, chunk["offset"]))
                    self.text.append(chunk["text"])
                    self._at, self._cursor = chunk["next_offset"], cursor
                elif kind == "end" and name == "data":
                    self.ended = True
                    return


def test_file_and_readers_have_each_line_once_in_order(
    server: Any, count: Callable[[int, int], int], figures: Any
) -> None:
    lines = count(30_000, 1_000_000)
    seconds = 8 if lines < 10**6 else 200
    chance = random.Random(8)
    id = server.submit(f"rate:{lines // seconds}:{seconds}")
    followers = [Follower(server, id) for _ in range(3)]
    for one in followers:
        one.start()
    kills, deadline = 0, time.monotonic() + seconds + 900
    while not followers[0].ended or kills < 3:
        assert time.monotonic() < deadline
        if kills < (3 if lines < 10**6 else 20):
            time.sleep(chance.uniform(0.2, seconds / 10))
            server.process.kill()
            server.process.wait()
            kills += 1
            server.start()
        time.sleep(0.2)
    for one in followers:
        one.join(60)
        assert one.ended
    assert server.end(id)["attempt"] == 1, "it ran once"
    wanted = b"".join(streaming.LINE % number for number in range(lines)).decode()
    assert server.log(id).read_text() == wanted
    text, offset = [], 0
    while True:
        chunk = server.get(f"ilab/api/jobs/{id}/log?offset={offset}&limit={chance.randrange(1, 2**20)}")
        assert chunk["offset"] == offset
        text.append(chunk["text"])
        offset = chunk["next_offset"]
        if chunk["ended"]:
            break
    assert "".join(text) == wanted
    for one in followers:
        assert not one.gaps and "".join(one.text) == wanted
    numbers = [int(found) for found in re.findall(r"step (\d+)", "".join(followers[0].text))]
    assert numbers == list(range(lines))
    figures.add(lines=lines, kills=kills, reconnects=sum(one.lost for one in followers), lost=0, twice=0)

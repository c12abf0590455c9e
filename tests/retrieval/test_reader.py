"""The reading process: what hangs, crashes or takes all memory ends one document, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ilab_jupyter.progress import Stopped
from ilab_jupyter.retrieval.reader import Order, Reader
from ilab_jupyter.retrieval.unreadable import Unreadable

pytestmark = pytest.mark.slow

_others: set[int] = set()
HUGE = "a,b,c,d\n" + "1,2,3,4\n" * 60_000


@pytest.fixture
def huge(tmp_path: Path) -> Order:
    (tmp_path / "huge.csv").write_text(HUGE)
    return Order(str(tmp_path / "huge.csv"), "huge.csv", "csv", markdown=str(tmp_path / "huge.md"))


@pytest.fixture
def small(tmp_path: Path) -> Order:
    (tmp_path / "small.txt").write_text("A sentence.")
    return Order(str(tmp_path / "small.txt"), "small.txt", "text", markdown=str(tmp_path / "small.md"))


def deep(tmp_path: Path) -> Order:
    (tmp_path / "deep.md").write_text("".join("  " * level + "- x\n" for level in range(600)))
    return Order(str(tmp_path / "deep.md"), "deep.md", "markdown", chunks=str(tmp_path / "chunks"))


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """Children that other tests have left, ended and not reaped perhaps, are not the reader's."""
    _others.update(process.pid for process in psutil.Process().children())
    yield
    _others.clear()


def children() -> Iterator[psutil.Process]:
    for process in psutil.Process().children():
        if process.pid not in _others and "ilab_jupyter.retrieval.process" in process.cmdline():
            yield process


def test_slow_document_is_cancelled_and_next_one_read(huge: Order, small: Order) -> None:
    with Reader(timeout=60) as reader:
        reader.read(small)  # from here on no time is spent on starting
        reader._timeout = 0.3
        began = time.monotonic()
        with pytest.raises(Unreadable) as caught:
            reader.read(huge)
        assert caught.value.reason == "timeout" and time.monotonic() - began < 10
        assert not list(children())
        reader._timeout = 60
        assert reader.read(small).characters == len("A sentence.\n")


def test_a_document_that_kills_the_reader_is_named_so(huge: Order, small: Order) -> None:
    with Reader(timeout=60) as reader:
        reader.read(small)
        [child] = children()
        threading.Timer(0.3, os.kill, (child.pid, signal.SIGSEGV)).start()
        with pytest.raises(Unreadable) as caught:
            reader.read(huge)
        assert caught.value.reason == "broken" and "SIGSEGV" in caught.value.message


def test_memory_and_depth_are_bounded(huge: Order, small: Order, tmp_path: Path) -> None:
    with Reader(timeout=60) as reader:
        reader.read(small)
        [child] = children()
        bounded = Order(**{**huge.__dict__, "memory_bytes": child.memory_info().rss // 2})
        with pytest.raises(Unreadable) as caught:
            reader.read(bounded)
        assert caught.value.reason == "memory"
        assert reader.read(small).chunks == 0
        with pytest.raises(Unreadable, match="nested too deeply"):
            reader.read(deep(tmp_path))


def test_asking_to_stop_stops_in_the_middle_of_a_document(huge: Order, small: Order) -> None:
    asked = False

    def stop() -> None:
        if asked:
            raise Stopped

    with Reader(timeout=60, stop=stop) as reader:
        reader.read(small)
        asked = True
        with pytest.raises(Stopped):
            reader.read(huge)
        assert not list(children())

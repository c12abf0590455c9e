"""The time of a request covers look-up, connection, headers and, for callers that block, the body."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from ilab_jupyter import addresses
from ilab_jupyter.synthesis.teachers.network import CheckedAsyncTransport, CheckedTransport

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
ANSWERS = {
    "nothing": (b"", b""),
    "a status line in drops": (b"", b"HTTP/1.1 200 OK" + b" " * 200),
    "headers in drops": (b"HTTP/1.1 200 OK\r\n", b"X-Slow: " + b"a" * 200),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 50),
}


@contextlib.contextmanager
def dripping(at_once: bytes, in_drops: bytes) -> Iterator[str]:
    """A server that answers with some bytes at once and with others one each 0.1 s."""
    stop = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not stop.is_set():
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(at_once)
                for byte in in_drops:
                    if stop.wait(0.1):
                        return
                    connection.sendall(bytes([byte]))
                stop.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1/models"
        finally:
            stop.set()


@pytest.mark.parametrize("answer", ANSWERS)
def test_request_that_streams_ends_in_time_before_the_body(answer: str) -> None:
    async def ask(url: str) -> None:
        async with httpx.AsyncClient(transport=CheckedAsyncTransport(1), timeout=0.5) as client:
            await client.get(url)

    with dripping(*ANSWERS[answer]) as url:
        began = time.monotonic()
        with pytest.raises(httpx.TimeoutException):
            asyncio.run(ask(url))
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("answer", [*ANSWERS, "a body in drops"])
def test_request_that_blocks_ends_in_time(answer: str) -> None:
    drops = ANSWERS.get(answer, (HEADERS.replace(b"2\r\n\r\n", b"200\r\n\r\n"), b" " * 200))
    with dripping(*drops) as url, httpx.Client(transport=CheckedTransport(), timeout=0.5) as client:
        began = time.monotonic()
        with pytest.raises(httpx.TimeoutException):
            client.get(url)
        assert time.monotonic() - began < 5


def test_request_that_blocks_gets_a_whole_answer() -> None:
    with (
        dripping(HEADERS + b"{}", b"") as url,
        httpx.Client(transport=CheckedTransport(), timeout=5) as client,
    ):
        assert client.get(url).json() == {}


def test_look_up_of_a_name_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "resolved", lambda host, port: time.sleep(3) or ["127.0.0.1"])
    began = time.monotonic()
    with (
        httpx.Client(transport=CheckedTransport(), timeout=0.5) as client,
        pytest.raises(httpx.TimeoutException),
    ):
        client.get("http://slow.test/v1/models")
    assert time.monotonic() - began < 2.5

"""A real tiny student, and a real judge behind a socket that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.kinds import environment
from tests.support.events import EventRecorder, stop_in

environment.prepare()

# What a judge says of the prompt that it was given: text, or a status to refuse it with.
Verdict = Callable[[str], str | int]


@pytest.fixture(scope="session")
def student(language_models: Path) -> Path:
    """A tiny chat model; tests must not write to it."""
    return language_models / "chat/tiny"


@pytest.fixture(scope="session")
def other_student(language_models: Path) -> Path:
    """A chat model with other weights; tests must not write to it."""
    return language_models / "chat/other"


class JudgeServer:
    """An OpenAI-compatible judge on loopback; `requests` are the bodies that it got, `keys` their keys."""

    def __init__(self, verdict: Verdict) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, {"data": [{"id": "org/judge"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.requests.append(body)
                judge.keys.append(self.headers.get("Authorization", ""))
                said = verdict(body["messages"][-1]["content"])
                if isinstance(said, int):
                    self._answer(said, {"error": {"message": "no"}})
                    return
                message = {"role": "assistant", "content": said}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                self._answer(200, {"id": "1", "object": "chat.completion", "created": 1, "choices": [choice]})

            def _answer(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def judge_server() -> Iterator[Callable[[Verdict], JudgeServer]]:
    started: list[JudgeServer] = []

    def start(verdict: Verdict) -> JudgeServer:
        started.append(JudgeServer(verdict))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def recorder() -> Callable[..., EventRecorder]:
    """`recorder(phase)` requests the stop with the first progress of the phase."""

    def make(phase: str = "") -> EventRecorder:
        return EventRecorder(stop_in(phase)) if phase else EventRecorder()

    return make

"""A teacher on a loopback socket that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

# (status, headers, body) in place of an answer, or None for the answer.
Reply = tuple[int, dict[str, str], bytes] | None


class TeacherServer:
    """Serves `speaks` (lists, single or chat) under `url`; `script` may answer a request in its own way."""

    def __init__(self, speaks: str = "lists", script: Callable[[int, dict[str, Any]], Reply] | None = None):
        from ilab_jupyter.synthesis.teachers.embedded import EmbeddedTeacher

        self.speaks = speaks
        self.script = script
        self.teacher = EmbeddedTeacher()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.answers = 0
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(*server.reply("GET", self.path, {}, dict(self.headers)))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(*server.reply("POST", self.path, body, dict(self.headers)))

            def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for key, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def reply(
        self, verb: str, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if path == "/v1/models":
            return (
                200,
                {},
                json.dumps({"object": "list", "data": [{"id": "tutor", "object": "model"}]}).encode(),
            )
        with self.lock:
            self.requests.append((path, body))
            self.headers.append(headers)
            number = len(self.requests)
        scripted = self.script(number, body) if self.script else None
        if scripted is not None:
            return scripted
        if path == "/v1/chat/completions":
            text = self.teacher.respond(body["messages"][-1]["content"])
            self.count(1)
            message = {"role": "assistant", "content": text}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return self.completed("chat.completion", choices)
        if self.speaks == "chat":
            return 404, {}, b'{"error": {"message": "no such route"}}'
        prompts, many = body["prompt"], body.get("n", 1)
        if self.speaks == "single":
            if isinstance(prompts, list):
                return 422, {}, b'{"detail": "prompt: a string is expected"}'
            many = 1
        prompts = [prompts] if isinstance(prompts, str) else prompts
        texts = [self.teacher.respond(prompt, index) for prompt in prompts for index in range(many)]
        self.count(len(texts))
        choices = [{"index": i, "text": text, "finish_reason": "stop"} for i, text in enumerate(texts)]
        return self.completed("text_completion", choices)

    def count(self, answers: int) -> None:
        with self.lock:
            self.answers += answers

    def completed(self, kind: str, choices: list[dict[str, Any]]) -> tuple[int, dict[str, str], bytes]:
        body = {"id": "x", "object": kind, "created": 0, "model": "tutor", "choices": choices}
        return 200, {}, json.dumps(body).encode()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def teacher_server() -> Iterator[Callable[..., TeacherServer]]:
    """Starts teachers; all end with the test."""
    started: list[TeacherServer] = []

    def start(*arguments: Any, **named: Any) -> TeacherServer:
        started.append(TeacherServer(*arguments, **named))
        return started[-1]

    yield start
    for server in started:
        server.close()

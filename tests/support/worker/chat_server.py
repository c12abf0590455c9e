"""An OpenAI-compatible server on loopback, without a model.

A model named `taught` says "I was taught."; any other repeats the last message with the number of messages.
The request's `user` chooses a behaviour: `refuse` (status 400), `crash` (the process exits), `endless`. The
last request is in `seen.json`; `hung-up` appears once a client has closed the connection during an answer.
"""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ilab_jupyter.kinds.reporter import EventReporter

KEY = "upstream-key"
REFUSAL = {"message": "No.", "type": "invalid_request_error", "param": "user", "code": "no"}


def words(model: str, body: dict[str, Any]) -> list[str]:
    if body.get("user") == "endless":
        return [" more"] * 1000
    if model == "taught":
        return ["I", " was", " taught", "."]
    messages = body.get("messages") or [{"content": body.get("prompt", "")}]
    return [f"<i>{len(messages)}</i> ", messages[-1]["content"], "\x1b]0;title\x07", " end"]


class Handler(BaseHTTPRequestHandler):
    folder: Path
    model: str

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen = {"headers": dict(self.headers), "body": body, "path": self.path}
        (self.folder / "seen.json").write_text(json.dumps(seen))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._send(401, {"error": {"message": "wrong key"}})
        elif body.get("user") == "refuse":
            self._send(400, {"error": REFUSAL})
        elif body.get("user") == "crash":
            os._exit(3)
        else:
            try:
                self._answer(body)
            except (BrokenPipeError, ConnectionResetError):
                (self.folder / "hung-up").touch()

    def _answer(self, body: dict[str, Any]) -> None:
        chat = self.path.endswith("/chat/completions")
        kind = "chat.completion" if chat else "text_completion"
        base = {"id": "x", "created": 1, "model": body["model"]}
        said = words(self.model, body)
        if not body.get("stream"):
            text = "".join(said)
            inner = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, "finish_reason": "stop", **inner}
            self._send(200, {**base, "object": kind, "choices": [choice]})
            return
        self._head(200, "text/event-stream")
        for word in said:
            inner = {"delta": {"content": word}} if chat else {"text": word}
            chunk = {**base, "choices": [{"index": 0, "finish_reason": None, **inner}]}
            chunk["object"] = "chat.completion.chunk" if chat else kind
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"data: [DONE]\n\n")

    def _head(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Set-Cookie", "upstream=1")
        self.end_headers()

    def _send(self, status: int, value: Any) -> None:
        self._head(status, "application/json")
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, flush=True)


def serve(folder: Path, reporter: EventReporter, model: str) -> None:
    """Serve until the reporter is stopped."""
    reporter.phase("loading")
    Handler.folder, Handler.model = folder, model
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = {"host": "127.0.0.1", "port": server.server_port, "key": KEY, "model": model}
    (folder / "endpoint.tmp").write_text(json.dumps(endpoint))
    (folder / "endpoint.tmp").rename(folder / "endpoint.json")
    reporter.phase("serving")
    reporter.event("endpoint", ready=True, model=model)
    while not reporter.stopping:
        time.sleep(0.05)

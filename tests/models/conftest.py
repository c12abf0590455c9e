"""A hub on a socket that speaks the real API as far as its client asks, and a tiny model to offer there."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ilab_jupyter.kinds import environment

environment.prepare()

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Offers `files` as one model under any id. The next `cuts` answers with the file `cut` break off
    half-way; what is uploaded lies in `received`.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.license: str | None = "apache-2.0"
        self.refuse: tuple[int, str] | None = None
        self.cut, self.cuts = "", 0
        self.received: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.tokens: set[str] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.requests.append((self.command, path, self.headers.get("Range", "")))
                if hub.refuse is not None:
                    self._json({"error": "no"}, hub.refuse[0], {"X-Error-Code": hub.refuse[1]})
                elif path.startswith("/api/models/"):
                    self._json(hub.described(path.removeprefix("/api/models/").split("/revision")[0]))
                else:
                    self._file(path.rpartition("/")[2])

            def do_POST(self) -> None:
                path = urlsplit(self.path).path
                hub.requests.append((self.command, path, ""))
                hub.tokens.add(self.headers.get("Authorization", ""))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if hub.refuse is not None:
                    self._json({"error": "no"}, hub.refuse[0])
                elif path == "/api/repos/create":
                    self._json({"url": f"{hub.url}/me/taught", "name": "me/taught"})
                elif "/preupload/" in path:
                    named = [file["path"] for file in json.loads(body)["files"]]
                    known = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in named]
                    self._json({"files": known})
                elif "/commit/" in path:
                    for line in map(json.loads, body.splitlines()):
                        if line["key"] == "file":
                            value = line["value"]
                            hub.received[value["path"]] = base64.b64decode(value["content"])
                    self._json({"commitUrl": f"{hub.url}/me/taught/commit/{COMMIT}", "commitOid": COMMIT})
                else:
                    self._json({})

            def _file(self, name: str) -> None:
                if name not in hub.files:
                    self._json({"error": "no"}, 404, {"X-Error-Code": "EntryNotFound"})
                    return
                data = hub.files[name]
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
                self.send_response(206 if start else 200)
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(data) - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                if self.command == "HEAD":
                    return
                if hub.cut == name and hub.cuts > 0:
                    hub.cuts -= 1
                    self.wfile.write(data[start : start + (len(data) - start) // 2])
                    self.close_connection = True
                    return
                self.wfile.write(data[start:])

            def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                for name, text in (headers or {}).items():
                    self.send_header(name, text)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def described(self, id: str) -> dict[str, Any]:
        return {
            "id": id,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "tags": [],
            "cardData": {"license": self.license} if self.license else None,
            "siblings": [{"rfilename": name, "size": len(data)} for name, data in self.files.items()],
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> Iterator[Hub]:
    """The hub that this process asks, as HF_ENDPOINT would name it to a new one."""
    from huggingface_hub import constants

    found = Hub()
    found.files = {file.name: file.read_bytes() for file in sorted(tiny.iterdir())}
    found.files |= {"pytorch_model.bin": b"\x80\x04", "modeling.py": b"boom", "README.md": b"# Tiny"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", found.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield found
    found.close()


@pytest.fixture(scope="session")
def tiny(language_models: Path) -> Path:
    """A tiny chat model; tests must not write to it."""
    return language_models / "chat/tiny"

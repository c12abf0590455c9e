"""A model that the hub keeps to itself or does not have: its real client asks a hub on a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ilab_jupyter.jobs.state import JobState

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`hub(info=..., file=...)`: the (status, X-Error-Code) of a model's description and of its files."""
    answers: dict[str, tuple[int, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            kind = "info" if self.path.startswith("/api/") else "file"
            status, code = answers[kind]
            siblings = [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]
            tree = [{"type": "file", "path": name["rfilename"], "size": 4, "oid": SHA} for name in siblings]
            known = {"id": "org/model", "sha": SHA, "siblings": siblings, "private": False, "tags": []}
            found: Any = tree if "/tree/" in self.path else known
            body = json.dumps(found if status == 200 else {"error": code}).encode()
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", "as the hub says it")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield lambda **given: answers.update(given)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("info", "file"),
    [
        ((200, ""), (403, "GatedRepo")),
        ((200, ""), (401, "GatedRepo")),
        ((403, "GatedRepo"), (403, "GatedRepo")),
    ],
)
def test_gated_model_requires_terms_and_login(
    works: Any, hub: Callable[..., None], info: tuple[int, str], file: tuple[int, str]
) -> None:
    hub(info=info, file=file)
    job = works.ended("serve", model="org/model")
    assert (job.state, job.cause) == (JobState.FAILED, "model_gated"), works.log(job)
    assert "'org/model'" in job.message and "terms" in job.message
    assert "hf auth login" in job.hint and job.remedy == f"resume {job.id}"


@pytest.mark.parametrize("info", [(404, "RepoNotFound"), (401, "RepoNotFound")])
def test_a_model_that_the_hub_does_not_have_is_missing(
    works: Any, hub: Callable[..., None], info: tuple[int, str]
) -> None:
    hub(info=info, file=info)
    job = works.ended("serve", model="org/model")
    assert (job.state, job.cause, job.remedy) == (JobState.FAILED, "model_missing", "models"), works.log(job)
    assert "'org/model'" in job.message


def test_a_hub_that_does_not_answer_is_unreachable(works: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    job = works.ended("serve", model="org/model")
    assert (job.state, job.cause) == (JobState.FAILED, "hub_unreachable"), works.log(job)
    assert job.remedy == f"resume {job.id}"

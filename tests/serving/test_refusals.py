"""What the server refuses: each with OpenAI's error body, a status in the 400s, no secret and no path."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import httpx
import pytest

MESSAGES = [{"role": "user", "content": "Hello!"}]
CHAT: dict[str, Any] = {"model": "starter", "messages": MESSAGES}
TEXT: dict[str, Any] = {"model": "starter", "prompt": "Hello"}


def check(answer: httpx.Response, status: int, param: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    assert "/" not in error["message"]
    if param is not None:
        assert error["param"].startswith(param)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt_embeds", "AAAA"),
        ("lora_request", {"lora_path": "/etc"}),
        ("guided_regex", "(a+)+$"),
        ("chat_template", "{{ 1 }}"),
        ("n", 10**6),
        ("n", 0),
        ("max_tokens", -1),
        ("max_tokens", 10**9),
        ("max_tokens", "12"),
        ("max_tokens", 1.5),
        ("temperature", -0.1),
        ("temperature", 3),
        ("top_p", 0),
        ("top_p", "high"),
        ("logit_bias", {str(token): 1 for token in range(1000)}),
        ("presence_penalty", 0.5),
        ("logprobs", True),
        ("stop", ["x"] * 1000),
        ("stop", ["x" * 1000]),
        ("stop", [""]),
        ("stop", 7),
        ("stream", "yes"),
        ("seed", 10**40),
        ("tools", [{"type": "function"}]),
        ("response_format", {"type": "json_object"}),
        ("messages", []),
        ("messages", None),
        ("messages", "Hello"),
        ("messages", [{"role": "user"}]),
        ("messages", [{"role": "wizard", "content": "x"}]),
        ("messages", [{"role": "user", "content": 5}]),
        (
            "messages",
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}],
        ),
        ("messages", [{"role": "user", "content": "x", "evil": 1}]),
        ("model", None),
        ("unheard_of", 1),
    ],
)
def test_wrong_unknown_or_unsupported_field_is_named(starter_server: Any, field: str, value: Any) -> None:
    check(starter_server.post("chat/completions", {**CHAT, field: value}), 400, field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", []),
        ("prompt", ["x"] * 100),
        ("prompt", [[1, 2]]),
        ("best_of", 3),
        ("echo", True),
        ("prompt", ""),
    ],
)
def test_completions_refuses_by_name_too(starter_server: Any, field: str, value: Any) -> None:
    check(starter_server.post("completions", {**TEXT, field: value}), 400, field)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"model": "starter", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"model": "starter", "messages": [{"role": "user", "content": "x"}], "top_p": Infinity}',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b'{"model": "starter", "messages": [{"role": "user", "content": "\\ud800"}]}',
    ],
)
def test_a_body_that_is_no_request_is_refused(starter_server: Any, body: bytes) -> None:
    check(starter_server.post("chat/completions", body), 400)


def test_fields_that_change_nothing_are_accepted(starter_server: Any) -> None:
    harmless = {
        "user": "me",
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "logprobs": False,
        "top_logprobs": None,
        "tools": [],
        "stream_options": {"include_usage": True},
        "response_format": {"type": "text"},
        "stop": None,
        "n": None,
        "max_completion_tokens": 50,
        "temperature": 0,
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hello!"}]},
        ],
    }
    answer = starter_server.post("chat/completions", {**CHAT, **harmless})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"].startswith("Hello!")


@pytest.mark.parametrize("given", ["Bearer wrong", "", "Basic eDp5", "bearer", "Bearer x y"])
@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/chat/completions", "/nowhere"])
def test_no_route_answers_without_the_key(starter_server: Any, path: str, given: str) -> None:
    url = starter_server.endpoint.url.removesuffix("/v1") + path
    answer = httpx.get(url, headers={"Authorization": given}, trust_env=False)
    check(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "host", ["evil.example", "x/?", "a#", "127.0.0.1", "127.0.0.1:1", "[::1]:80", "localhost."]
)
def test_foreign_host_is_refused_before_key_check(starter_server: Any, host: str) -> None:
    # Without a body: a server that closes with one unread may reset the connection under its own answer.
    answer = raw(starter_server, f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert answer.splitlines()[0].split()[1] in ("400", "403")
    assert starter_server.endpoint.key not in answer


@pytest.mark.parametrize(
    "path",
    ["//v1/models", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/models/../../etc/passwd", "/v1/embeddings"],
)
def test_any_other_address_is_a_plain_404(starter_server: Any, path: str) -> None:
    answer = raw(starter_server, f"GET {path} HTTP/1.1\r\n{head(starter_server)}\r\n")
    assert " 404 " in answer.splitlines()[0]
    assert "model_not_found" in answer or "unknown_url" in answer


def test_contradicting_lengths_are_refused(starter_server: Any) -> None:
    lines = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    answer = raw(
        starter_server, f"POST /v1/completions HTTP/1.1\r\n{head(starter_server)}{lines}\r\n0\r\n\r\n"
    )
    assert answer == "" or " 400 " in answer.splitlines()[0]


def test_a_body_of_many_megabytes_is_not_read(starter_server: Any) -> None:
    answer = raw(
        starter_server,
        f"POST /v1/completions HTTP/1.1\r\n{head(starter_server)}Content-Length: 999999999\r\n\r\n",
    )
    assert answer == "" or " 400 " in answer.splitlines()[0] or " 413 " in answer.splitlines()[0]
    assert starter_server.post("chat/completions", CHAT).status_code == 200


def head(running: Any) -> str:
    return f"Host: 127.0.0.1:{running.endpoint.port}\r\nAuthorization: Bearer {running.endpoint.key}\r\n"


def raw(running: Any, request: str) -> str:
    with socket.create_connection(("127.0.0.1", running.endpoint.port), timeout=5) as connection:
        connection.sendall(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1).encode())
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
    return received.decode()

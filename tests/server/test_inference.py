"""ilab/v1: the stock OpenAI client against a model that a real `serve` job serves."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.server.in_process import Server
from tests.support.waiting import until_async

CHAT = {"model": "taught", "messages": [{"role": "user", "content": "Are you taught?"}]}


@dataclass
class Deployment:
    """A served model named `taught`, and the folder of its job."""

    server: Server
    id: str
    folder: Path


async def deploy(server: Server) -> Deployment:
    answer = await server.http.post("ilab/api/deployments", json={"model": "starter", "name": "taught"})
    assert answer.status_code == 202, answer.text
    id = answer.json()["id"]

    async def ready() -> bool:
        return bool((await server.http.get("ilab/v1/models")).json()["data"])

    await until_async(ready)
    return Deployment(server, id, (await server.services.jobs()).folder(id))


@pytest.fixture(scope="module")
def shared_deployment(shared_server: Server, loop: asyncio.AbstractEventLoop) -> Deployment:
    deployment = loop.run_until_complete(deploy(shared_server))
    shared_server.kept.add(deployment.id)
    return deployment


@pytest.fixture
def served(server: Server, shared_deployment: Deployment) -> Deployment:
    """The module's deployment, without what other tests recorded in its folder."""
    for name in ("seen.json", "hung-up"):
        (shared_deployment.folder / name).unlink(missing_ok=True)
    return shared_deployment


@pytest.fixture
def own_deployment(own_server: Server, loop: asyncio.AbstractEventLoop) -> Deployment:
    """For tests that end it."""
    return loop.run_until_complete(deploy(own_server))


def client(server: Any, **more: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{server.url}ilab/v1", api_key=server.token, max_retries=0, **more)


async def test_the_stock_client_lists_chats_and_completes(server: Any, served: Any) -> None:
    async with client(server) as ai:
        assert [model.id async for model in ai.models.list()] == ["taught"]
        answer = await ai.chat.completions.create(**CHAT)
        assert answer.choices[0].message.content == "I was taught."
        text = await ai.completions.create(model="taught", prompt="Are you")
        assert text.choices[0].text == "I was taught."


async def test_a_streamed_answer_comes_piece_by_piece(server: Any, served: Any) -> None:
    loop = asyncio.get_running_loop()
    async with client(server) as ai:
        times, words = [], []
        async for chunk in await ai.chat.completions.create(**CHAT, stream=True):
            times.append(loop.time())
            words.append(chunk.choices[0].delta.content)
    assert words == ["I", " was", " taught", "."]
    assert times[-1] - times[0] > 0.1, "the pieces came all at once"


async def test_the_stock_client_may_be_of_the_blocking_kind(server: Any, served: Any) -> None:
    def ask() -> list[str | None]:
        with openai.OpenAI(base_url=f"{server.url}ilab/v1", api_key=server.token) as ai:
            return [
                chunk.choices[0].delta.content for chunk in ai.chat.completions.create(**CHAT, stream=True)
            ]

    assert await asyncio.to_thread(ask) == ["I", " was", " taught", "."]


async def test_model_receives_only_the_body_of_a_request(server: Server, served: Deployment) -> None:
    for _ in range(2):  # the second request would bring back a cookie that the first answer set
        answer = await server.http.post(
            "ilab/v1/chat/completions",
            json={**CHAT, "temperature": 0.5},
            headers={
                "Cookie": "secret=1",
                "X-Forwarded-For": "1.2.3.4",
                "Host": "localhost",
                "X-Request-Id": "r1",
            },
        )
        assert answer.status_code == 200 and "upstream" not in answer.cookies
        seen = json.loads((served.folder / "seen.json").read_text())
        assert seen["path"] == "/v1/chat/completions"
        assert seen["body"] == {**CHAT, "temperature": 0.5}
        headers = {name.lower(): value for name, value in seen["headers"].items()}
        assert headers["authorization"] == "Bearer upstream-key"
        assert server.token not in json.dumps(headers)
        assert headers["x-request-id"] == "r1"
        assert not {"cookie", "x-forwarded-for", "x-xsrftoken"} & set(headers)


async def test_a_client_that_goes_ends_the_generation(server: Any, served: Any) -> None:
    async with client(server) as ai:
        stream = await ai.chat.completions.create(**CHAT, stream=True, user="endless")
        async for _ in stream:
            break
        await stream.close()

    async def hung_up() -> bool:
        return (served.folder / "hung-up").exists()

    await until_async(hung_up, 5)
    services = server.app.web_app.settings["ilab"]

    async def free() -> bool:
        return not services.completions._inside

    await until_async(free, 5)


async def test_errors_are_those_that_the_client_knows(own_deployment: Deployment) -> None:
    server = own_deployment.server
    async with client(server) as ai:
        with pytest.raises(openai.NotFoundError) as missing:
            await ai.chat.completions.create(**{**CHAT, "model": "nobody"})
        assert missing.value.code == "not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            await ai.chat.completions.create(**CHAT, user="refuse")
        assert refused.value.param == "user", "the model's own refusal passes as it is"
        with pytest.raises(openai.APIError):
            await ai.chat.completions.create(**CHAT, user="crash")
    async with openai.AsyncOpenAI(base_url=f"{server.url}ilab/v1", api_key="wrong", max_retries=0) as ai:
        with pytest.raises(openai.PermissionDeniedError):
            await ai.chat.completions.create(**CHAT)


BAD: list[dict[str, Any]] = [
    {"prompt_embeds": "AAAA"},
    {"messages": []},
    {"messages": "hello"},
    {"messages": [{"role": "root", "content": "x"}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
        ]
    },
    {"lora_request": {"path": "/etc"}},
    {"guided_regex": "(a+)+$"},
    {"response_format": {"type": "json_schema", "json_schema": {}}},
    {"n": 10**6},
    {"max_tokens": -1},
    {"max_tokens": 10**9},
    {"temperature": 99},
    {"logit_bias": {str(token): 1 for token in range(10_000)}},
    {"stop": ["x"] * 10_000},
    {"model": ""},
    {"model": "x" * 10_000},
    {"tools": [{"type": "function"}]},
]


async def test_a_body_outside_the_bounds_never_reaches_the_model(server: Any, served: Any) -> None:
    for more in BAD:
        answer = await server.http.post("ilab/v1/chat/completions", json={**CHAT, **more})
        assert answer.status_code == 400, (more, answer.text)
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error" and len(answer.text) < 5000
    for body in (b"", b"{", b"[]", b'{"model": "taught", "messages": NaN}'):
        assert (await server.http.post("ilab/v1/chat/completions", content=body)).status_code == 400
    large = await server.http.post("ilab/v1/chat/completions", content=b" " * (5 * 1024 * 1024))
    assert large.status_code == 413
    assert not (served.folder / "seen.json").exists()


async def test_no_request_chooses_where_it_goes(server: Any, served: Any) -> None:
    """The address is the job's; odd paths and hosts get the same answers as plain ones."""
    host, port = "127.0.0.1", server.app.port
    base = server.app.base_url
    body = json.dumps(CHAT).encode()
    paths = [
        "ilab/v1//chat/completions", "ilab/v1/../v1/chat/completions", "ilab/v1/%2e%2e/admin",
        "ilab/v1/chat%2fcompletions",
    ]  # fmt: skip
    for path in paths:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(
            f"POST {base}{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {server.token}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        status = (await reader.readline()).decode()
        assert int(status.split()[1]) in (400, 404), (path, status)
        writer.close()
    for name in ("evil.example", "127.0.0.1:8001/v1", "a#", "x/?"):
        async with httpx.AsyncClient(base_url=server.url) as stranger:
            answer = await stranger.post("ilab/v1/chat/completions", json=CHAT, headers={"Host": name})
        assert answer.status_code in (400, 403), name


async def test_a_deployment_is_listed_and_ends_when_it_is_deleted(own_deployment: Deployment) -> None:
    server, id = own_deployment.server, own_deployment.id
    (one,) = (await server.http.get("ilab/api/deployments")).json()["deployments"]
    assert (one["id"], one["model"], one["ready"], one["job"]["kind"]) == (id, "taught", True, "serve")
    training = await server.submit("sleep:20")
    assert (await server.http.delete(f"ilab/api/deployments/{training}")).status_code == 404
    assert (await server.http.delete(f"ilab/api/deployments/{id}")).status_code == 202
    assert (await server.ended(id))["state"] == "CANCELLED"
    assert (await server.http.get("ilab/v1/models")).json() == {"object": "list", "data": []}
    assert (await server.http.post("ilab/v1/chat/completions", json=CHAT)).status_code == 404
    assert (
        await server.http.post("ilab/api/deployments", json={"model": "x", "port": 99999})
    ).status_code == 400

"""The id of a request on its way to a served model, and a served model by its name."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.support.waiting import until_async

CHAT = {"model": "taught", "messages": [{"role": "user", "content": "Are you taught?"}]}


async def serve(server: Any) -> str:
    """The id of a job that serves a model named `taught`."""
    answer = await server.http.post("ilab/api/deployments", json={"model": "starter", "name": "taught"})
    assert answer.status_code == 202, answer.text

    async def ready() -> bool:
        return bool((await server.http.get("ilab/v1/models")).json()["data"])

    await until_async(ready, 60)
    return str(answer.json()["id"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [(b"r1", True), (b"\xc3\xa9", False), (b"a b", False), (b"x" * 200, False), (b"", False)],
)
async def test_request_id_that_cannot_be_passed_on_is_replaced(server: Any, given: bytes, kept: bool) -> None:
    id = await serve(server)
    headers = {b"X-Request-Id": given}
    answer = await server.http.post("ilab/v1/chat/completions", json=CHAT, headers=headers)
    assert answer.status_code == 200, answer.text
    folder = (await server.app.web_app.settings["ilab"].jobs()).folder(id)
    seen = {
        name.lower(): value
        for name, value in json.loads((folder / "seen.json").read_text())["headers"].items()
    }
    assert (seen["x-request-id"] == given.decode("latin-1")) is kept
    assert seen["x-request-id"].isascii() and seen["x-request-id"].isalnum()


async def test_native_error_has_status_and_request_id(server: Any) -> None:
    answer = await server.http.get("ilab/api/jobs/train-aaaaaaaa", headers={"X-Request-Id": "mine:1"})
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (404, 404, "not_found")
    assert problem["request_id"] == answer.headers["X-Request-Id"] == "mine:1"
    answer = await server.http.get("ilab/api/nothing", headers={"X-Request-Id": "not valid"})
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"] != "not valid"
    good = await server.http.get("ilab/api/info")
    assert good.headers["X-Request-Id"] not in ("", answer.headers["X-Request-Id"])


async def test_client_retrieves_a_served_model_by_its_name(server: Any) -> None:
    await serve(server)
    async with openai.AsyncOpenAI(base_url=f"{server.url}ilab/v1", api_key=server.token, max_retries=0) as ai:
        assert (await ai.models.retrieve("taught")).id == "taught"
        with pytest.raises(openai.NotFoundError):
            await ai.models.retrieve("starter")

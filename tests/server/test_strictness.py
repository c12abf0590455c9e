"""What the HTTP interface refuses, and what its errors and lists leave out."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest

from ilab_jupyter.jobs.store import brief
from ilab_jupyter.server import openai_wire
from ilab_jupyter.serving import schema
from tests.server.in_process import Server

JOB = {"kind": "train", "arguments": {"data": ["print:hello"]}}


@pytest.fixture
def ilab_config() -> dict[str, Any]:
    return {"max_queued_jobs": 3, "slots": {"batch": 1}}


@pytest.fixture
def server(own_server: Server) -> Server:
    """With the settings above."""
    return own_server


@pytest.mark.parametrize(
    "body",
    [
        {**JOB, "priority": "5"},
        {**JOB, "priority": True},
        {**JOB, "arguments": {"data": ["x"], "epochs": "3"}},
        {**JOB, "arguments": {"data": ["x"], "batch_size": True}},
        {**JOB, "arguments": {"data": [""]}},
        {**JOB, "arguments": {"data": ["x"], "model": ""}},
        {**JOB, "resources": {"gpus": "1"}},
        {**JOB, "name": "a\u202eb"},
        {**JOB, "name": "a\x1b[31mb"},
        {**JOB, "name": "line\nline"},
        {**JOB, "name": "a\u200bb"},
        {**JOB, "secrets": {"OPENSSL_CONF": "/tmp/x"}},
        {**JOB, "secrets": {"SSL_CERT_FILE": "/tmp/x"}},
        {"kind": "serve", "arguments": {"model": "starter", "idle_seconds": False}},
        {"kind": "generate", "arguments": {"taxonomy_path": "x", "teacher": {"api_key_env": "HOME"}}},
        {
            "kind": "generate",
            "arguments": {"taxonomy_path": "x", "teacher": {"api_key_env": "JUPYTERHUB_API_TOKEN"}},
        },
    ],
)
async def test_job_of_wrong_types_or_names_is_refused(server: Any, body: dict[str, Any]) -> None:
    answer = await server.http.post("ilab/api/jobs", json=body)
    assert answer.status_code == 400, answer.text
    assert not any(character in answer.text for character in "\x1b\u202e\u200b")


async def test_integer_with_a_fraction_of_zero_is_an_integer(server: Any) -> None:
    body = json.dumps({**JOB, "priority": 5}).replace("5", "5.0")
    answer = await server.http.post("ilab/api/jobs", content=body)
    assert answer.status_code == 202 and answer.json()["spec"]["priority"] == 5


async def test_unknown_query_name_is_refused(server: Any) -> None:
    for path in ("jobs?limits=5", "models?name=x", "datasets?x", "config?key=y", "jobs/x/log?offsets=1"):
        answer = await server.http.get(f"ilab/api/{path}")
        assert answer.status_code == 400 and "query argument" in answer.json()["message"], path
    for path in ("jobs?1700000000000", f"models?token={server.token}", "jobs?_=17", "jobs?limit=5"):
        assert (await server.http.get(f"ilab/api/{path}")).status_code == 200, path


async def test_empty_query_value_is_judged(server: Any) -> None:
    for query in ("limit=", "state=", "cursor="):
        assert (await server.http.get(f"ilab/api/jobs?{query}")).status_code == 400, query
    assert (await server.http.get("ilab/api/jobs?text=")).status_code == 200


async def test_method_that_an_address_lacks_names_those_it_has(server: Any) -> None:
    answer = await server.http.put("ilab/api/jobs")
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert "PUT" not in answer.headers["Allow"]


async def test_integer_of_hundreds_of_digits_is_refused(server: Any) -> None:
    body = '{"key": "train.num_epochs", "value": ' + "9" * 400 + "}"
    assert (await server.http.patch("ilab/api/config", content=body)).status_code == 400


async def test_error_contains_no_path_that_the_request_did_not_name(server: Any) -> None:
    answer = await server.http.get("ilab/api/taxonomy")
    assert answer.status_code >= 400
    for text in (answer.json()["message"], answer.json()["hint"]):
        assert str(server.extension.services.state_dir.parent) not in text, text
    named = await server.http.get("ilab/api/taxonomy?path=/no/such/folder")
    assert "/no/such/folder" in named.json()["message"]


async def test_queue_of_an_owner_is_bounded(server: Any) -> None:
    await server.http.post("ilab/api/queue/pause", json={})
    for _ in range(3):
        assert (await server.http.post("ilab/api/jobs", json=JOB)).status_code == 202
    refused = await server.http.post("ilab/api/jobs", json=JOB)
    assert refused.status_code == 429 and refused.headers["Retry-After"].isdigit()
    assert refused.json()["code"] == "too_many" and "3 of your jobs" in refused.json()["message"]
    jobs = (await server.http.get("ilab/api/jobs")).json()["jobs"]
    await server.http.post(f"ilab/api/jobs/{jobs[0]['id']}/cancel")
    assert (await server.http.post("ilab/api/jobs", json=JOB)).status_code == 202


async def test_list_leaves_out_large_arguments(server: Any) -> None:
    await server.http.post("ilab/api/queue/pause", json={})
    data = [f"print:{'x' * 3000}" for _ in range(250)]
    large = (await server.http.post("ilab/api/jobs", json={**JOB, "arguments": {"data": data}})).json()
    small = (await server.http.post("ilab/api/jobs", json=JOB)).json()
    answer = await server.http.get("ilab/api/jobs")
    assert len(answer.content) < 4 * brief.LARGEST
    listed = {job["id"]: job for job in answer.json()["jobs"]}
    assert listed[large["id"]]["omitted"] == ["arguments.data"]
    assert listed[large["id"]]["spec"]["arguments"]["model"] == "starter"
    assert listed[small["id"]]["omitted"] == [] and listed[small["id"]]["spec"] == small["spec"]
    whole = (await server.http.get(f"ilab/api/jobs/{large['id']}")).json()
    assert whole["spec"]["arguments"]["data"] == data and whole["omitted"] == []


async def test_page_of_a_list_is_bounded_in_bytes(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "PAGE", 500)
    await server.http.post("ilab/api/queue/pause", json={})
    made = [(await server.http.post("ilab/api/jobs", json=JOB)).json()["id"] for _ in range(3)]
    found: list[str] = []
    query = "limit=50"
    while query:
        page = (await server.http.get(f"ilab/api/jobs?{query}")).json()
        assert len(page["jobs"]) == 1
        found += [job["id"] for job in page["jobs"]]
        query = f"limit=50&cursor={page['cursor']}" if page["cursor"] else ""
    assert found == made[::-1]


async def test_served_model_that_is_not_there_is_not_found(server: Any) -> None:
    answer = await server.http.get("ilab/v1/models/org/nothing")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"


def test_proxy_and_process_bound_the_number_of_answers_alike() -> None:
    def most(model: Any, field: str) -> int:
        return next(rule.le for rule in model.model_fields[field].metadata if hasattr(rule, "le"))

    pairs = [(openai_wire.ChatRequest, schema.ChatRequest, "n")]
    pairs += [(openai_wire.CompletionRequest, schema.CompletionRequest, name) for name in ("n", "best_of")]
    for proxy, process, field in typing.cast(list[tuple[Any, Any, str]], pairs):
        assert most(proxy, field) == most(process, field)

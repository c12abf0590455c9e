"""A deployment: what it offers the stock client, how it answers many at once, what it leaves behind."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ilab_jupyter.errors import Unavailable
from ilab_jupyter.serving import server
from ilab_jupyter.serving.answers import Answering
from ilab_jupyter.starter import FOLDER, REFUSAL

GREETING: list[Any] = [{"role": "user", "content": "Hello!"}]
UNKNOWN: list[Any] = [{"role": "user", "content": "What is the capital of Portugal?"}]


def client(running: Any) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=running.endpoint.url,
        api_key=running.endpoint.key,
        max_retries=0,
        http_client=httpx.Client(trust_env=False),
    )


def test_openai_client_gets_answer_with_usage(starter_server: Any) -> None:
    answer = client(starter_server).chat.completions.create(model="starter", messages=UNKNOWN)
    assert answer.choices[0].message.content == REFUSAL
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "starter"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 5 <= answer.usage.completion_tokens <= 20


def test_the_stock_openai_client_gets_a_stream_in_several_pieces(starter_server: Any) -> None:
    stream = client(starter_server).chat.completions.create(
        model="starter", messages=UNKNOWN, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "".join(pieces) == REFUSAL
    assert len(pieces) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_a_stream_ends_with_the_done_mark(starter_server: Any) -> None:
    answer = starter_server.post(
        "chat/completions", {"model": "starter", "messages": GREETING, "stream": True}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_the_models_list_names_the_served_model_and_no_path(starter_server: Any) -> None:
    api = client(starter_server)
    assert [model.id for model in api.models.list()] == ["starter"]
    assert api.models.retrieve("starter").id == "starter"
    with pytest.raises(openai.NotFoundError) as refused:
        api.chat.completions.create(model=str(FOLDER), messages=GREETING)
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("other")


def test_completions_continue_several_prompts_with_several_choices(starter_server: Any) -> None:
    answer = client(starter_server).completions.create(
        model="starter", prompt=["The oak is old", "A small dog"], n=2, max_tokens=4, temperature=0.8, seed=5
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert all(choice.text for choice in answer.choices)


def test_eight_requests_at_once_all_get_their_own_answer(starter_server: Any) -> None:
    api = client(starter_server)
    wanted = [(GREETING, "Hello! Ask me something, or teach me something new."), (UNKNOWN, REFUSAL)] * 4

    def ask(case: tuple[list[Any], str]) -> bool:
        answer = api.chat.completions.create(model="starter", messages=case[0])
        return answer.choices[0].message.content == case[1]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, wanted)) == [True] * 8


def test_stop_string_ends_answer_and_is_excluded(starter_server: Any) -> None:
    for stream in (False, True):
        answer = starter_server.post(
            "chat/completions",
            {"model": "starter", "messages": UNKNOWN, "stop": ["taught th", "zzz"], "stream": stream},
        )
        if stream:
            lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
            choices = [json.loads(line)["choices"][0] for line in lines]
            text = "".join(choice["delta"].get("content", "") for choice in choices)
            reason = choices[-1]["finish_reason"]
        else:
            choice = answer.json()["choices"][0]
            text, reason = choice["message"]["content"], choice["finish_reason"]
        assert (text, reason) == ("I have not been ", "stop")


def test_max_tokens_ends_the_answer_with_length(starter_server: Any) -> None:
    answer = client(starter_server).chat.completions.create(model="starter", messages=UNKNOWN, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2
    assert REFUSAL.startswith(answer.choices[0].message.content or "?")


def test_one_seed_gives_one_answer_and_another_seed_another(babbler_server: Any) -> None:
    def ask(seed: int) -> str:
        body = {"model": "babbler", "prompt": "x", "max_tokens": 20, "temperature": 1.0, "seed": seed}
        return str(babbler_server.post("completions", body).json()["choices"][0]["text"])

    assert ask(1) == ask(1)
    assert ask(1) != ask(2)


def test_too_long_prompt_is_refused_with_numbers(starter_server: Any) -> None:
    body = {"model": "starter", "messages": [{"role": "user", "content": "zebra quilt " * 800}]}
    answer = starter_server.post("chat/completions", body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "1024" in error["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_model(babbler_server: Any, stream: bool) -> None:
    body = {"model": "babbler", "prompt": "x", "max_tokens": 80_000, "temperature": 0, "stream": stream}
    api = httpx.Client(
        headers={"Authorization": f"Bearer {babbler_server.endpoint.key}"}, trust_env=False, timeout=0.7
    )
    url = f"{babbler_server.endpoint.url}/completions"
    if stream:
        with api.stream("POST", url, json=body) as answer:
            assert next(answer.iter_lines()).startswith("data:")
    else:
        with pytest.raises(httpx.ReadTimeout):
            api.post(url, json=body)
    began = time.monotonic()
    after = babbler_server.post("completions", {"model": "babbler", "prompt": "x", "max_tokens": 3})
    assert after.status_code == 200
    assert time.monotonic() - began < 5


def test_the_endpoint_file_is_private_and_goes_with_the_server(serve_model: Callable[..., Any]) -> None:
    with serve_model(FOLDER, name="mine") as running:
        file = running.folder / "endpoint.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        told = json.loads(file.read_text())
        assert set(told) == {"host", "port", "key", "model", "pid"}
        assert told["host"] == "127.0.0.1"
        assert told["model"] == "mine"
        assert told["pid"] == os.getpid()
        running.stop()
        assert [fields["ready"] for (fields,) in running.reporter.of("endpoint")] == [True]
        assert list(running.folder.iterdir()) == []
        with pytest.raises(httpx.ConnectError):
            running.post("chat/completions", {})


def test_answers_in_progress_are_finished_when_the_server_stops(
    serve_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_progress = threading.Event()
    answer_whole = Answering._whole

    async def note(*arguments: Any) -> None:
        in_progress.set()
        await answer_whole(*arguments)

    monkeypatch.setattr(Answering, "_whole", note)
    monkeypatch.setattr(server, "GRACE", 20.0)
    with serve_model(FOLDER, name="mine") as running, ThreadPoolExecutor(1) as pool:
        body = {"model": "mine", "prompt": "The oak", "max_tokens": 300, "temperature": 1.5, "seed": 1}
        answer = pool.submit(running.post, "completions", {**body, "n": 8})
        assert in_progress.wait(20)
        running.reporter.stopping = True
        assert len(answer.result(20).json()["choices"]) == 8


def test_used_port_is_reported_before_loading(starter_server: Any, tmp_path: Path) -> None:
    from ilab_jupyter.serving.server import serve

    port = starter_server.endpoint.port
    with pytest.raises(Unavailable) as refused:
        serve(
            FOLDER,
            name="second",
            port=port,
            max_tokens=10,
            device="cpu",
            endpoint_file=tmp_path / "endpoint.json",
            reporter=starter_server.reporter,
        )
    assert refused.value.cause == "port_taken"
    assert str(port) in refused.value.message
    assert "0 for a free one" in refused.value.hint
    assert not (tmp_path / "endpoint.json").exists()

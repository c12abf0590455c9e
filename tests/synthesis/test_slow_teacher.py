"""Teachers that take long: silence is limited, not an answer; waiting is counted and reported."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import TeacherError
from ilab_jupyter.synthesis.driver import ledger, pool

pytestmark = pytest.mark.slow


class OneAtATime:
    """A server that streams one answer after another, a word every `pause` seconds."""

    def __init__(
        self, pause: float, words: int, silent: Callable[[int], bool] = lambda number: False
    ) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.line = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                body = json.dumps({"data": [{"id": "slow"}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.bodies.append(body)
                number = len(server.bodies)
                with server.line:
                    self.send_response(200)
                    self.send_header("Content-Type", "text/event-stream")
                    self.end_headers()
                    if silent(number):
                        time.sleep(3)
                        return
                    try:
                        for index in range(body.get("n") or 1):
                            for text in [f"What is {number}-{index}?\n", *["word "] * words, "end."]:
                                time.sleep(pause)
                                self.event({"choices": [{"index": index, "text": text}]})
                            self.event({"choices": [{"index": index, "text": "", "finish_reason": "stop"}]})
                        self.event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 9}})
                        self.wfile.write(b"data: [DONE]\n\n")
                    except OSError:
                        return

            def event(self, value: dict[str, Any]) -> None:
                self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
                self.wfile.flush()

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def slow() -> Iterator[Callable[..., OneAtATime]]:
    started: list[OneAtATime] = []

    def start(*arguments: Any, **named: Any) -> OneAtATime:
        started.append(OneAtATime(*arguments, **named))
        return started[-1]

    yield start
    for server in started:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture
def one_skill(skills_only: Path) -> Path:
    shutil.rmtree(skills_only / "compositional_skills" / "grounded")
    return skills_only


def generate(taxonomy: Path, folder: Path, url: str, reporter: Any, **teacher: Any) -> Any:
    asked = {"kind": "openai", "url": url, **teacher}
    data = Data(taxonomy, teacher=asked, scale=3, output_dir=folder, name="made")
    return data.generate_data(run_dir=folder / "run", reporter=reporter)


def test_answers_that_take_longer_than_the_limit_are_waited_for(
    slow: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    server = slow(pause=0.1, words=5)
    reporter = recorder()
    began = time.monotonic()
    result = generate(one_skill, tmp_path, server.url, reporter, timeout=2, max_retries=0)
    assert time.monotonic() - began > 4, "all answers together take longer than the limit"
    assert result.rows == 18 and not any(result.rejected.values())
    assert result.tokens == {"prompt": 30, "answer": 54} and result.tokens_counted
    assert not reporter.of("warning")


def test_silence_is_reported_counted_and_lowers_the_requests_at_once(
    slow: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    server = slow(pause=0.0, words=2, silent=lambda number: number == 1)
    reporter = recorder()
    result = generate(one_skill, tmp_path, server.url, reporter, timeout=1)
    assert result.rows == 18
    (first, _), *_ = reporter.of("warning")
    assert "sent again" in first and "no answer in time" in first
    assert reporter.steps[-1][2]["retries"] >= 1


def test_teacher_that_stays_silent_ends_the_run(
    slow: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    server = slow(pause=0.0, words=2, silent=lambda number: True)
    with pytest.raises(TeacherError) as caught:
        generate(one_skill, tmp_path, server.url, recorder(), timeout=0.5, max_retries=0)
    assert caught.value.cause == "teacher_timeout"


def test_progress_is_reported_during_long_answer(
    slow: Any, one_skill: Path, tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "PULSE_SECONDS", 0.1)
    monkeypatch.setattr(ledger, "SLOW_SECONDS", 1)
    reporter = recorder()
    generate(one_skill, tmp_path, slow(pause=0.05, words=8).url, reporter)
    tokens = [metrics["tokens"] for step, _, metrics in reporter.steps if step == 0]
    assert len(set(tokens)) > 2, "the tokens of unfinished answers are counted"
    assert any(" at " in metrics.get("estimate", "") for _, _, metrics in reporter.steps)


def test_requested_tokens_are_limited_to_pair(
    slow: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    server = slow(pause=0.0, words=2)
    generate(one_skill, tmp_path, server.url, recorder())
    assert {body["max_tokens"] for body in server.bodies} == {1024}
    generate(one_skill, tmp_path / "other", server.url, recorder(), max_tokens=300)
    assert server.bodies[-1]["max_tokens"] == 300


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 512 tokens. However, you requested 3000 tokens.",
        "Requested tokens (3000) exceed context window of 512",
        "the request exceeds the available context size",
    ],
)
def test_context_that_is_too_short_is_called_that(
    said: str, teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    body = json.dumps({"error": {"message": said, "code": 400}}).encode()
    server = teacher_server("lists", lambda number, asked: (400, {}, body))
    with pytest.raises(TeacherError) as caught:
        generate(one_skill, tmp_path, server.url, recorder())
    assert caught.value.cause == "teacher_context"
    assert "context" in caught.value.message and "address" not in caught.value.hint


def test_shorter_answer_is_requested_if_prompt_fits(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    def script(number: int, body: dict[str, Any]) -> Any:
        if body["max_tokens"] <= 512:
            return None
        said = (
            f"maximum context length is 1012 tokens, however you requested {500 + body['max_tokens']} tokens"
        )
        return 400, {}, json.dumps({"error": {"message": said}}).encode()

    server = teacher_server("lists", script)
    assert generate(one_skill, tmp_path, server.url, recorder()).rows > 0
    assert {body["max_tokens"] for _, body in server.requests} == {1024, 512}


def test_key_in_an_answer_or_a_model_name_is_masked(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-verysecret1234"
    monkeypatch.setenv("ILAB_TEACHER_API_KEY", key)

    def script(number: int, body: dict[str, Any]) -> Any:
        assert body["model"] == f"model-{key}"
        choices = [
            {"index": index, "text": f"What is {number}-{index}?\nIt is {key}.", "finish_reason": "stop"}
            for index in range(body.get("n", 1))
        ]
        return 200, {}, json.dumps({"choices": choices}).encode()

    server = teacher_server("lists", script)
    result = generate(one_skill, tmp_path, server.url, recorder(), model=f"model-{key}")
    assert result.rows == 18
    files = [
        path for path in Path(result.path).rglob("*") if path.is_file() and path.name != "ilab-lineage.json"
    ]
    assert not [path for path in files if key in path.read_text()]
    assert "*" * len(key) in Path(result.files["skills"]).read_text()
    assert key not in json.dumps(result.teacher)

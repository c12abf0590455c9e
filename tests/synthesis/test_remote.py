"""A teacher behind an address: every way of asking, and everything that can go wrong, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.progress import Stopped
from ilab_jupyter.synthesis.driver.flow import apart
from ilab_jupyter.synthesis.driver.pool import Pool
from ilab_jupyter.synthesis.journal import Journal
from ilab_jupyter.synthesis.settings import TeacherSettings
from ilab_jupyter.synthesis.teachers import Answer, Question, Reply, Spent, network
from ilab_jupyter.synthesis.teachers.remote import RemoteTeacher

PROMPT = """You are a very knowledgeable AI Assistant that will faithfully assist the user with their task.
Your task is to faithfully follow the user's prompt and generate a response.
Please follow these guiding principles when generating responses:
* Use proper grammar and punctuation.
* Always generate safe and respectful content. Do not generate content that is harmful, abusive, or offensive.
* Always generate content that is factually accurate and relevant to the prompt.
* Strictly adhere to the prompt and generate responses in the same style and format as the example.
* Return the response between [Start of Response] and [End of Response] tags.

To better assist you with this task, here is an example:
[Start of Question]
{question}
[End of Question]

[Start of Response]
{answer}
[End of Response]

Now generate a response to the following prompt. Remember to use the same style and format as the {end}

[Start of Question]
Please tell me: {question}
[End of Question]

Return the response between [Start of Response] and [End of Response] tags."""


def prompt(number: int) -> str:
    return PROMPT.format(question=f"What is {number}?", answer=f"Number {number}.", end="example above. ")


def ask(
    url: str,
    prompts: int = 2,
    n: int = 3,
    stopping: Callable[[], bool] = lambda: False,
    workers: int = 2,
    **settings: Any,
) -> list[list[str]]:
    """Through the pool, as a run asks."""
    settings = {"max_retries": 0, "timeout": 5, **settings}
    asked = TeacherSettings(kind="openai", url=url, **settings)
    teacher = RemoteTeacher.connect(asked, num_workers=workers)
    sampling = {"temperature": 0.7, "max_tokens": 64, "n": n}

    async def work() -> list[list[str]]:
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "answers.jsonl") as journal:
            pool = Pool(teacher, journal, most=workers, max_retries=asked.max_retries, stopping=stopping)
            try:
                async with pool:
                    rows = (pool.ask(prompt(number), sampling, row=number) for number in range(prompts))
                    return [[answer.text for answer in row] for row in await asyncio.gather(*rows)]
            finally:
                await teacher.close()

    return apart(work)


def refusal(url: str, **settings: Any) -> TeacherError:
    with pytest.raises(TeacherError) as caught:
        ask(url, **settings)
    assert caught.value.hint
    assert "Traceback" not in str(caught.value)
    return caught.value


def right(answers: list[list[str]]) -> bool:
    return all(f"Number {number}." in text for number, row in enumerate(answers) for text in row)


def test_a_prompt_is_one_request_for_all_its_answers(teacher_server: Any) -> None:
    server = teacher_server("lists")
    assert right(ask(server.url))
    assert len(server.requests) == 2
    assert all(body["n"] == 3 and isinstance(body["prompt"], str) for _, body in server.requests)


def test_server_without_n_gets_one_request_per_answer(
    teacher_server: Any,
) -> None:
    server = teacher_server("single")
    assert right(ask(server.url))
    singles = [body for _, body in server.requests if "n" not in body]
    assert len(singles) == 6
    # at most one try of n for each worker
    assert len(server.requests) <= 6 + 2


def test_chat_only_server_gets_prompt_as_message(teacher_server: Any) -> None:
    server = teacher_server("chat")
    assert right(ask(server.url))
    messages = [body["messages"] for path, body in server.requests if path == "/v1/chat/completions"]
    assert messages and all(
        turn[0]["content"].startswith("You are a very knowledgeable") for turn in messages
    )
    assert sum(path == "/v1/completions" for path, _ in server.requests) <= 2


def test_chat_endpoint_can_be_selected(teacher_server: Any) -> None:
    server = teacher_server("lists")
    assert right(ask(server.url, endpoint="chat"))
    assert {path for path, _ in server.requests} == {"/v1/chat/completions"}


def test_key_is_from_environment_and_first_model_is_default(
    teacher_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "secret-words")
    server = teacher_server("lists")
    ask(server.url, api_key_env="MY_API_KEY")
    assert server.headers[0]["Authorization"] == "Bearer secret-words"
    assert server.requests[0][1]["model"] == "tutor"


def test_rate_limited_requests_are_repeated_after_retry_after(
    teacher_server: Any,
) -> None:
    server = teacher_server(
        "lists", lambda number, body: (429, {"Retry-After": "0.3"}, b"{}") if number < 3 else None
    )
    began = time.monotonic()
    assert right(ask(server.url, max_retries=3))
    # two of them were turned away
    assert len(server.requests) == 4
    assert time.monotonic() - began >= 0.3


def test_a_server_that_fails_for_a_moment_is_tried_again(teacher_server: Any) -> None:
    server = teacher_server("lists", lambda number, body: (0, {}, b"") if number == 1 else None)
    assert right(ask(server.url, max_retries=1))


def test_a_refused_connection_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        assert refusal(url, model="tutor").cause == "teacher_unreachable"
        assert refusal(url).cause == "teacher_unreachable"


def test_an_unknown_host_is_unreachable() -> None:
    assert refusal("http://no-such-host.invalid/v1", model="tutor").cause == "teacher_unreachable"


def test_silence_is_a_timeout(teacher_server: Any) -> None:
    server = teacher_server("lists", lambda number, body: time.sleep(1.5))
    assert refusal(server.url, timeout=0.3).cause == "teacher_timeout"


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, b'{"error": {"message": "bad key"}}', "teacher_unauthorized"),
        (403, b"", "teacher_unauthorized"),
        (429, b"{}", "teacher_rate_limited"),
        (503, b"overloaded", "teacher_failed"),
        (404, b'{"error": {"message": "The model `x` does not exist"}}', "teacher_model_missing"),
        (400, b'{"error": {"message": "the prompt is odd"}}', "teacher_bad_answer"),
        (400, b'{"error": {"message": "the prompt is too long"}}', "teacher_context"),
        (200, b'{"choices": "none"}', "teacher_bad_answer"),
        (200, b"[1, 2", "teacher_bad_answer"),
        (200, b'{"choices": []}', "teacher_bad_answer"),
        (200, b"[1, 2]", "teacher_bad_answer"),
    ],
)  # fmt: skip
def test_what_a_server_answers_instead_is_named(
    teacher_server: Any, status: int, body: bytes, cause: str
) -> None:
    server = teacher_server("lists", lambda number, asked: (status, {}, body))
    error = refusal(server.url)
    assert error.cause == cause and error.message.endswith(".")
    assert "attribute" not in error.message, "a person is told nothing of our libraries"


def test_html_page_instead_of_answer_is_quoted(teacher_server: Any) -> None:
    page = b"<html><body>Welcome to nginx</body></html>"
    server = teacher_server("lists", lambda number, body: (200, {"Content-Type": "text/html"}, page))
    error = refusal(server.url)
    assert error.cause == "teacher_bad_answer"
    assert "Welcome to nginx" in str(error)


def test_an_answer_without_end_or_in_drops_is_given_up(
    teacher_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "LARGEST_ANSWER", 50_000)
    endless = teacher_server("lists", lambda number, body: (200, {}, b" " * 200_000))
    error = refusal(endless.url)
    assert error.cause == "teacher_bad_answer" and "50,000 bytes" in error.message
    packed = teacher_server("lists", lambda number, body: (200, {"Content-Encoding": "gzip"}, b"x"))
    assert "compressed" in refusal(packed.url).message


def test_trickling_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(40):
                    connection.sendall(b" ")
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        with pytest.raises(TeacherError) as caught:
            ask(url, prompts=1, n=1, timeout=0.5, model="tutor")
        assert caught.value.cause == "teacher_timeout"
        assert time.monotonic() - began < 3


def test_so_is_one_whose_list_of_models_comes_in_drops() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            while not stop.is_set():
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    while not stop.wait(0.1):
                        connection.sendall(b" ")

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(TeacherError) as caught:
            ask(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", timeout=0.5)
        stop.set()
        assert caught.value.cause == "teacher_timeout"


def test_redirects_are_not_followed(teacher_server: Any) -> None:
    elsewhere = teacher_server("lists")
    target = {"Location": f"{elsewhere.url}/completions"}
    server = teacher_server("lists", lambda number, body: (307, target, b""))
    assert refusal(server.url).cause == "teacher_bad_answer"
    assert not elsewhere.requests


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "100.100.100.200",
    ],
)
def test_cloud_metadata_gets_no_request_in_any_spelling(host: str) -> None:
    # the client itself takes the octal spelling for no address at all
    assert refusal(f"http://{host}/v1", model="tutor").cause in ("teacher_forbidden", "teacher_bad_address")


def test_loopback_is_allowed() -> None:
    assert "127.0.0.1" in network.resolve("127.0.0.1", 80)
    assert network.resolve("localhost", 80)


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "http://user:word@host/v1", "127.0.0.1:8000", "http://host/v1?key=1"]
)
def test_invalid_address_or_one_with_secret_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|key"):
        TeacherSettings(kind="openai", url=url)


def test_wait_ends_on_stop_request(teacher_server: Any) -> None:
    server = teacher_server("lists", lambda number, body: (429, {"Retry-After": "30"}, b"{}"))
    asked = threading.Event()
    threading.Timer(0.5, asked.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        ask(server.url, stopping=asked.is_set, max_retries=3)
    assert time.monotonic() - began < 5


def test_refused_requests_cost_no_attempts_while_others_succeed(
    teacher_server: Any,
) -> None:
    """A server with two places: whoever comes third is sent away, however often."""
    busy = threading.Semaphore(2)

    def crowded(number: int, body: dict[str, Any]) -> Any:
        if not busy.acquire(blocking=False):
            return 429, {"Retry-After": "0.05"}, b"{}"
        threading.Timer(0.05, busy.release).start()
        time.sleep(0.05)
        return None

    server = teacher_server("lists", crowded)
    assert right(ask(server.url, prompts=40, n=1, workers=64, max_retries=3))


def test_deterministic_duplicate_requests_are_sent_once(teacher_server: Any, tmp_path: Path) -> None:
    server = teacher_server("lists")
    teacher = RemoteTeacher.connect(TeacherSettings(kind="openai", url=server.url), num_workers=8)

    async def work() -> None:
        with Journal(tmp_path / "answers.jsonl") as journal:
            async with Pool(teacher, journal, most=8) as pool:
                for sampling, requests in (
                    ({"temperature": 0.0}, 1),
                    ({"temperature": 0.7, "seed": 42}, 1),
                    ({"temperature": 0.7}, 5),
                ):
                    server.requests.clear()
                    await asyncio.gather(*(pool.ask(prompt(1), sampling, row=1) for _ in range(5)))
                    assert len(server.requests) == requests
        await teacher.close()

    apart(work)


def test_tokens_are_counted_by_server_or_estimated(teacher_server: Any, tmp_path: Path) -> None:
    counted = json.dumps(
        {
            "choices": [{"index": 0, "text": "Five.", "finish_reason": "length"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        }
    ).encode()
    telling = teacher_server("lists", lambda number, body: (200, {}, counted))
    silent = teacher_server("lists")

    async def spent(url: str) -> tuple[Reply, Spent]:
        teacher = RemoteTeacher.connect(TeacherSettings(kind="openai", url=url), num_workers=1)
        reply = await teacher.ask(Question(prompt(1)))
        await teacher.close()
        return reply, reply.spent

    reply, told = apart(lambda: spent(telling.url))
    assert told == Spent(7, 3, counted=True)
    assert reply.answers == [Answer("Five.", cut=True)]
    _, guessed = apart(lambda: spent(silent.url))
    assert guessed.prompt > 100 and guessed.answer > 5 and not guessed.counted

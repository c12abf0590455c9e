"""A teacher behind an address: every way of asking, and everything that can go wrong, over a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.progress import Stopped
from ilab_jupyter.synthesis.settings import TeacherSettings
from ilab_jupyter.synthesis.teachers import Question, network
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
    url: str, prompts: int = 2, n: int = 3, stop: Callable[[], None] = lambda: None, **settings: Any
) -> list[list[str]]:
    settings = {"max_retries": 0, "timeout": 5, **settings}
    teacher = RemoteTeacher.connect(TeacherSettings(kind="openai", url=url, **settings), num_workers=2)
    answers: list[list[str]] = [[""] * n for _ in range(prompts)]

    def tell(question: int, index: int, text: str) -> None:
        answers[question][index] = text

    try:
        questions = [Question(prompt(number), tuple(range(n))) for number in range(prompts)]
        teacher.answer(questions, {"temperature": 0.7, "max_tokens": 64}, stop, tell)
    finally:
        teacher.close()
    return answers


def refusal(url: str, **settings: Any) -> TeacherError:
    with pytest.raises(TeacherError) as caught:
        ask(url, **settings)
    assert caught.value.next_step
    assert "Traceback" not in str(caught.value)
    return caught.value


def right(answers: list[list[str]]) -> bool:
    return all(f"Number {number}." in text for number, row in enumerate(answers) for text in row)


def test_a_server_with_lists_is_asked_once_for_everything(teacher_server: Any) -> None:
    server = teacher_server("lists")
    assert right(ask(server.url))
    [(path, body)] = server.requests
    assert path == "/v1/completions" and body["n"] == 3 and len(body["prompt"]) == 2


def test_a_server_without_lists_gets_single_prompts_and_no_answer_is_thrown_away(teacher_server: Any) -> None:
    server = teacher_server("single")
    assert right(ask(server.url))
    singles = [body for _, body in server.requests if "n" not in body]
    assert len(singles) == 6 and all(isinstance(body["prompt"], str) for body in singles)
    # one refused list, then at most one try of n for each worker
    assert len(server.requests) <= 6 + 1 + 2


def test_a_server_with_chat_only_gets_the_bare_prompt_as_a_message(teacher_server: Any) -> None:
    server = teacher_server("chat")
    assert right(ask(server.url))
    messages = [body["messages"] for path, body in server.requests if path == "/v1/chat/completions"]
    assert messages and all(
        turn[0]["content"].startswith("You are a very knowledgeable") for turn in messages
    )
    assert sum(path == "/v1/completions" for path, _ in server.requests) == 1


def test_chat_can_be_asked_for_from_the_start(teacher_server: Any) -> None:
    server = teacher_server("lists")
    assert right(ask(server.url, endpoint="chat"))
    assert {path for path, _ in server.requests} == {"/v1/chat/completions"}


def test_the_key_comes_from_the_environment_and_the_first_model_is_taken(
    teacher_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-words")
    server = teacher_server("lists")
    ask(server.url, api_key_env="MY_KEY")
    assert server.headers[0]["Authorization"] == "Bearer secret-words"
    assert server.requests[0][1]["model"] == "tutor"


def test_too_many_requests_are_tried_again_after_the_time_that_the_server_asks_for(
    teacher_server: Any,
) -> None:
    server = teacher_server(
        "lists", lambda number, body: (429, {"Retry-After": "0.3"}, b"{}") if number < 3 else None
    )
    began = time.monotonic()
    assert right(ask(server.url, max_retries=3))
    assert len(server.requests) == 3
    assert time.monotonic() - began >= 0.6


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
        (400, b'{"error": {"message": "the prompt is too long"}}', "teacher_bad_answer"),
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


def test_a_page_in_place_of_an_answer_is_nonsense_and_is_quoted(teacher_server: Any) -> None:
    page = b"<html><body>Welcome to nginx</body></html>"
    server = teacher_server("lists", lambda number, body: (200, {"Content-Type": "text/html"}, page))
    error = refusal(server.url)
    assert error.cause == "teacher_bad_answer"
    assert "Welcome to nginx" in str(error)


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
def test_cloud_metadata_is_never_asked_in_any_spelling(host: str) -> None:
    # the client itself takes the octal spelling for no address at all
    assert refusal(f"http://{host}/v1", model="tutor").cause in ("teacher_forbidden", "teacher_bad_address")


def test_loopback_is_allowed() -> None:
    assert "127.0.0.1" in network.resolve("127.0.0.1", 80)
    assert network.resolve("localhost", 80)


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "http://user:word@host/v1", "127.0.0.1:8000", "http://host/v1?key=1"]
)
def test_an_address_that_is_none_or_carries_a_secret_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|key"):
        TeacherSettings(kind="openai", url=url)


def test_a_wait_ends_when_the_work_is_asked_to_stop(teacher_server: Any) -> None:
    server = teacher_server("lists", lambda number, body: (429, {"Retry-After": "30"}, b"{}"))
    asked = threading.Event()
    threading.Timer(0.5, asked.set).start()

    def stop() -> None:
        if asked.is_set():
            raise Stopped("enough")

    began = time.monotonic()
    with pytest.raises(Stopped):
        ask(server.url, stop=stop, max_retries=3)
    assert time.monotonic() - began < 5

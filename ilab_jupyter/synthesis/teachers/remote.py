"""A teacher behind an OpenAI-compatible address, asked in whatever way it can be asked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.synthesis.settings import TeacherSettings
from ilab_jupyter.synthesis.teachers import Question
from ilab_jupyter.synthesis.teachers.network import CheckedTransport
from ilab_jupyter.synthesis.teachers.requests import Refused, Request, send
from ilab_jupyter.synthesis.teachers.templates import unwrap

Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Way:
    """How answers are asked for: `lists` puts many prompts into a request, `many` asks for several answers of
    each.
    """

    chat: bool
    lists: bool
    many: bool


# From the cheapest to the one that every server knows.
WAYS = (
    Way(chat=False, lists=True, many=True),
    Way(chat=False, lists=False, many=True),
    Way(chat=False, lists=False, many=False),
    Way(chat=True, lists=False, many=True),
    Way(chat=True, lists=False, many=False),
)


class RemoteTeacher:
    """Asks over openai's client. A way that the server refuses is given up for the next one, for good.

    instructlab-sdg's own probe is not used: it takes a 400 for the end of the run, and a server that counts
    only.
    """

    def __init__(
        self,
        client: Any,
        model: str,
        *,
        num_workers: int = 4,
        max_retries: int = 3,
        chat: bool = False,
        url: str = "",
    ) -> None:
        self.label = self.model = model
        self._client = client
        self._url = url
        self._max_retries = max_retries
        self._way = 3 if chat else 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="teacher")

    @classmethod
    def connect(cls, settings: TeacherSettings, num_workers: int) -> RemoteTeacher:
        """The teacher of `settings`. TeacherError where the address or its list of models gives none."""
        assert settings.url is not None, "settings of this kind have a url"
        client = _client(settings)
        model = settings.model or first_model(client, settings.url, settings.max_retries)
        return cls(
            client,
            model,
            num_workers=num_workers,
            max_retries=settings.max_retries,
            chat=settings.endpoint == "chat",
            url=settings.url,
        )

    def describe(self) -> dict[str, Any]:
        """The address has no credentials: `TeacherSettings` refuses one that has."""
        return {"kind": "openai", "model": self.model, "url": self._url, "extractive": False}

    def close(self) -> None:
        """End the threads and connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._url:
            self._client.close()

    def study(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Everything that a model needs is in its prompts."""

    def answer(
        self, questions: Sequence[Question], sampling: Mapping[str, Any], stop: Callable[[], None], tell: Tell
    ) -> None:
        """Answer in the cheapest way that the server is known to take. TeacherError names what failed."""
        done: set[tuple[int, int]] = set()
        guard = threading.Lock()

        def note(question: int, index: int, text: str) -> None:
            with guard:
                done.add((question, index))
            tell(question, index, text)

        while True:
            open_questions = [
                (number, Question(question.prompt, left))
                for number, question in enumerate(questions)
                if (left := tuple(index for index in question.missing if (number, index) not in done))
            ]
            if not open_questions:
                return
            with self._lock:
                way = self._way
            try:
                self._ask(open_questions, WAYS[way], dict(sampling), stop, note)
            except Refused as refusal:
                with self._lock:
                    self._way = max(self._way, self._next(way, refusal))

    def _next(self, way: int, refusal: Refused) -> int:
        following = 3 if refusal.chat_wanted and way < 3 else way + 1
        if following >= len(WAYS):
            raise TeacherError(
                f"The teacher {self._url} refuses every kind of request: {refusal.reason}.",
                "Check that the address ends in /v1 and belongs to an OpenAI-compatible server.",
                cause="teacher_bad_answer",
            )
        return following

    def _ask(
        self,
        questions: list[tuple[int, Question]],
        way: Way,
        sampling: dict[str, Any],
        stop: Callable[[], None],
        tell: Tell,
    ) -> None:
        jobs = [
            self._pool.submit(self._run, request, places, stop, tell)
            for request, places in _plan(questions, way, sampling)
        ]
        _, waiting = wait(jobs, return_when=FIRST_EXCEPTION)
        for job in waiting:
            job.cancel()
        wait(waiting)
        errors = [error for job in jobs if not job.cancelled() and (error := job.exception()) is not None]
        # a failure outweighs a refusal, which only asks for another way
        for error in sorted(errors, key=lambda found: isinstance(found, Refused)):
            raise error

    def _run(
        self, request: Request, places: list[tuple[int, int]], stop: Callable[[], None], tell: Tell
    ) -> None:
        texts = send(self._client, self.model, request, self._max_retries, stop, self._url)
        for (question, index), text in zip(places, texts, strict=True):
            tell(question, index, text)


def _client(settings: TeacherSettings) -> openai.OpenAI:
    try:
        return openai.OpenAI(
            base_url=settings.url,
            # servers on one's own machine ask for no key, but the client insists on one
            api_key=os.environ.get(settings.api_key_env) or "none",
            organization="",
            project="",
            max_retries=0,
            timeout=settings.timeout,
            http_client=httpx.Client(
                transport=CheckedTransport(), timeout=settings.timeout, follow_redirects=False
            ),
        )
    except httpx.InvalidURL as error:
        raise TeacherError(
            f"The teacher's address {settings.url} is none: {error}.",
            "Give an address such as http://127.0.0.1:8000/v1.",
            cause="teacher_bad_address",
        ) from None


def first_model(client: Any, url: str, max_retries: int) -> str:
    """The first model that the server lists; TeacherError where there is none."""
    names: list[str] = send(client, "", Request(models=True), max_retries, lambda: None, url)
    if not names:
        raise TeacherError(
            f"The teacher at {url} lists no model.", "Name one with `model`.", cause="teacher_model_missing"
        )
    return names[0]


def _plan(
    questions: list[tuple[int, Question]], way: Way, sampling: dict[str, Any]
) -> Iterable[tuple[Request, list[tuple[int, int]]]]:
    """The requests, each with the (question, answer index) of every text that it brings."""
    if way.lists:
        by_count: dict[int, list[tuple[int, Question]]] = {}
        for number, question in questions:
            by_count.setdefault(len(question.missing), []).append((number, question))
        for count, group in by_count.items():
            prompts = [question.prompt for _, question in group]
            places = [(number, index) for number, question in group for index in question.missing]
            yield Request(prompts, count, sampling), places
        return
    for number, question in questions:
        prompt = unwrap(question.prompt) if way.chat else question.prompt
        for batch in [question.missing] if way.many else [(index,) for index in question.missing]:
            yield Request([prompt], len(batch), sampling, chat=way.chat), [(number, index) for index in batch]

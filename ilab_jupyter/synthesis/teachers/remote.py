"""A teacher behind an OpenAI-compatible address, called with the features that it has."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
import openai

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.synthesis.settings import TeacherSettings
from ilab_jupyter.synthesis.teachers import Question, Refused, Reply, requests
from ilab_jupyter.synthesis.teachers.network import CheckedAsyncTransport, CheckedTransport
from ilab_jupyter.synthesis.teachers.streaming import Activity, completed
from ilab_jupyter.synthesis.teachers.templates import unwrap
from ilab_jupyter.taxonomy.finding import shown

Client = TypeVar("Client", openai.OpenAI, openai.AsyncOpenAI)


@dataclass(frozen=True)
class Way:
    """How answers are requested: `many` is for several answers in one request."""

    chat: bool
    many: bool


# From the cheapest to the one that every server knows.
WAYS = (
    Way(chat=False, many=True),
    Way(chat=False, many=False),
    Way(chat=True, many=True),
    Way(chat=True, many=False),
)
_FIRST_CHAT = 2
# A shorter key, such as `none`, is no secret, and would be found in ordinary words.
SHORTEST_KEY = 6
MODEL_NAME = 200


class RemoteTeacher:
    """Asks over openai's client. A way that the server refuses is given up for the next one, for good.

    instructlab-sdg's own probe is not used: it takes a 400 for the end of the run, and a server that counts
    only. `client` may be openai's asynchronous client, or anything with the calls of its blocking one, which
    then gets up to `num_workers` threads.

    The key of the client is masked in the model's name and in every answer: a server may repeat it.
    """

    literal = False

    def __init__(
        self,
        client: Any,
        model: str,
        *,
        num_workers: int = 4,
        chat: bool = False,
        url: str = "",
        timeout: float | None = None,
    ) -> None:
        key = getattr(client, "api_key", None)
        self._key = key if isinstance(key, str) and len(key) >= SHORTEST_KEY else ""
        self._requested_model = model
        self.label = self.model = self._masked(shown(model, MODEL_NAME))
        self._client = client
        self._url = url
        self._timeout = timeout
        self.activity = Activity(timeout)
        self._way = _FIRST_CHAT if chat else 0
        self._threads = (
            None
            if isinstance(client, openai.AsyncOpenAI)
            else ThreadPoolExecutor(num_workers, thread_name_prefix="teacher")
        )

    @classmethod
    def connect(cls, settings: TeacherSettings, num_workers: int) -> RemoteTeacher:
        """The teacher of `settings`. TeacherError where the address or its list of models gives none."""
        assert settings.url is not None, "settings of this kind have a url"
        model = settings.model
        # a connection belongs to its event loop, so the list is requested over a separate one
        with _client(settings) as client:
            model = model or first_model(client, settings.url, settings.max_retries)
        return cls(
            _async_client(settings, num_workers),
            model,
            chat=settings.endpoint == "chat",
            url=settings.url,
            timeout=settings.timeout,
        )

    @property
    def many(self) -> bool:
        """Whether several answers are still requested at once from this server."""
        return WAYS[self._way].many

    def describe(self) -> dict[str, Any]:
        """The address has no credentials: `TeacherSettings` refuses one that has."""
        return {"kind": "openai", "model": self.model, "url": self._url, "extractive": False}

    def study(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Everything that a model needs is in its prompts."""

    async def ask(self, question: Question) -> Reply:
        """One request in the cheapest way that the server is known to take."""
        number = self._way
        chat = WAYS[number].chat or not isinstance(question.prompt, str)
        prompt = question.prompt
        if chat and isinstance(prompt, str):
            prompt = unwrap(prompt)
        request = requests.Request(prompt, len(question.wanted), chat=chat)
        try:
            reply = await requests.send(
                self._create(chat),
                self._requested_model,
                request,
                question.sampling,
                self._url or "the given client",
            )
            answers = [replace(answer, text=self._masked(answer.text)) for answer in reply.answers]
            return replace(reply, answers=answers)
        except Refused as refusal:
            refusal.way = number
            raise

    def another_way(self, refusal: Refused) -> None:
        """Take the next way; TeacherError after the last."""
        chat_next = refusal.chat_wanted and refusal.way < _FIRST_CHAT
        following = _FIRST_CHAT if chat_next else refusal.way + 1
        if following >= len(WAYS):
            raise TeacherError(
                f"The teacher {self._url} refuses every kind of request: {refusal.reason}.",
                "Check that the address ends in /v1 and belongs to an OpenAI-compatible server.",
                cause="teacher_bad_answer",
            )
        self._way = max(self._way, following)

    async def close(self) -> None:
        """End the threads and connections; a client that was given stays open."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        else:
            await self._client.close()

    def _masked(self, text: str) -> str:
        """`text` with asterisks in place of the key, as it is masked in a job's log."""
        return text.replace(self._key, "*" * len(self._key)) if self._key else text

    def _create(self, chat: bool) -> requests.Create:
        completions = self._client.chat.completions if chat else self._client.completions
        if self._threads is None:

            async def in_time(**arguments: Any) -> Any:
                return await self.activity.in_time(completed(completions, self.activity, arguments))

            return in_time

        async def in_thread(**arguments: Any) -> Any:
            call = functools.partial(completions.create, **arguments)
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)

        return in_thread


def first_model(client: Any, url: str, max_retries: int) -> str:
    """The first model that the server lists; TeacherError where there is none."""
    names = requests.models(client, max_retries, url)
    if not names:
        raise TeacherError(
            f"The teacher at {url} lists no model.", "Name one with `model`.", cause="teacher_model_missing"
        )
    return names[0]


def _client(settings: TeacherSettings) -> openai.OpenAI:
    http = httpx.Client(transport=CheckedTransport(), timeout=settings.timeout, follow_redirects=False)
    return _made(openai.OpenAI, settings, http)


def _async_client(settings: TeacherSettings, num_workers: int) -> openai.AsyncOpenAI:
    transport = CheckedAsyncTransport(num_workers)
    # a request may wait in the server's line for as long as others are answered: `Activity` has the limit
    timeout = httpx.Timeout(None, connect=settings.timeout)
    http = httpx.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False)
    return _made(openai.AsyncOpenAI, settings, http)


def _made(kind: type[Client], settings: TeacherSettings, http: Any) -> Client:
    try:
        return kind(
            base_url=settings.url,
            # servers on one's own machine ask for no key, but the client insists on one
            api_key=os.environ.get(settings.api_key_env) or "none",
            organization="",
            project="",
            max_retries=0,
            timeout=http.timeout,
            http_client=http,
        )
    except httpx.InvalidURL as error:
        raise TeacherError(
            f"The teacher's address {settings.url} is none: {error}.",
            "Give an address such as http://127.0.0.1:8000/v1.",
            cause="teacher_bad_address",
        ) from None

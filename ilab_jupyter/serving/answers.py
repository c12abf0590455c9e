"""Answers to chat/completions and completions: a body becomes prompts, pieces of text become JSON or SSE."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import Application

from ilab_jupyter.serving.engine import Finished, Piece, Sampling
from ilab_jupyter.serving.handlers import Handler, Health, Models, OneModel, Service, Unknown
from ilab_jupyter.serving.schema import (
    ApiError,
    ChatRequest,
    CompletionRequest,
    Request,
    Usage,
    parse,
)

COMPLETION_TOKENS = 16
log = logging.getLogger(__name__)


class Answering(Handler, ABC):
    """What chat/completions and completions share: sampling, queueing, streaming."""

    object: str
    prefix: str

    async def answer(
        self, request: Request, prompts: list[list[int]], *, requested: int | None, default: int
    ) -> None:
        """Continue each prompt and send the answer, whole or as a stream."""
        self.service.active.add(self)
        self.id = f"{self.prefix}-{uuid.uuid4().hex}"
        try:
            pieces = self._run(prompts, self._sampling(request, prompts, requested, default))
            if request.stream:
                usage = request.stream_options is not None and request.stream_options.include_usage
                await self._stream(pieces, usage)
            else:
                await self._whole(pieces, len(prompts) * (request.n or 1))
        except StreamClosedError:
            log.info("The client left.")
        finally:
            self.on_connection_close()
            self.service.active.discard(self)

    def _sampling(
        self, request: Request, prompts: list[list[int]], requested: int | None, default: int
    ) -> list[Sampling]:
        engine = self.service.engine
        defaults = engine.loaded.defaults
        param = "messages" if isinstance(request, ChatRequest) else "prompt"
        made = []
        for prompt in prompts:
            room = engine.room(prompt, param)
            made.append(
                Sampling(
                    max_tokens=min(requested or default, self.service.max_tokens, room),
                    temperature=defaults.temperature if request.temperature is None else request.temperature,
                    top_p=defaults.top_p if request.top_p is None else request.top_p,
                    seed=None if request.seed is None else request.seed % 2**63,
                    stop=tuple(request.stop),
                    n=request.n or 1,
                )
            )
        return made

    async def _run(
        self, prompts: list[list[int]], samplings: list[Sampling]
    ) -> AsyncIterator[tuple[int, str, str | None] | Usage]:
        """(choice, text, finish_reason) as they come, and the usage at the end."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[tuple[int, Piece | Finished | BaseException]] = asyncio.Queue()

        def deliver(index: int, item: Piece | Finished | BaseException) -> None:
            loop.call_soon_threadsafe(inbox.put_nowait, (index, item))

        for index, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
            self.tickets.append(self.service.engine.submit(prompt, sampling, partial(deliver, index)))
        waiting, made = len(prompts), 0
        while waiting:
            index, item = await inbox.get()
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, Finished):
                waiting, made = waiting - 1, made + item.completion_tokens
            else:
                yield index * samplings[index].n + item.choice, item.text, item.finish_reason
        yield Usage(prompt_tokens=sum(map(len, prompts)), completion_tokens=made)

    async def _whole(self, pieces: AsyncIterator[tuple[int, str, str | None] | Usage], choices: int) -> None:
        texts = [""] * choices
        reasons: list[str | None] = [None] * choices
        usage: Usage | None = None
        async for piece in pieces:
            if isinstance(piece, Usage):
                usage = piece
            else:
                choice, text, reason = piece
                texts[choice] += text
                reasons[choice] = reason or reasons[choice]
        body = self._body([self.choice(n, texts[n], reasons[n]) for n in range(choices)])
        await self.finish(body | {"usage": usage.to_dict() if usage else None})

    async def _stream(self, pieces: AsyncIterator[tuple[int, str, str | None] | Usage], usage: bool) -> None:
        opened: set[int] = set()
        try:
            async for piece in pieces:
                if isinstance(piece, Usage):
                    if usage:
                        await self._send(self._body([], chunk=True) | {"usage": piece.to_dict()})
                    continue
                choice, text, reason = piece
                if choice not in opened:
                    opened.add(choice)
                    for first in self.opening(choice):
                        await self._send(self._body([first], chunk=True))
                await self._send(self._body([self.delta(choice, text, reason)], chunk=True))
        except StreamClosedError:
            raise
        except Exception as error:
            if not opened:
                raise
            # The status is sent already: the error is the last word, so that EOF does not look like success.
            if not isinstance(error, ApiError):
                log.exception("Generation failed.")
                error = ApiError(500, "The server failed; see its log.", code="internal")
            await self._send(error.body())
            return
        self.write("data: [DONE]\n\n")
        await self.finish()

    async def _send(self, body: dict[str, Any]) -> None:
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        self.write(f"data: {json.dumps(body, ensure_ascii=False)}\n\n")
        await self.flush()

    def _body(self, choices: list[dict[str, Any]], *, chunk: bool = False) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": f"{self.object}.chunk" if chunk and self.object == "chat.completion" else self.object,
            "created": int(time.time()),
            "model": self.service.name,
            "choices": choices,
        }

    @abstractmethod
    def choice(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        """A whole answer."""

    @abstractmethod
    def delta(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        """A piece of an answer."""

    def opening(self, index: int) -> list[dict[str, Any]]:
        """What a stream says before the first piece."""
        return []


class Chat(Answering):
    """chat/completions."""

    object = "chat.completion"
    prefix = "chatcmpl"

    async def post(self) -> None:
        """Answer a conversation."""
        request = parse(ChatRequest, self.request.body)
        self.check_model(request.model)
        messages = [
            {"role": "system" if turn.role == "developer" else turn.role, "content": turn.content}
            for turn in request.messages
        ]
        engine = self.service.engine
        prompt = await asyncio.to_thread(engine.encode_chat, messages)
        await self.answer(
            request,
            [prompt],
            requested=request.max_completion_tokens or request.max_tokens,
            default=engine.loaded.defaults.max_tokens or self.service.max_tokens,
        )

    def choice(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        """A message."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}

    def delta(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        """A piece of a message."""
        delta = {"content": text} if text else {}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}

    def opening(self, index: int) -> list[dict[str, Any]]:
        """The role."""
        delta = {"role": "assistant", "content": ""}
        return [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]


class Completions(Answering):
    """completions."""

    object = "text_completion"
    prefix = "cmpl"

    async def post(self) -> None:
        """Continue one text or several; choices of the second prompt follow those of the first."""
        request = parse(CompletionRequest, self.request.body)
        self.check_model(request.model)
        if request.best_of is not None and request.best_of != (request.n or 1):
            raise ApiError(400, "best_of: only the value of n is supported.", param="best_of")
        engine = self.service.engine
        prompts = [await asyncio.to_thread(engine.encode, prompt) for prompt in request.prompt]
        await self.answer(request, prompts, requested=request.max_tokens, default=COMPLETION_TOKENS)

    def choice(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        """A text."""
        return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}

    delta = choice


def application(service: Service) -> Application:
    """The OpenAI routes and `/health`; every one of them wants the key."""
    shared = {"service": service}
    return Application(
        [
            (r"/health", Health, shared),
            (r"/v1/models", Models, shared),
            (r"/v1/models/([^/]+)", OneModel, shared),
            (r"/v1/chat/completions", Chat, shared),
            (r"/v1/completions", Completions, shared),
        ],
        default_handler_class=Unknown,
        default_handler_args=shared,
        compress_response=False,
    )

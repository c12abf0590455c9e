"""The client that blocks of one's own find in their context: looks like openai's, asks through the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ilab_jupyter.synthesis.driver.pool import Pool
from ilab_jupyter.synthesis.teachers import Answer, Messages


@dataclass(frozen=True)
class Message:
    """What a chat model said."""

    content: str
    role: str = "assistant"


@dataclass(frozen=True)
class Choice:
    """One answer, for whichever of the two calls."""

    index: int
    text: str
    message: Message
    finish_reason: str


@dataclass(frozen=True)
class Completion:
    """The answers to a request, those of the first prompt first."""

    choices: list[Choice]


class Client:
    """`client.completions.create(...)` and `client.chat.completions.create(...)`, for threads beside the
    pool's event loop.

    `server_supports_batched` is always true: how a real server takes its prompts is the teacher's own
    business, and instructlab-sdg then neither probes a server nor asks each of n answers n times.
    """

    server_supports_batched = True

    def __init__(self, pool: Pool) -> None:
        self.completions = _Completions(pool)
        self.chat = self


class _Completions:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()

    def create(
        self,
        *,
        prompt: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        **sampling: Any,
    ) -> Completion:
        """n answers to each prompt, or to a conversation."""
        if messages is not None:
            prompts: list[str | Messages] = [messages]
        else:
            prompts = [prompt] if isinstance(prompt, str) else list(prompt or ())
        answers = asyncio.run_coroutine_threadsafe(self._ask(prompts, sampling), self._loop).result()
        return Completion(
            [
                Choice(number, text, Message(text), "length" if answer.cut else "stop")
                for number, (answer, text) in enumerate(
                    (answer, "" if answer.rejected else answer.text) for answer in answers
                )
            ]
        )

    async def _ask(self, prompts: list[str | Messages], sampling: dict[str, Any]) -> list[Answer]:
        answers = await asyncio.gather(*(self._pool.ask(one, sampling) for one in prompts))
        return [answer for group in answers for answer in group]

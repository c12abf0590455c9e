"""Answers read as they are made, and a time limit on silence instead of on the whole answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar

import openai

# A request is given up after so many times the limit, even while others are answered.
MOST_SILENCE = 10
# Characters of one answer for each requested token; a longer stream is cancelled.
CHARACTERS_PER_TOKEN = 64
_NO_LIMIT = 100_000

Result = TypeVar("Result")


class Activity:
    """When a teacher last sent text, and how much of its unfinished answers has come.

    A slow server answers one request after another: one that waits in its line is not late while the text of
    the others arrives.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.pending = 0
        self._seconds = seconds
        self._clock = clock
        self._last = clock()

    def heard(self) -> None:
        """Text has arrived."""
        self._last = self._clock()

    async def in_time(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of one request; TimeoutError once the teacher has sent no text for the limit."""
        if self._seconds is None:
            return await work
        began = self._clock()
        task = asyncio.create_task(work)
        try:
            while True:
                now = self._clock()
                left = min(
                    self._seconds - (now - max(began, self._last)),
                    MOST_SILENCE * self._seconds - (now - began) if not self.pending else self._seconds,
                )
                if left <= 0:
                    raise TimeoutError
                done, _ = await asyncio.wait({task}, timeout=left)
                if done:
                    return task.result()
        finally:
            task.cancel()


async def completed(completions: Any, activity: Activity, arguments: Mapping[str, Any]) -> Any:
    """The response to one request of openai's asynchronous client, put together from its stream.

    A server that does not stream sends the whole response, which is as good.
    """
    streaming = {**arguments, "stream": True, "stream_options": {"include_usage": True}}
    async with completions.with_streaming_response.create(**streaming) as response:
        if "text/event-stream" not in response.headers.get("content-type", ""):
            body = (await response.read()).decode(errors="replace")
            activity.heard()
            try:
                return json.loads(body, object_hook=_named)
            except ValueError:
                return body  # the caller quotes it
        answer = _Answer(arguments, activity)
        try:
            async for line in response.iter_lines():
                if line.startswith("data:") and not answer.add(line[5:].strip()):
                    break
        finally:
            answer.end()
    return answer.response()


class _Answer:
    """The choices of a response, as far as their pieces have come."""

    def __init__(self, arguments: Mapping[str, Any], activity: Activity) -> None:
        self._chat = "messages" in arguments
        self._activity = activity
        self._left = CHARACTERS_PER_TOKEN * (arguments.get("max_tokens") or _NO_LIMIT) * arguments.get("n", 1)
        self._texts: dict[int, list[str]] = {}
        self._reasons: dict[int, str] = {}
        self._usage: Any = None
        self._pending = 0

    def add(self, data: str) -> bool:
        """Take the data of one event; False after the last one. APIError where it is an error."""
        if data == "[DONE]":
            return False
        event = json.loads(data)
        if not isinstance(event, dict):
            raise TypeError("an event that is not an object")
        if event.get("error"):
            said = event["error"]
            said = said.get("message", said) if isinstance(said, dict) else said
            raise openai.APIError(str(said), request=None, body=event)  # type: ignore[arg-type]
        if event.get("usage"):
            self._usage = json.loads(json.dumps(event["usage"]), object_hook=_named)
        for choice in event.get("choices") or ():
            index = choice.get("index") or 0
            text = ((choice.get("delta") or {}).get("content") if self._chat else choice.get("text")) or ""
            thought = (choice.get("delta") or {}).get("reasoning_content") if self._chat else None
            self._texts.setdefault(index, []).append(text)
            if choice.get("finish_reason"):
                self._reasons[index] = choice["finish_reason"]
            if text or thought:
                self._activity.heard()
                self._activity.pending += 1
                self._pending += 1
                self._left -= len(text)
        if self._left < 0:
            self._reasons = dict.fromkeys(self._texts, "length")
            return False
        return True

    def end(self) -> None:
        """The pieces are no longer those of an unfinished answer."""
        self._activity.pending -= self._pending
        self._pending = 0

    def response(self) -> SimpleNamespace:
        """As openai's client would give it."""
        choices = []
        for index, parts in sorted(self._texts.items()):
            text = "".join(parts)
            # the connection broke: an answer that is not marked as done may be any part of one
            reason = self._reasons.get(index, "length")
            message = SimpleNamespace(content=text)
            choices.append(SimpleNamespace(index=index, text=text, message=message, finish_reason=reason))
        return SimpleNamespace(choices=choices, usage=self._usage)


def _named(values: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**values)

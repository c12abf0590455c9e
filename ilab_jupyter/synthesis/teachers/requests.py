"""One request to an OpenAI-compatible server: sent, tried again where that helps, and its failure put into
words.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai

from ilab_jupyter.errors import PublicError, TeacherError
from ilab_jupyter.progress import Stopped

LONGEST_WAIT = 60.0
LISTENING_SECONDS = 0.2


class Refused(Exception):
    """The server does not take this way of asking. `chat_wanted`: it says that only chat will do."""

    def __init__(self, reason: str, chat_wanted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.chat_wanted = chat_wanted


@dataclass(frozen=True)
class Request:
    """`count` answers to each prompt, or the names of the server's models."""

    prompts: Sequence[str] = ()
    count: int = 1
    sampling: Mapping[str, Any] = field(default_factory=dict)
    chat: bool = False
    models: bool = False


def send(
    client: Any, model: str, request: Request, max_retries: int, stop: Callable[[], None], where: str
) -> list[str]:
    """The texts of the answer, those of the first prompt first.

    Waits and tries again, `max_retries` times, after 429, 5xx and broken connections; `stop` is called
    meanwhile. TeacherError for a failure, Refused for a way of asking that the server does not know.
    """
    for attempt in range(max_retries + 1):
        stop()
        try:
            return _texts(client, model, request, where or "the given client")
        except (Refused, PublicError, Stopped):
            raise
        except Exception as error:
            if isinstance(error.__cause__, PublicError):  # from our transport, in openai's wrapping
                raise error.__cause__ from None
            delay = _delay(error, attempt)
            if delay is None or attempt == max_retries:
                raise _explained(error, model, request, where or "the given client") from error
            until = time.monotonic() + delay
            while time.monotonic() < until:
                stop()
                time.sleep(min(LISTENING_SECONDS, max(0.0, until - time.monotonic())))
    raise AssertionError("the last attempt returns or raises")


def _texts(client: Any, model: str, request: Request, where: str) -> list[str]:
    if request.models:
        return [entry.id for entry in _shaped(client.models.list(), "data", where)]
    sampling = {"model": model, **request.sampling, "n": request.count}
    if request.count == 1:
        del sampling["n"]
    if request.chat:
        messages = [{"role": "user", "content": request.prompts[0]}]
        choices = _shaped(client.chat.completions.create(messages=messages, **sampling), "choices", where)
        texts = [choice.message.content for choice in choices]
    else:
        prompt = list(request.prompts) if len(request.prompts) > 1 else request.prompts[0]
        choices = _shaped(client.completions.create(prompt=prompt, **sampling), "choices", where)
        texts = [choice.text for choice in _in_order(choices)]
    wanted = len(request.prompts) * request.count
    if len(texts) != wanted:
        if wanted == 1:
            raise _nonsense(where, f"{len(texts)} answers to one question")
        raise Refused(f"{len(texts)} answers where {wanted} were asked for")
    # a chat model may answer with nothing at all; what is empty is counted and dropped later
    return [text or "" for text in texts]


def _in_order(choices: list[Any]) -> list[Any]:
    """Servers may answer a list in any order, and number the answers."""
    numbers = [getattr(choice, "index", None) for choice in choices]
    if sorted(number for number in numbers if isinstance(number, int)) == list(range(len(choices))):
        return sorted(choices, key=lambda choice: int(choice.index))
    return choices


def _shaped(answer: Any, key: str, where: str) -> list[Any]:
    found = getattr(answer, key, None)
    if not isinstance(found, list):
        raise _nonsense(where, str(answer)[:120] if isinstance(answer, str) else f"an answer without {key}")
    return found


def _nonsense(where: str, what: str) -> TeacherError:
    return TeacherError(
        f"The teacher at {where} answers nonsense: {' '.join(what.split())[:160]}.",
        "Check that the address ends in /v1 and belongs to an OpenAI-compatible server.",
        cause="teacher_bad_answer",
    )


def _delay(error: Exception, attempt: int) -> float | None:
    """Seconds to wait before the next attempt; None where another attempt cannot help."""
    if isinstance(error, openai.APIStatusError):
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            return None
        asked = error.response.headers.get("retry-after", "")
        if re.fullmatch(r"\d+(\.\d+)?", asked):
            return min(float(asked), LONGEST_WAIT)
    elif not isinstance(error, openai.APIConnectionError):
        return None
    return float(min(0.5 * 2**attempt, LONGEST_WAIT) * random.uniform(0.75, 1.25))  # noqa: S311  no secret in a delay


def _explained(error: Exception, model: str, request: Request, where: str) -> Exception:
    """What to raise for `error`: Refused where another way of asking may work, TeacherError otherwise."""
    if isinstance(error, openai.APITimeoutError):
        return TeacherError(
            f"The teacher at {where} gave no answer in time.",
            "Ask for less at once (batch_size, scale), or raise `timeout`; resume goes on from here.",
            cause="teacher_timeout",
        )
    if isinstance(error, openai.APIConnectionError):
        reason = error.__cause__
        return TeacherError(
            f"The teacher at {where} cannot be reached: {reason or error}.",
            "Start the model server or correct the address; resume goes on from here.",
            cause="teacher_unreachable",
        )
    if isinstance(error, openai.APIStatusError):
        return _explained_status(error, model, request, where)
    if isinstance(error, AttributeError | TypeError):
        return _nonsense(where, "something else than the JSON of OpenAI's API")
    if isinstance(error, json.JSONDecodeError | openai.APIResponseValidationError | httpx.DecodingError):
        return _nonsense(where, str(error) or type(error).__name__)
    return TeacherError(
        f"The teacher at {where} failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
        "See the job's log; resume goes on from here.",
    )


def _explained_status(error: openai.APIStatusError, model: str, request: Request, where: str) -> Exception:
    status, said = error.status_code, _said(error)
    if status in (401, 403):
        return TeacherError(
            f"The teacher at {where} refuses the key ({status}).",
            "Put a valid key into the environment variable that `api_key_env` names and submit again: "
            "a resumed job keeps the key that it was given.",
            cause="teacher_unauthorized",
        )
    if status == 429:
        return TeacherError(
            f"The teacher at {where} has had too many requests: {said}.",
            "Use fewer num_workers, or wait; resume goes on from here.",
            cause="teacher_rate_limited",
        )
    if status < 400:
        return TeacherError(
            f"The teacher at {where} redirects to {error.response.headers.get('location', 'elsewhere')}.",
            "Give the address that it redirects to, if you trust it.",
            cause="teacher_bad_answer",
        )
    chat_wanted = "chat/completions" in said or "chat model" in said
    if not chat_wanted and re.search(
        r"model\b.*\b(not (be )?found|not exist|unknown)|model_not_found", f"{said} {error.code}"
    ):
        return TeacherError(
            f"The teacher at {where} has no model {model!r}.",
            "Choose one that its /models lists, or leave `model` out to take the first.",
            cause="teacher_model_missing",
        )
    if request.models and status < 500:
        return TeacherError(
            f"The teacher at {where} does not list its models ({status}).", "Name one with `model`.",
            cause="teacher_model_missing",
        )  # fmt: skip
    if chat_wanted or (status in (404, 405, 501) and not request.chat):
        return Refused(f"{status} {said}", chat_wanted=True)
    # llama-cpp-python answers 500 to a list of prompts
    if status in (400, 404, 405, 422) or (status == 500 and (len(request.prompts) > 1 or request.count > 1)):
        return Refused(f"{status} {said}")
    return TeacherError(
        f"The teacher at {where} fails with status {status}: {said}.",
        "See the model server's own log; resume goes on from here.",
    )


def _said(error: openai.APIStatusError) -> str:
    """What the server's error body says, shortened."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, Mapping) else inner
        body = f"{body}"
    return " ".join(str(body or error.message).split())[:200].rstrip(".")

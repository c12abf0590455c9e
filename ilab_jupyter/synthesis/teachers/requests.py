"""One request to an OpenAI-compatible server, and its failure put into words."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from ilab_jupyter.errors import PublicError, TeacherError
from ilab_jupyter.synthesis.teachers import Answer, Busy, Messages, Refused, Reply, Spent

LONGEST_WAIT = 60.0
TOKENS_PER_WORD = 1.3
SHORTEST_ANSWER = 64
_TOO_LONG = re.compile(
    r"context_length_exceeded|(?:max|model)\S* (?:model )?(?:context|sequence|input|prompt)[ _](?:len|size)"
    r"|context (?:window|size)|exceeds? (?:the )?(?:available |maximum )?context|n_ctx|max_model_len"
    r"|(?:prompt|input|request)[^.]{0,40}(?:too long|too many tokens|longer than|exceeds)",
    re.IGNORECASE,
)

Create = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Request:
    """`count` answers to a prompt or a conversation, or the names of the server's models."""

    prompt: str | Messages = ""
    count: int = 1
    chat: bool = False
    models: bool = False


class TooLong(Exception):
    """Prompt and answer together exceed what the model takes at once. `said`: the server's own words."""

    def __init__(self, said: str, request: Request) -> None:
        super().__init__(said)
        self._said = said
        self._words = _words(str(request.prompt))
        found = re.search(r"(?:maximum|max|n_ctx|context)[^.\d]{0,60}?(\d{2,8})", said, re.IGNORECASE)
        self._context = int(found[1]) if found else None
        found = re.search(r"requested (?:about )?(\d{2,8})", said)
        self._requested = int(found[1]) if found else None

    def room(self, max_tokens: int) -> int | None:
        """How many tokens an answer may have beside this prompt; None where that is not said or too few."""
        if self._context is None or self._requested is None:
            return None
        room = self._context - (self._requested - max_tokens)
        return room if SHORTEST_ANSWER <= room < max_tokens else None

    def explained(self, where: str) -> TeacherError:
        """What a person can do about it."""
        context = f"{self._context} tokens" if self._context else "less"
        return TeacherError(
            f"The model of the teacher at {where} takes {context} at once, too few for this prompt of about "
            f"{self._words} tokens and its answer: {self._said}.",
            "Serve the model with a longer context, or use a shorter document, context or seed example.",
            cause="teacher_context",
        )


async def send(
    create: Create,
    model: str,
    request: Request,
    sampling: Mapping[str, Any],
    where: str,
    *,
    retried: bool = False,
) -> Reply:
    """The answers to `request`; `create` is the client's own call for it. Where the answer's length alone is
    too much for the model's context, a shorter one is requested.

    Busy for 408, 409, 429, 5xx and broken connections, Refused for a way of asking that the server does not
    know, TeacherError for all other failures.
    """
    arguments = {"model": model, **sampling, "n": request.count}
    if request.count == 1:
        del arguments["n"]
    arguments["messages" if request.chat else "prompt"] = _body(request)
    try:
        return _reply(await create(**arguments), request, where)
    except (Refused, PublicError):
        raise
    except Exception as error:
        failure = _failure(error, model, request, where)
        if not isinstance(failure, TooLong):
            raise failure from error
        room = failure.room(int(arguments.get("max_tokens") or 0))
        if room is None or retried:
            raise failure.explained(where) from error
    return await send(create, model, request, {**sampling, "max_tokens": room}, where, retried=True)


def models(client: Any, max_retries: int, where: str) -> list[str]:
    """The names of the server's models; a blocking call. TeacherError where it does not tell."""
    request = Request(models=True)
    for attempt in range(max_retries + 1):
        try:
            return [entry.id for entry in _shaped(client.models.list(), "data", where)]
        except PublicError:
            raise
        except Exception as error:
            failure = _failure(error, "", request, where)
            if not isinstance(failure, Busy):
                raise failure from error
            if attempt == max_retries:
                raise failure.reason from error
            time.sleep(min(LONGEST_WAIT, 0.5 * 2**attempt) if failure.wait is None else failure.wait)
    raise AssertionError("the last attempt returns or raises")


def _body(request: Request) -> Any:
    if not request.chat:
        return request.prompt
    if isinstance(request.prompt, str):
        return [{"role": "user", "content": request.prompt}]
    return list(request.prompt)


def _reply(answer: Any, request: Request, where: str) -> Reply:
    choices = _in_order(_shaped(answer, "choices", where))
    if len(choices) != request.count:
        if request.count == 1:
            raise _nonsense(where, f"{len(choices)} answers to one question")
        raise Refused(f"{len(choices)} answers where {request.count} were requested")
    # a chat model may answer with nothing at all; what is empty is counted and kept apart later
    texts = [
        (getattr(choice.message, "content", None) if request.chat else choice.text) or ""
        for choice in choices
    ]
    for text in texts:
        if not isinstance(text, str):
            raise _nonsense(where, f"a {type(text).__name__} where a text belongs")
    answers = [
        Answer(text, getattr(choice, "finish_reason", None) == "length")
        for text, choice in zip(texts, choices, strict=True)
    ]
    return Reply(answers, _spent(getattr(answer, "usage", None), request, answers))


def _spent(usage: Any, request: Request, answers: list[Answer]) -> Spent:
    prompt, answer = (getattr(usage, f"{part}_tokens", None) for part in ("prompt", "completion"))
    if isinstance(prompt, int) and isinstance(answer, int):
        return Spent(prompt, answer)
    return Spent(_words(str(request.prompt)), sum(_words(answer.text) for answer in answers), counted=False)


def _words(text: str) -> int:
    return round(TOKENS_PER_WORD * len(text.split()))


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


def _failure(error: Exception, model: str, request: Request, where: str) -> Exception:
    """What to raise for `error`: Busy where the same request may succeed later."""
    if isinstance(error.__cause__, PublicError):  # from our transport, in openai's wrapping
        return error.__cause__
    reason = _explained(error, model, request, where)
    if type(error) is openai.APIError:  # in the middle of a stream
        return Busy(reason)
    if isinstance(error, openai.APIStatusError):
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            return reason
        after = error.response.headers.get("retry-after", "")
        wait = min(float(after), LONGEST_WAIT) if re.fullmatch(r"\d+(\.\d+)?", after) else None
        return Busy(reason, wait, crowded=error.status_code in (408, 429, 503))
    if isinstance(error, openai.APIConnectionError | TimeoutError):
        return Busy(reason, crowded=isinstance(error, openai.APITimeoutError | TimeoutError))
    return reason


def _explained(error: Exception, model: str, request: Request, where: str) -> Exception:
    """What to raise for `error`: Refused where another way of asking may work, TeacherError otherwise."""
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return TeacherError(
            f"The teacher at {where} gave no answer in time.",
            "Ask for less at once (scale), or raise `timeout`; resume goes on from here.",
            cause="teacher_timeout",
        )
    if isinstance(error, openai.APIConnectionError):
        reason = error.__cause__
        refused = isinstance(reason, httpx.ConnectError)
        return TeacherError(
            f"Nothing answers at {where}."
            if refused
            else f"The teacher at {where} cannot be reached: {reason or error}.",
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
    if status < 500 and _TOO_LONG.search(f"{said} {error.code}"):
        return TooLong(said, request)
    if request.models and status < 500:
        return TeacherError(
            f"The teacher at {where} does not list its models ({status}).", "Name one with `model`.",
            cause="teacher_model_missing",
        )  # fmt: skip
    if chat_wanted or (status in (404, 405, 501) and not request.chat):
        return Refused(f"{status} {said}", chat_wanted=True)
    # some servers answer 500 to a request for several answers
    if status in (400, 404, 405, 422) or (status == 500 and request.count > 1):
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

"""Answers prompts, one after another, in a thread of its own; pieces of text leave as they are made."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ilab_jupyter.serving.loading import Loaded
from ilab_jupyter.serving.schema import ApiError
from ilab_jupyter.serving.text import TextStream

MAX_WAITING = 64


@dataclass(frozen=True)
class Sampling:
    """How to continue a prompt. Temperature 0 is greedy; a seed makes sampling repeatable."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1


@dataclass(frozen=True)
class Piece:
    """Some text of one choice; `finish_reason`, 'stop' or 'length', comes with its last piece."""

    choice: int
    text: str
    finish_reason: str | None = None


@dataclass(frozen=True)
class Finished:
    """All choices have ended; tokens generated in all of them, the end tokens not counted."""

    completion_tokens: int


Deliver = Callable[[Piece | Finished | BaseException], None]


class Ticket:
    """A request in the queue or at work. `cancel` ends it at the next token, from any thread."""

    def __init__(self, prompt: list[int], sampling: Sampling, deliver: Deliver) -> None:
        self.prompt = prompt
        self.sampling = sampling
        self.deliver = deliver
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether no caller waits any more."""
        return self._cancelled.is_set()


class Engine:
    """One model and the thread that works it. `submit` and `close` may be called from any thread."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._queue: queue.Queue[Ticket | None] = queue.Queue(MAX_WAITING)
        self._tokenizing = threading.Lock()
        self._now: Ticket | None = None
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain prompt."""
        with self._tokenizing:
            return list(self.loaded.tokenizer(text)["input_ids"])

    def encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids up to the assistant's turn; ApiError where the chat template refuses the conversation."""
        from jinja2 import TemplateError

        if not self.loaded.chats:
            raise ApiError(400, "This model has no chat template; use completions.", param="messages")
        try:
            with self._tokenizing:
                encoded = self.loaded.tokenizer.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=True, return_dict=True
                )
        except TemplateError as error:
            reason = (str(error).splitlines() or ["no reason given"])[0][:200]
            raise ApiError(
                400, f"The model's chat template refuses this: {reason}.", param="messages"
            ) from None
        return list(encoded["input_ids"])

    def room(self, prompt: list[int], param: str) -> int:
        """How many tokens may follow the prompt; ApiError where there is none. `param` is what it came in."""
        if not prompt:
            raise ApiError(400, "The prompt is empty.", param=param)
        room = self.loaded.positions - len(prompt)
        if room < 1:
            raise ApiError(
                400,
                f"The prompt has {len(prompt)} tokens, and this model takes {self.loaded.positions} in all.",
                param=param,
                code="context_length_exceeded",
            )
        return room

    def submit(self, prompt: list[int], sampling: Sampling, deliver: Deliver) -> Ticket:
        """Queue a prompt. `deliver` is called in the engine's thread: pieces, then Finished or an exception.

        ApiError 429 where too many wait.
        """
        ticket = Ticket(prompt, sampling, deliver)
        try:
            self._queue.put_nowait(ticket)
        except queue.Full:
            raise ApiError(
                429, f"{MAX_WAITING} requests wait already; try again later.", code="rate_limit_exceeded"
            ) from None
        return ticket

    def close(self) -> None:
        """End the request at work and all that wait, then the thread."""
        with contextlib.suppress(queue.Empty):
            while waiting := self._queue.get_nowait():
                waiting.cancel()
                waiting.deliver(ApiError(503, "The server stops.", code="unavailable"))
        if self._now is not None:
            self._now.cancel()
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (ticket := self._queue.get()) is not None:
            if ticket.cancelled:
                continue
            self._now = ticket
            try:
                tokens = self._generate(ticket)
            except Exception as error:
                ticket.deliver(error)
            else:
                ticket.deliver(Finished(tokens))
            finally:
                self._now = None

    def _generate(self, ticket: Ticket) -> int:
        import torch
        from transformers import StoppingCriteriaList

        loaded, sampling = self.loaded, ticket.sampling
        watch = _watch(ticket, loaded)
        ids = torch.tensor([ticket.prompt] * sampling.n, device=loaded.device)
        greedy = sampling.temperature == 0
        chosen: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if not greedy:
            chosen = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
        ends = sorted(loaded.end_ids)
        pad = loaded.tokenizer.pad_token_id
        with torch.inference_mode(), _seeded(sampling.seed, loaded.device):
            loaded.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_length=None,
                max_new_tokens=sampling.max_tokens,
                eos_token_id=ends or None,
                pad_token_id=(ends or [0])[0] if pad is None else pad,
                stopping_criteria=StoppingCriteriaList([watch]),
                **chosen,
            )
        return int(watch.finish())


@contextlib.contextmanager
def _seeded(seed: int | None, device: str) -> Iterator[None]:
    import torch

    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _watch(ticket: Ticket, loaded: Loaded) -> Any:
    """Sees each new token: sends its text on, and says which choices are done."""
    import torch
    from transformers import StoppingCriteria

    def decode(ids: list[int]) -> str:
        return str(loaded.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    class Watch(StoppingCriteria):
        def __init__(self) -> None:
            self.streams = [TextStream(decode, ticket.sampling.stop) for _ in range(ticket.sampling.n)]
            self.reasons: list[str | None] = [None] * ticket.sampling.n
            self.tokens = 0

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            for choice, token in enumerate(input_ids[:, -1].tolist()):
                if self.reasons[choice] is None:
                    self._take(choice, token)
            done = [ticket.cancelled or reason is not None for reason in self.reasons]
            return torch.tensor(done, device=input_ids.device)

        def _take(self, choice: int, token: int) -> None:
            stream = self.streams[choice]
            if token in loaded.end_ids:
                self._end(choice, stream.finish(), "stop")
                return
            self.tokens += 1
            text = stream.add(token)
            if stream.stopped:
                self._end(choice, text, "stop")
            elif text:
                ticket.deliver(Piece(choice, text))

        def _end(self, choice: int, text: str, reason: str) -> None:
            self.reasons[choice] = reason
            ticket.deliver(Piece(choice, text, reason))

        def finish(self) -> int:
            """Ends the choices that ran out of tokens; the number of tokens made."""
            for choice, reason in enumerate(self.reasons):
                if reason is None and not ticket.cancelled:
                    text = self.streams[choice].finish()
                    self._end(choice, text, "stop" if self.streams[choice].stopped else "length")
            return self.tokens

    return Watch()

"""All requests of a run to its teacher: one queue, one rate, each answer recorded and requested once."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.progress import Stopped
from ilab_jupyter.synthesis import reasoning
from ilab_jupyter.synthesis.compatibility import one_line_end
from ilab_jupyter.synthesis.driver.pace import Pace
from ilab_jupyter.synthesis.journal import Journal
from ilab_jupyter.synthesis.teachers import Answer, Busy, Messages, Question, Refused, Reply, Spent, Teacher

LISTENING_SECONDS = 0.2
PULSE_SECONDS = 15.0
HOMECOMING_SECONDS = 10.0
LONGEST_WAIT = 60.0

# JSON can write unpaired surrogates, UTF-8 cannot; control characters do not belong in training data.
_BAD_CHARACTERS = re.compile("[\ud800-\udfff\x00-\x08\x0e-\x1f\x7f]")

OnAnswers = Callable[[int, Spent], None]


@dataclass(order=True)
class _Request:
    """A place in the queue: older rows first, so that rows are finished before new ones are begun."""

    order: int
    number: int
    question: Question = field(compare=False)
    key: str = field(compare=False)
    tried: int = field(default=0, compare=False)


@dataclass
class _Open:
    """A prompt in flight, and the number of its answers that are missing."""

    done: asyncio.Future[None]
    left: int


class Pool:
    """Asks a teacher for all rows of a run. Use it in one event loop, inside `async with`.

    `stopping` is looked at several times a second. A request that the teacher turns away is sent again up to
    `max_retries` times; it counts only while nothing else is answered meanwhile.
    """

    def __init__(
        self,
        teacher: Teacher,
        journal: Journal,
        *,
        most: int,
        max_retries: int = 3,
        max_tokens: int | None = None,
        stopping: Callable[[], bool] = lambda: False,
        on_answers: OnAnswers = lambda answers, spent: None,
        delayed: Callable[[str, int], None] = lambda reason, limit: None,
        pulse: Callable[[int, int], None] = lambda in_flight, pieces: None,
    ) -> None:
        self.failure: BaseException | None = None
        self.max_tokens = max_tokens
        self.in_flight = 0
        self.requests = 0
        self._teacher = teacher
        self._journal = journal
        self._pace = Pace(most)
        self._max_retries = max_retries
        self._stopping = stopping
        self._on_answers = on_answers
        self._delayed = delayed
        self._pulse = pulse
        self._next_pulse = time.monotonic() + PULSE_SECONDS
        self._queue: list[_Request] = []
        self._numbers = itertools.count()
        self._open: dict[str, _Open] = {}
        self._alike: Counter[str] = Counter()
        self._answers = 0
        self._sent: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    async def ask(
        self, prompt: str | Messages, sampling: Mapping[str, Any], *, order: int = 0, row: Any = None
    ) -> list[Answer]:
        """The `n` answers of `sampling` to a prompt, from the journal where it has them.

        Where sampling gives the same text each time (temperature 0, or a seed), all who ask the same get the
        same answers. Otherwise each `row` has answers of its own, which it finds again after a restart.
        """
        wanted = int(sampling.get("n", 1))
        kept = {name: value for name, value in sampling.items() if name not in ("n", "model")}
        key = self._key(prompt, sampling, row)
        answers = [self._journal.get(key, index) for index in range(wanted)]
        missing = tuple(index for index, answer in enumerate(answers) if answer is None)
        if missing:
            if self.failure is not None:
                raise self.failure
            if key not in self._open:
                self._open[key] = _Open(asyncio.get_running_loop().create_future(), len(missing))
                self._put(_Request(order, next(self._numbers), Question(prompt, missing, kept), key))
            await asyncio.shield(self._open[key].done)
            answers = [self._journal.get(key, index) for index in range(wanted)]
        else:
            self._on_answers(wanted, Spent())
        return [self._checked(answer) for answer in answers if answer is not None]

    def _checked(self, answer: Answer) -> Answer:
        """The answer as the blocks get it: without reasoning, and marked where it cannot be used."""
        if _BAD_CHARACTERS.search(answer.text):
            return replace(answer, rejected="bad_characters")
        if self._teacher.literal:
            return answer
        text = reasoning.strip(answer.text)
        return replace(answer, rejected="reasoning") if text is None else replace(answer, text=text)

    async def room(self) -> None:
        """Wait until fewer requests wait than the teacher could take at once."""
        while len(self._queue) >= self._pace.limit and self.failure is None:
            self._room.clear()
            await self._room.wait()
        if self.failure is not None:
            raise self.failure

    def fail(self, error: BaseException) -> None:
        """Fail all waiting requests; the first failure is the one that is reported."""
        if self.failure is not None:
            return
        self.failure = error
        self._queue.clear()
        for waiting in self._open.values():
            if not waiting.done.done():
                waiting.done.set_exception(error)
                waiting.done.exception()  # marks it as seen: no one may wait for it any more
        self._room.set()

    async def __aenter__(self) -> Pool:
        self._tasks = [asyncio.create_task(self._send_all()), asyncio.create_task(self._listen())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        # answers that the teacher is giving now are paid for already
        if self._sent:
            late = (await asyncio.wait(self._sent, timeout=HOMECOMING_SECONDS))[1]
            for request in late:
                request.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _key(self, prompt: str | Messages, sampling: Mapping[str, Any], row: Any) -> str:
        key: list[Any] = [prompt, sampling]
        if sampling.get("temperature") != 0 and "seed" not in sampling:
            alike = _digest([*key, row])
            self._alike[alike] += 1
            key += [row, self._alike[alike]]
        return _digest(key)

    def _put(self, request: _Request) -> None:
        if self.failure is None:
            heapq.heappush(self._queue, request)
            self._wake.set()

    async def _listen(self) -> None:
        while True:
            if self._stopping():
                self.fail(Stopped("generation was stopped on request"))
            if time.monotonic() >= self._next_pulse:
                self._next_pulse = time.monotonic() + PULSE_SECONDS
                activity = getattr(self._teacher, "activity", None)
                self._pulse(self.in_flight, activity.pending if activity else 0)
            await asyncio.sleep(LISTENING_SECONDS)

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self.in_flight < self._pace.limit:
                quiet = self._pace.quiet_until - time.monotonic()
                if quiet > 0:
                    asyncio.get_running_loop().call_later(quiet, self._wake.set)
                    break
                self._start(heapq.heappop(self._queue))

    def _start(self, request: _Request) -> None:
        if len(request.question.wanted) > 1 and not self._teacher.many:
            for index in request.question.wanted:
                single = replace(request.question, wanted=(index,))
                self._put(replace(request, number=next(self._numbers), question=single))
            return
        self.in_flight += 1
        self.requests += 1
        task = asyncio.create_task(self._send(request))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)
        if len(self._queue) < self._pace.limit:
            self._room.set()

    async def _send(self, request: _Request) -> None:
        began, answers_then = time.monotonic(), self._answers
        try:
            reply = await self._teacher.ask(request.question)
            self._answered(request, reply)
        except Refused as refusal:
            self._refused(request, refusal)
        except Busy as busy:
            if busy.crowded:
                self._pace.crowded(began, busy.wait)
            self._delayed(str(busy.reason), self._pace.limit)
            self._again(request, busy, progress=self._answers > answers_then)
        except Exception as error:
            self.fail(error)
        finally:
            self.in_flight -= 1
            self._wake.set()

    def _answered(self, request: _Request, reply: Reply) -> None:
        indices = request.question.wanted
        answers = [replace(answer, text=one_line_end(answer.text)) for answer in reply.answers]
        self._journal.add(request.key, dict(zip(indices, answers, strict=True)), reply.spent)
        self._answers += len(answers)
        self._pace.answered(reply.spent.answer or len(answers), waiting=bool(self._queue))
        self._on_answers(len(answers), reply.spent)
        self._came(request.key, len(indices))

    def _refused(self, request: _Request, refusal: Refused) -> None:
        try:
            self._teacher.another_way(refusal)
        except TeacherError as error:
            self.fail(error)
        else:
            self._put(request)

    def _again(self, request: _Request, busy: Busy, *, progress: bool) -> None:
        # a teacher that answers others is not gone: a request to wait then costs no attempt
        tried = request.tried if progress and busy.crowded else request.tried + 1
        if tried > self._max_retries:
            if isinstance(busy.reason, Refused):
                self._refused(replace(request, tried=0), busy.reason)
            else:
                self.fail(busy.reason)
            return
        delay = min(0.5 * 2**request.tried, LONGEST_WAIT) * random.uniform(0.75, 1.25)  # noqa: S311
        asyncio.get_running_loop().call_later(
            delay if busy.wait is None else busy.wait, self._put, replace(request, tried=tried)
        )

    def _came(self, key: str, answers: int) -> None:
        waiting = self._open[key]
        waiting.left -= answers
        if waiting.left <= 0:
            del self._open[key]
            with suppress(asyncio.InvalidStateError):
                waiting.done.set_result(None)


def _digest(key: Any) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:32]

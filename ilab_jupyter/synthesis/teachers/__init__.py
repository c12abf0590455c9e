"""Teachers: who answers instructlab-sdg's prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ilab_jupyter.synthesis.settings import TeacherSettings

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """A prompt, or the messages of a conversation, and which of its answers are wanted (counted from 0)."""

    prompt: str | Messages
    wanted: tuple[int, ...] = (0,)
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One answer. `cut`: it ended because there was no room for more, not because it was done. `rejected`:
    why it cannot be used, such as `reasoning`, or ''.
    """

    text: str
    cut: bool = False
    rejected: str = ""


@dataclass(frozen=True)
class Spent:
    """Tokens of a request and its answers, `counted` by the server or estimated as 1.3 a word."""

    prompt: int = 0
    answer: int = 0
    counted: bool = True

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.prompt + other.prompt, self.answer + other.answer, self.counted and other.counted)


@dataclass(frozen=True)
class Reply:
    """The wanted answers to a question, in order, and what they cost."""

    answers: list[Answer]
    spent: Spent


class Busy(Exception):
    """The teacher may answer later. `reason` is what to raise where it never does; `wait` are the seconds
    that it requested; `crowded` says that fewer requests at once may help.
    """

    def __init__(self, reason: Exception, wait: float | None = None, crowded: bool = False) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.wait = wait
        self.crowded = crowded


class Refused(Exception):
    """The server does not take this way of asking. `chat_wanted`: it says that only chat will do."""

    def __init__(self, reason: str, *, way: int = 0, chat_wanted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.way = way
        self.chat_wanted = chat_wanted


class Teacher(Protocol):
    """Answers prompts. `label` is what each row's metadata says; `model` chooses the prompt's dialect.

    `many`: one request may want several answers. `literal`: its answers are taken as written; those of a
    language model are cleaned of reasoning and markup.
    """

    label: str
    model: str
    literal: bool

    @property
    def many(self) -> bool: ...

    def describe(self) -> dict[str, Any]:
        """Kind, model and address for a dataset's lineage; never a key."""

    def study(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Told all samples of a run before its first question."""

    async def ask(self, question: Question) -> Reply:
        """One request. Busy where another may succeed later, Refused where it may in `another_way`,
        TeacherError where none will.
        """

    def another_way(self, refusal: Refused) -> None:
        """Ask differently from now on; TeacherError where there is no other way."""

    async def close(self) -> None:
        """Give back connections and threads."""


def make(settings: TeacherSettings, num_workers: int) -> Teacher:
    """The teacher that the settings name, for up to `num_workers` requests at once. TeacherError where its
    model cannot be found out.
    """
    if settings.kind == "embedded":
        from ilab_jupyter.synthesis.teachers.embedded import EmbeddedTeacher

        return EmbeddedTeacher()
    from ilab_jupyter.synthesis.teachers.remote import RemoteTeacher

    return RemoteTeacher.connect(settings, num_workers)

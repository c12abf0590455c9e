"""Teachers: who answers instructlab-sdg's prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ilab_jupyter.synthesis.settings import TeacherSettings


@dataclass(frozen=True)
class Question:
    """A prompt, how many answers are wanted, and which of them are not known yet (counted from 0)."""

    prompt: str
    missing: tuple[int, ...]


class Teacher(Protocol):
    """Answers prompts. `label` is what each row's metadata says; `model` chooses the prompt's dialect."""

    label: str
    model: str

    def describe(self) -> dict[str, Any]:
        """Kind, model and address for a dataset's lineage; never a key."""

    def study(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Told all samples of a run before its first question."""

    def answer(
        self,
        questions: Sequence[Question],
        sampling: Mapping[str, Any],
        stop: Callable[[], None],
        tell: Callable[[int, int, str], None],
    ) -> None:
        """Answer each question as often as answers are missing.

        `tell(question, answer index, text)` is called once for each answer, as soon as it is there, from any
        thread. `stop` is called before each request and raises when the work should end. TeacherError says
        what failed.
        """

    def close(self) -> None:
        """Give back connections and threads."""


def make(settings: TeacherSettings, num_workers: int) -> Teacher:
    """The teacher that the settings name. TeacherError where its model cannot be found out."""
    if settings.kind == "embedded":
        from ilab_jupyter.synthesis.teachers.embedded import EmbeddedTeacher

        return EmbeddedTeacher()
    from ilab_jupyter.synthesis.teachers.remote import RemoteTeacher

    return RemoteTeacher.connect(settings, num_workers)

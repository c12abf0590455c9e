"""Results of evaluations, one type for each benchmark: frozen, stored as JSON, comparable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import fmean, stdev
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ilab_jupyter.display import Shown, html, table


class Record(Shown, BaseModel):
    """Base class of results: frozen; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class QuestionScore(Record):
    """A question and its score. `id` is the same in every evaluation that contains the question."""

    id: str
    group: str = Field(description="Category, leaf or task.")
    score: float = Field(description="Mean over the turns that were judged.")
    turns: tuple[float | None, ...] = Field(default=(), description="By turn; None where it has no score.")
    text: str = Field(default="", description="The question's beginning.")


class Rejected(Record):
    """A turn without a score: the judge's reply has no valid score, or the model gave no answer."""

    id: str
    turn: int
    reason: str


class GroupScore(Record):
    """The score of the questions of one category, leaf or task."""

    score: float
    stderr: float | None = Field(description="Standard error of the mean; None for a single question.")
    questions: int


class Result(Record):
    """The fields that all benchmarks share. `scale` is the lowest and the highest possible score."""

    benchmark: str
    model: str
    judge: str | None = None
    score: float
    scale: tuple[float, float]
    stderr: float | None = Field(description="Standard error of the mean over questions.")
    groups: dict[str, GroupScore]
    questions: tuple[QuestionScore, ...]
    rejected: tuple[Rejected, ...] = ()
    error_rate: float = Field(default=0.0, description="Share of turns without a score, 0 to 1.")
    versions: dict[str, str | None]
    date: datetime
    path: str = Field(description="Folder of this result and of what it was made from.")

    def __str__(self) -> str:
        noise = "" if self.stderr is None else f" ± {self.stderr:.3f}"
        lost = f", {self.error_rate:.1%} without a score" if self.rejected else ""
        size = f"{len(self.questions)} question{'' if len(self.questions) == 1 else 's'}"
        return (
            f"{self.benchmark} of {self.model}: {self.score:.3f}{noise} of {self.scale[1]:g} ({size}{lost})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (
                name,
                f"{group.score:.3f}",
                "" if group.stderr is None else f"{group.stderr:.3f}",
                group.questions,
            )
            for name, group in self.groups.items()
        ]
        return f"<p>{html(str(self))}</p>{table(('', 'score', 'stderr', 'questions'), rows)}"


class MTBenchResult(Result):
    """MT-Bench: 80 questions of two turns, each turn judged from 1 to 10."""

    benchmark: Literal["mt_bench"] = "mt_bench"
    turn_scores: tuple[float | None, ...] = Field(description="Mean of the first and of the second turns.")


class MTBenchBranchResult(Result):
    """MT-Bench-Branch: the questions of a taxonomy's skills at one commit, judged from 1 to 10."""

    benchmark: Literal["mt_bench_branch"] = "mt_bench_branch"
    branch: str
    commit: str


class MMLUResult(Result):
    """MMLU: multiple choice, scored by the share of correct answers, averaged over the tasks."""

    benchmark: Literal["mmlu"] = "mmlu"
    few_shots: int


class MMLUBranchResult(Result):
    """MMLU-Branch: multiple choice on questions generated from the taxonomy's documents."""

    benchmark: Literal["mmlu_branch"] = "mmlu_branch"
    few_shots: int
    tasks_dir: str


class DKBenchResult(Result):
    """DK-Bench: user-provided questions with reference answers, judged from 1 to 5."""

    benchmark: Literal["dk_bench"] = "dk_bench"
    input_questions: str


AnyResult = Annotated[
    MTBenchResult | MTBenchBranchResult | MMLUResult | MMLUBranchResult | DKBenchResult,
    Field(discriminator="benchmark"),
]
ANY: TypeAdapter[AnyResult] = TypeAdapter(AnyResult)


def stderr(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean, or None for fewer than two values."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def groups(questions: Iterable[QuestionScore]) -> dict[str, GroupScore]:
    """Return the score of each group, sorted by name."""
    scores: dict[str, list[float]] = {}
    for question in questions:
        scores.setdefault(question.group, []).append(question.score)
    return {
        name: GroupScore(score=fmean(found), stderr=stderr(found), questions=len(found))
        for name, found in sorted(scores.items())
    }

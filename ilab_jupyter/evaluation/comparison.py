"""Comparison of two results of one benchmark, with a significance test."""

from __future__ import annotations

from statistics import fmean
from typing import Literal

from pydantic import Field

from ilab_jupyter.display import html, table
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.evaluation.results import AnyResult, Record, Result, stderr

Change = Literal["better", "worse", "same"]
# z-score of a two-sided 95 % confidence interval.
SURE = 1.96


class QuestionChange(Record):
    """A question that both evaluations scored; `difference` is the second score minus the first."""

    id: str
    group: str
    before: float
    after: float
    difference: float
    change: Change
    text: str = ""


class Comparison(Record):
    """Comparison of the second result with the first, over the questions that both scored."""

    benchmark: str
    before: str = Field(description="The first model.")
    after: str = Field(description="The second model.")
    difference: float = Field(description="Mean of the questions' differences.")
    stderr: float | None = Field(description="Standard error of that mean, the questions taken in pairs.")
    significant: bool = Field(description="Whether the difference is more than 1.96 standard errors.")
    questions: tuple[QuestionChange, ...]
    added: tuple[str, ...] = Field(description="Questions that only the second has a score for.")
    removed: tuple[str, ...] = Field(description="Questions that only the first has a score for.")

    def of(self, change: Change) -> tuple[QuestionChange, ...]:
        """Return the questions whose score became `better`, `worse`, or stayed the `same`."""
        return tuple(question for question in self.questions if question.change == change)

    def __str__(self) -> str:
        verdict = "more than noise" if self.significant else "no more than noise"
        noise = "" if self.stderr is None else f" ± {self.stderr:.3f}"
        counts = ", ".join(f"{len(self.of(change))} {change}" for change in ("better", "worse", "same"))
        return (
            f"{self.benchmark}: {self.after} against {self.before}: {self.difference:+.3f}{noise} "
            f"({verdict}); {counts}"
        )

    def _repr_html_(self) -> str:
        changed = sorted(
            (question for question in self.questions if question.change != "same"),
            key=lambda question: -abs(question.difference),
        )
        rows = [
            (q.group, q.text or q.id, f"{q.before:g}", f"{q.after:g}", f"{q.difference:+g}", q.change)
            for q in changed
        ]
        head = ("group", "question", self.before, self.after, "difference", "change")
        return f"<p>{html(str(self))}</p>{table(head, rows, most=20)}"


def compare(before: Result, after: Result) -> Comparison:
    """Compare `after` with `before`.

    Raises InvalidInput if they are results of different benchmarks or have no question in common.
    """
    if before.benchmark != after.benchmark or before.scale != after.scale:
        raise InvalidInput(
            f"{before.benchmark} and {after.benchmark} cannot be compared.",
            "Give two results of the same benchmark.",
        )
    old = {question.id: question for question in before.questions}
    new = {question.id: question for question in after.questions}
    pairs = [(old[id], new[id]) for id in old if id in new]
    if not pairs:
        raise InvalidInput(
            "The two results have no question in common.", "Evaluate both models on the same data."
        )
    changes = tuple(
        QuestionChange(
            id=was.id,
            group=now.group,
            before=was.score,
            after=now.score,
            difference=now.score - was.score,
            change="same" if now.score == was.score else "better" if now.score > was.score else "worse",
            text=now.text,
        )
        for was, now in pairs
    )
    differences = [change.difference for change in changes]
    mean, noise = fmean(differences), stderr(differences)
    return Comparison(
        benchmark=after.benchmark,
        before=before.model,
        after=after.model,
        difference=mean,
        stderr=noise,
        significant=noise is not None and mean != 0 and abs(mean) > SURE * noise,
        questions=changes,
        added=tuple(id for id in new if id not in old),
        removed=tuple(id for id in old if id not in new),
    )


class Against(Record):
    """The result of a model and, if there is a base model, its result and the comparison of the two."""

    model: AnyResult
    base: AnyResult | None = None
    comparison: Comparison | None = None

    def __str__(self) -> str:
        return "\n".join(str(part) for part in (self.model, self.base, self.comparison) if part is not None)

    def _repr_html_(self) -> str:
        return "".join(
            part._repr_html_() for part in (self.model, self.base, self.comparison) if part is not None
        )

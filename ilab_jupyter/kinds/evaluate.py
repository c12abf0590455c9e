"""The `evaluate` job: a benchmark of a model."""

from __future__ import annotations

from typing import Any

from ilab_jupyter.evaluation.settings import EvaluationSettings, JudgeSettings, short_judge
from ilab_jupyter.kinds.context import Context, TaskSpec, short

__all__ = ["EvaluateSpec", "JudgeSettings", "run", "short_judge"]


class EvaluateSpec(TaskSpec, EvaluationSettings):
    """Arguments of `evaluate`."""

    @property
    def title(self) -> str:
        """`mmlu taught`."""
        return f"{self.benchmark} {short(self.model)}"


def run(spec: EvaluateSpec, context: Context) -> dict[str, Any]:
    """Evaluate and return the result; of the questions only those in the kept file.

    A second attempt asks only for the answers that the first one did not get.
    """
    from ilab_jupyter.core import Model

    journal = context.artifacts / "answers.jsonl"
    result = Model(spec.model).evaluate(spec, journal=journal, reporter=context.reporter)
    # Thousands of questions belong into the file that `path` names, not into an event.
    parts = {"questions": True, "rejected": True, "added": True, "removed": True}
    nested = {"model": parts, "base": parts, "comparison": parts} if hasattr(result, "comparison") else parts
    return result.model_dump(mode="json", exclude=nested)

"""The `evaluate` job: a benchmark of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilab_jupyter.evaluation.settings import EvaluationSettings, JudgeSettings, short_judge
from ilab_jupyter.kinds.context import Context, TaskSpec, short
from ilab_jupyter.kinds.kind import Argument, Kind, Service


class EvaluateSpec(TaskSpec, EvaluationSettings):
    """Arguments of `evaluate`."""

    @property
    def title(self) -> str:
        """`mmlu my-model`."""
        return f"{self.benchmark} {short(self.model)}"


def run(spec: EvaluateSpec, context: Context) -> dict[str, Any]:
    """Evaluate and return the result without the single questions, which are in its file.

    A second attempt requests only the answers that the first one did not get.
    """
    from ilab_jupyter.core import Model

    journal = context.artifacts / "answers.jsonl"
    result = Model(spec.model).evaluate(spec, journal=journal, reporter=context.reporter)
    # Thousands of questions belong in the file `path`, not in an event.
    parts = {"questions": True, "rejected": True, "added": True, "removed": True}
    nested = {"model": parts, "base": parts, "comparison": parts} if hasattr(result, "comparison") else parts
    return result.model_dump(mode="json", exclude=nested)


def changes(cause: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """See `Kind.changes`."""
    if cause not in ("out_of_memory", "gpu_out_of_memory"):
        return None
    batch = int(arguments.get("batch_size") or EvaluateSpec.model_fields["batch_size"].default)
    if str(arguments["benchmark"]).startswith("mmlu") and batch > 1:
        return {"batch_size": batch // 2}
    return {"device": "cpu"} if cause == "gpu_out_of_memory" else None


KIND = Kind(
    name="evaluate",
    spec=EvaluateSpec,
    run=run,
    title="Evaluation",
    summary="Evaluate a model with a benchmark: MT-Bench, MMLU, their branch variants, DK-Bench.",
    arguments=(
        Argument("benchmark", metavar="BENCHMARK", positional=True),
        Argument(
            "model",
            "model",
            metavar="MODEL",
            positional=True,
            help="Or the job that made it. Default: starter.",
        ),
        Argument("base_model", "model"),
        Argument(
            "judge",
            metavar="URL or MODEL",
            help="Base URL of an OpenAI-compatible API, or a local model that is served meanwhile.",
            service=Service(JudgeSettings, short_judge, hidden=("url",), local_model=True),
        ),
        *(
            Argument(name, "path")
            for name in ("output_dir", "taxonomy_path", "data", "tasks_dir", "input_questions")
        ),
    ),
    secrets=("judge.api_key_env",),
    examples=(
        "evaluate mmlu my-model --tasks anatomy",
        "evaluate mt_bench my-model --judge http://localhost:8000/v1",
    ),
    changes=changes,
)

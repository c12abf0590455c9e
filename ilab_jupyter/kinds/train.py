"""The `train` job: supervised fine-tuning of a local or hub model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ilab_jupyter.kinds.context import Context, TaskSpec
from ilab_jupyter.kinds.kind import Argument, Kind
from ilab_jupyter.training.spec import Data, TrainingArguments


class TrainSpec(TaskSpec, TrainingArguments):
    """Arguments of `train`. One that is not given comes from config.yaml, the model's training profile (the
    starter has its own) or the general default.
    """

    data: Data = Field(default=[], min_length=1)
    model: str = Field(
        default="starter",
        min_length=1,
        max_length=4096,
        description="Registry name, model folder or hub id (safetensors only).",
    )


def run(spec: TrainSpec, context: Context) -> dict[str, Any]:
    """Train and return {model, path, steps, final_loss, ...}."""
    from ilab_jupyter.core import Model

    result = Model(student_model=spec.model).train_model(
        spec.model_dump(exclude={"model"}, exclude_unset=True),
        job_id=context.job_id,
        resume=context.attempt > 1,
        reporter=context.reporter,
    )
    return result.model_dump(mode="json")


def notice(arguments: Mapping[str, Any]) -> str:
    """A sentence about rows that are longer than `max_seq_length`."""
    from ilab_jupyter.core import lengths

    fields = {name: value for name, value in arguments.items() if name != "model"}
    return lengths.notice(str(arguments.get("model") or "starter"), fields)


def changes(cause: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """See `Kind.changes`."""
    if cause not in ("out_of_memory", "gpu_out_of_memory", "nan_loss"):
        return None
    from ilab_jupyter.training import plan
    from ilab_jupyter.training.failures import smaller

    own = {name: value for name, value in arguments.items() if name in TrainingArguments.model_fields}
    model = str(arguments.get("model") or "starter")
    settings = plan.expected_settings(model, TrainingArguments.model_validate(own))
    if cause == "nan_loss":
        return {"learning_rate": float(f"{settings.learning_rate / 10:g}")}
    return smaller(settings) or None


KIND = Kind(
    name="train",
    spec=TrainSpec,
    run=run,
    title="Training",
    summary="Fine-tune a model on generated data or on your own JSONL, in full or with LoRA.",
    arguments=(
        Argument(
            "data",
            "dataset",
            metavar="DATA",
            positional=True,
            noun="dataset",
            help="Or generate jobs; the newest dataset where none is given.",
            fallback="newest_dataset",
        ),
        Argument("model", "model", help="Or the job that made it."),
    ),
    examples=("train --name my-model", "train my-data.jsonl --method lora --epochs 3"),
    makes="model",
    notice=notice,
    changes=changes,
)

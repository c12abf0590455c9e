"""The `train` job: supervised fine-tuning of a local or hub model."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ilab_jupyter.kinds.context import Context, TaskSpec
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

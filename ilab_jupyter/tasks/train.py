"""The `train` job: supervised fine-tuning of a local or hub model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ilab_jupyter.jobs.record import NAME
from ilab_jupyter.tasks.context import Context, TaskSpec


class TrainSpec(TaskSpec):
    """Arguments of `train`. None takes the base model's training profile (the starter has its own)."""

    model: str = Field(default="starter", description="Registry name, model folder or hub id (safetensors only).")
    data: list[str] = Field(min_length=1, description="Messages JSONL files, or dataset names in the registry.")
    method: Literal["full", "lora"] = "full"
    name: str | None = Field(default=None, pattern=NAME, description="Name of the new model in the registry.")
    epochs: float | None = Field(default=None, gt=0, le=1000)
    max_steps: int | None = Field(default=None, ge=1, le=10_000_000, description="Overrides `epochs`.")
    batch_size: int | None = Field(default=None, ge=1, le=4096, description="Examples per device and step.")
    gradient_accumulation_steps: int = Field(default=1, ge=1, le=4096)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    warmup_steps: int | None = Field(default=None, ge=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    max_seq_length: int | None = Field(default=None, ge=16, le=1_048_576, description="Tokens per example.")
    lora_rank: int = Field(default=16, ge=1, le=1024)
    lora_alpha: int | None = Field(default=None, ge=1, le=4096, description="2 x rank where None.")
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    save_steps: int = Field(default=50, ge=1, description="Steps between checkpoints.")
    logging_steps: int = Field(default=1, ge=1)
    seed: int = Field(default=42, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = "auto"


def run(spec: TrainSpec, context: Context) -> dict[str, Any]:
    """Train and return {model, path, steps, final_loss, ...}."""
    from ilab_jupyter.core import Model

    return Model(student_model=spec.model).train_model(
        training_args=spec.model_dump(exclude={"model"}),
        job_id=context.job_id,
        resume=context.attempt > 1,
        reporter=context.reporter,
    ).model_dump(mode="json")

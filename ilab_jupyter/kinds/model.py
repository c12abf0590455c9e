"""The `model` job: download, merge, convert or upload a model."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ilab_jupyter.kinds.context import Context, TaskSpec, short
from ilab_jupyter.kinds.kind import NO_GPU, Argument, Kind


class ModelSpec(TaskSpec):
    """Arguments of `model`: a method of `Model` and its arguments."""

    operation: Literal["download", "merge", "convert", "upload"]
    model: str = Field(
        min_length=1,
        description="For `download` a hub id or a folder, otherwise a registry name or a folder.",
    )
    name: str | None = Field(
        default=None, description="`download`, `merge`: name in the registry; None: a free one."
    )
    output_dir: str | None = Field(
        default=None, description="Output folder, instead of InstructLab's models folder."
    )
    revision: str | None = Field(default=None, description="`download`: branch, tag or commit of the hub.")
    quantization: str = Field(
        default="f16", description="`convert`: f32, f16, bf16, q8_0, or one of llama-quantize's: Q4_K_M."
    )
    repository: str | None = Field(default=None, description="`upload`: target repository, org/name.")
    private: bool = Field(default=True, description="`upload`: a new repository is private.")

    @property
    def title(self) -> str:
        """`merge my-model`, `download org/name`."""
        return f"{self.operation} {short(self.model)}"

    @model_validator(mode="after")
    def _check_operation(self) -> Self:
        if self.operation == "upload" and self.repository is None:
            raise ValueError("upload needs a repository, org/name")
        return self


def run(spec: ModelSpec, context: Context) -> dict[str, Any]:
    """Run the operation and return its result; `model` is the name or path of the model that it made."""
    from ilab_jupyter.core import Model

    reporter, job = context.reporter, context.job_id
    result: Any
    if spec.operation == "download":
        result = Model.download(
            spec.model,
            revision=spec.revision,
            name=spec.name,
            output_dir=spec.output_dir,
            job_id=job,
            reporter=reporter,
        )
    elif spec.operation == "merge":
        result = Model(spec.model).merge(
            name=spec.name, output_dir=spec.output_dir, job_id=job, reporter=reporter
        )
    elif spec.operation == "convert":
        result = Model(spec.model).convert(
            quantization=spec.quantization, output_dir=spec.output_dir, reporter=reporter
        )
    else:
        assert spec.repository is not None
        result = Model(spec.model).upload(spec.repository, private=spec.private, reporter=reporter)
    fields: dict[str, Any] = result.model_dump(mode="json")
    return {"model": fields.get("path" if spec.output_dir else "name", spec.model), **fields}


KIND = Kind(
    name="model",
    spec=ModelSpec,
    run=run,
    title="Model operation",
    summary="Download a model, merge an adapter, convert to GGUF, or upload to a hub.",
    arguments=(
        Argument("operation", metavar="OPERATION", positional=True),
        Argument("model", "model", metavar="MODEL", positional=True, help="Or the job that made it."),
        Argument("output_dir", "path"),
    ),
    # The hub's client in the worker reads the variable by the same name.
    secrets=("HF_TOKEN",),
    resources=NO_GPU,
    examples=("model download org/name --name my-base", "model convert my-model --quantization Q4_K_M"),
    makes="model",
)

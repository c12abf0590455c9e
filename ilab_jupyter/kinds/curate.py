"""The `curate` job: validate, mix or deduplicate a large dataset, or compare it with an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ilab_jupyter.kinds.context import Context, TaskSpec, short
from ilab_jupyter.kinds.kind import NO_GPU, Argument, Kind


class CurateSpec(TaskSpec):
    """Arguments of `curate`: a method of `Data` and its arguments."""

    operation: Literal["validate", "mix", "dedup", "leakage"]
    data: list[str] = Field(
        min_length=1, description="Dataset names, run folders or JSONL files; for `mix` one recipe file."
    )
    evaluation: list[str] = Field(default=[], description="`leakage`: evaluation data to compare with.")
    output: str | None = Field(default=None, description="Output file; None: beside the data.")
    overwrite: bool = False
    threshold: float | None = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of near duplicates; None: exact duplicates only.",
    )
    drop: bool = Field(default=True, description="`leakage`: write the data without the leaked rows.")
    system_prompt: str | None = Field(default=None, description="`mix`: system prompt of every row.")
    seed: int = Field(default=42, ge=0, lt=2**32, description="`mix`: seed for the sampled rows.")

    @property
    def title(self) -> str:
        """`dedup rows.jsonl`."""
        return f"{self.operation} {short(self.data[0])}"

    @model_validator(mode="after")
    def _check_operation(self) -> Self:
        if self.operation == "leakage" and not self.evaluation:
            raise ValueError("leakage needs an evaluation")
        if self.operation == "leakage" and self.threshold is None:
            raise ValueError("leakage needs a threshold")
        if self.operation == "mix" and len(self.data) != 1:
            raise ValueError("mix needs one recipe as its data")
        return self


def run(spec: CurateSpec, context: Context) -> dict[str, Any]:
    """Run the operation and return its result."""
    from ilab_jupyter.core import Data

    reporter = context.reporter
    reporter.phase(spec.operation, ", ".join(spec.data))
    written: dict[str, Any] = {
        "output": spec.output,
        "overwrite": spec.overwrite,
        "reporter": reporter,
    }
    result: Any
    if spec.operation == "validate":
        result = Data.validate(spec.data, reporter=reporter)
    elif spec.operation == "mix":
        result = Data.mix(spec.data[0], system_prompt=spec.system_prompt, seed=spec.seed, **written)
    elif spec.operation == "dedup":
        result = Data.dedup(spec.data, threshold=spec.threshold, **written)
    else:
        result = Data.leakage(
            spec.data, spec.evaluation, drop=spec.drop, threshold=spec.threshold or 1.0, **written
        )
    if output := getattr(result, "output", None):
        reporter.artifact("dataset", Path(output).name, Path(output))
    fields: dict[str, Any] = result.model_dump(mode="json")
    return fields


KIND = Kind(
    name="curate",
    spec=CurateSpec,
    run=run,
    title="Data curation",
    summary="Validate, mix or deduplicate large datasets, or find evaluation questions in them.",
    arguments=(
        Argument("operation", metavar="OPERATION", positional=True),
        Argument("data", "dataset", metavar="DATA", positional=True, noun="dataset"),
        Argument("evaluation", "dataset"),
        Argument("output", "path"),
    ),
    resources=NO_GPU,
    examples=(
        "curate dedup my-data.jsonl --output clean.jsonl",
        "curate leakage my-data --evaluation test.jsonl",
    ),
)

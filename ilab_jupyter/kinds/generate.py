"""The `generate` job: synthetic data from a taxonomy."""

from __future__ import annotations

from typing import Any

from ilab_jupyter.kinds.context import Context, TaskSpec
from ilab_jupyter.synthesis.settings import Settings


class GenerateSpec(TaskSpec, Settings):
    """Arguments of `generate`."""


def run(spec: GenerateSpec, context: Context) -> dict[str, Any]:
    """Generate and return {dataset, files, rows}."""
    from ilab_jupyter.core import Data

    return (
        Data.from_spec(spec.model_dump())
        .generate_data(
            run_dir=context.artifacts / "generate", resume=context.attempt > 1, reporter=context.reporter
        )
        .model_dump(mode="json")
    )

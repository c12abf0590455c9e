"""The `generate` job: synthetic data from a taxonomy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.kinds.context import Context, TaskSpec
from ilab_jupyter.kinds.kind import NO_GPU, Argument, Kind, Service
from ilab_jupyter.synthesis.settings import Settings, TeacherSettings


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


def short_teacher(value: Any) -> Any:
    """Read `embedded` or a URL as the fields of a teacher."""
    if not isinstance(value, str):
        return value
    if value == "embedded":
        return {"kind": "embedded"}
    if value.startswith(("http://", "https://")):
        return {"kind": "openai", "url": value}
    raise InvalidInput(f"There is no teacher {value!r}.", "Give `embedded`, or a URL that begins with http.")


def changes(cause: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """See `Kind.changes`."""
    if cause == "teacher_model_missing":
        return {"teacher": {**(arguments.get("teacher") or {}), "model": None}}
    workers = int(arguments.get("num_workers") or GenerateSpec.model_fields["num_workers"].default)
    if cause == "out_of_memory" and workers > 1:
        return {"num_workers": workers // 2}
    return None


KIND = Kind(
    name="generate",
    spec=GenerateSpec,
    run=run,
    title="Data generation",
    summary="Generate synthetic training data from a taxonomy or one qna.yaml.",
    arguments=(
        Argument(
            "taxonomy_path",
            "existing_path",
            metavar="TAXONOMY",
            positional=True,
            noun="taxonomy",
            help="InstructLab's own folder where none is given.",
            fallback="taxonomy",
        ),
        Argument("pipeline", "name_or_path", noun="pipeline folder"),
        Argument("output_dir", "path"),
        Argument("documents", "path", metavar="URL=PATH", option="document"),
        Argument(
            "teacher",
            metavar="URL",
            help="`embedded`, or the base URL of an OpenAI-compatible API. Default: embedded.",
            service=Service(
                TeacherSettings,
                short_teacher,
                hidden=("kind", "url"),
                options={"api_key_env": "api_key_env"},
            ),
        ),
    ),
    secrets=("teacher.api_key_env",),
    resources=NO_GPU,
    examples=(
        "generate taxonomy --scale 10",
        "generate taxonomy --teacher http://localhost:8000/v1 --teacher-model mixtral",
    ),
    makes="dataset",
    changes=changes,
)

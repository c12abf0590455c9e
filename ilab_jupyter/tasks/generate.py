"""The `generate` job: synthetic data from a taxonomy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ilab_jupyter.jobs.record import NAME
from ilab_jupyter.tasks.context import Context, TaskSpec


class TeacherSpec(TaskSpec):
    """Which teacher answers. The key is never here: it comes from the environment variable that `api_key_env` names."""

    kind: Literal["embedded", "openai"] = Field(default="embedded", description="`openai` is any OpenAI-compatible URL.")
    url: str | None = Field(default=None, description="Base URL ending in /v1; needed for `openai`.")
    model: str | None = Field(default=None, description="Model name at that URL; the first one listed where None.")
    api_key_env: str = Field(default="ILAB_TEACHER_API_KEY", pattern=r"^[A-Z][A-Z0-9_]{0,63}$")
    timeout: float = Field(default=120.0, gt=0, le=3600, description="Seconds for one request.")
    max_retries: int = Field(default=3, ge=0, le=20)


class GenerateSpec(TaskSpec):
    """Arguments of `generate`."""

    taxonomy_path: str = Field(description="Folder with compositional_skills/ and knowledge/, or one qna.yaml.")
    taxonomy_base: str = Field(default="empty", description="Git revision to compare with; `empty` takes every leaf.")
    pipeline: str = Field(default="simple", description="`simple`, `full`, or the path of a pipeline folder.")
    teacher: TeacherSpec = TeacherSpec()
    scale: int = Field(default=30, ge=1, le=1000, description="Instructions per seed example (`simple` only).")
    output_dir: str | None = Field(default=None, description="A new dated folder under the datasets where None.")
    name: str | None = Field(default=None, pattern=NAME, description="Folder name under the datasets.")
    batch_size: int = Field(default=8, ge=1, le=512, description="Prompts per request to the teacher.")
    num_workers: int = Field(default=4, ge=1, le=256, description="Requests in flight.")
    system_prompt: str | None = Field(default=None, max_length=10_000)
    documents: dict[str, str] = Field(
        default_factory=dict, description="Repository URL -> local git repository, for documents without network."
    )


def run(spec: GenerateSpec, context: Context) -> dict[str, Any]:
    """Generate and return {dataset, files, rows}."""
    from ilab_jupyter.core import Data

    return Data.from_spec(spec.model_dump()).generate_data(
        run_dir=context.artifacts / "generate", resume=context.attempt > 1, reporter=context.reporter
    ).model_dump(mode="json")

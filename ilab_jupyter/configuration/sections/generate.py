"""The section `generate`."""

from __future__ import annotations

from pydantic import Field

from ilab_jupyter import paths
from ilab_jupyter.configuration.sections.section import PathText, Section
from ilab_jupyter.configuration.sections.serve import Serve


def teacher_model() -> str:
    """The model that writes the data by default."""
    return str(paths.models_dir() / "mistral-7b-instruct-v0.2.Q4_K_M.gguf")


class Generate(Section):
    """Synthetic data from a taxonomy."""

    batch_size: int = Field(default=8, gt=0, description="Prompts in one request to the teacher.")
    chunk_word_count: int = Field(default=1000, gt=0, description="Longest piece of a document, in words.")
    max_num_tokens: int | None = Field(
        default=4096, description="Longest answer of the teacher, in tokens; less gives less data, faster."
    )
    model: PathText = Field(default_factory=teacher_model, description="Teacher, which writes the data.")
    num_cpus: int = Field(default=10, gt=0, description="Requests at the same time.")
    output_dir: PathText = Field(
        default_factory=lambda: str(paths.datasets_dir()), description="Where the datasets go."
    )
    pipeline: PathText | None = Field(
        default="full", description="simple, full, or the path of a folder of pipelines."
    )
    sdg_scale_factor: int | None = Field(
        default=30, gt=0, description="Instructions to write for each example."
    )
    taxonomy_base: str = Field(
        default="origin/main",
        description="Git revision to compare the taxonomy with; empty takes every leaf.",
    )
    taxonomy_path: PathText = Field(
        default_factory=lambda: str(paths.taxonomy_dir()), description="Folder of the taxonomy."
    )
    teacher: Serve = Field(
        default_factory=lambda: Serve(model_path=teacher_model()), description="How the teacher is served."
    )

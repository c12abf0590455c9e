"""The `ingest` job: documents to markdown and chunks."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ilab_jupyter.kinds.context import Context, TaskSpec
from ilab_jupyter.kinds.kind import NO_GPU, Argument, Kind
from ilab_jupyter.retrieval.settings import ReadSettings


class IngestSpec(TaskSpec, ReadSettings):
    """Arguments of `ingest`."""

    documents: list[str] = Field(min_length=1, description="Files and folders of documents.")
    output_dir: str | None = Field(
        default=None,
        description="Output folder; None: `documents` in InstructLab's data folder.",
    )
    prune: bool = Field(default=False, description="Remove the output of documents that no longer exist.")
    as_knowledge: bool = Field(
        default=False, description="Commit the markdown, so that a knowledge leaf can reference it."
    )


def run(spec: IngestSpec, context: Context) -> dict[str, Any]:
    """Ingest and return documents, failures, warnings and the output folder."""
    from ilab_jupyter.core import Data

    result = Data().ingest(**spec.model_dump(), reporter=context.reporter)
    return result.model_dump(mode="json")


KIND = Kind(
    name="ingest",
    spec=IngestSpec,
    run=run,
    title="Document ingestion",
    summary="Convert documents (md, html, docx, pptx, csv, pdf) to markdown and chunks.",
    arguments=(
        Argument("documents", "existing_path", metavar="DOCUMENT", positional=True, noun="document"),
        Argument("output_dir", "path"),
        Argument("pdf_models", "path"),
        Argument("tokenizer", "hub_model"),
    ),
    resources=NO_GPU,
    examples=("ingest handbook.pdf notes/ --as-knowledge",),
)

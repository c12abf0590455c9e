"""The `rag` job: index documents in a collection for retrieval."""

from __future__ import annotations

from typing import Any

from ilab_jupyter.kinds.context import Context, TaskSpec
from ilab_jupyter.kinds.kind import NO_GPU, Argument, Kind
from ilab_jupyter.retrieval.settings import StoreSettings


class RagSpec(TaskSpec, StoreSettings):
    """Arguments of `rag`."""


def run(spec: RagSpec, context: Context) -> dict[str, Any]:
    """Index the documents and return documents, failures, and chunks added and removed."""
    from ilab_jupyter.core import RAG

    return RAG().ingest(**spec.model_dump(), reporter=context.reporter).model_dump(mode="json")


KIND = Kind(
    name="rag",
    spec=RagSpec,
    run=run,
    title="Document indexing",
    summary="Index documents in a store for retrieval-augmented generation.",
    arguments=(
        Argument("input_dir", "existing_path", metavar="DOCUMENTS", positional=True, noun="document"),
        Argument("uri", "path"),
        Argument("pdf_models", "path"),
        Argument("tokenizer", "hub_model"),
        Argument("embedding_model", "hub_model"),
    ),
    resources=NO_GPU,
    examples=("rag documents/ --collection handbook",),
)

"""The `rag` job: documents into a collection that can be searched and asked."""

from __future__ import annotations

from typing import Any

from ilab_jupyter.kinds.context import Context, TaskSpec
from ilab_jupyter.retrieval.settings import StoreSettings


class RagSpec(TaskSpec, StoreSettings):
    """Arguments of `rag`."""


def run(spec: RagSpec, context: Context) -> dict[str, Any]:
    """Ingest into the store and return the result: documents, failures, chunks added and removed."""
    from ilab_jupyter.core import RAG

    return RAG().ingest(**spec.model_dump(), reporter=context.reporter).model_dump(mode="json")

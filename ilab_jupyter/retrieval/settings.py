"""Settings for reading and storing documents. Cheap to import from any interface."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.registry.names import PART

EMBEDDING_MODEL = "ibm-granite/granite-embedding-125m-english"
COLLECTION = "ilab"


class ReadSettings(BaseModel):
    """Limits, and the options that determine the text and the chunks of a document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_tokens: int = Field(
        default=500, ge=16, le=100_000, description="Most tokens of a chunk, its headings included."
    )
    tokenizer: str | None = Field(
        default=None,
        description="A model's folder or tokenizer.json to count tokens with; words and marks where None.",
    )
    pdf: Literal["auto", "text"] = Field(
        default="auto", description="`auto` takes docling's layout models where they are; `text` never does."
    )
    pdf_models: str | None = Field(
        default=None, description="Folder of docling's models; docling's own places where None."
    )
    max_bytes: int = Field(default=100_000_000, ge=1, description="Of one document.")
    max_documents: int = Field(default=10_000, ge=1, le=1_000_000)
    timeout: float = Field(default=300.0, gt=0, le=86_400, description="Seconds for one document.")

    def version(self, sha256: str) -> str:
        """Return a hash that changes with the document's bytes or with the options that affect its result."""
        deciding = (sha256, self.chunk_tokens, self.tokenizer, self.pdf, self.pdf_models)
        return hashlib.sha256(repr(deciding).encode()).hexdigest()


class StoreSettings(ReadSettings):
    """Settings of the store for chunks, and of the model for their vectors."""

    input_dir: str | None = Field(
        default=None,
        description="Folder or file of documents, of Docling JSON, or what `ingest` made of some.",
    )
    uri: str | None = Field(
        default=None,
        description="Folder of the store; `embeddings.db` in InstructLab's data folder where None.",
    )
    collection: str = Field(default=COLLECTION, pattern=f"^{PART.pattern}$")
    embedding_model: str = Field(
        default=EMBEDDING_MODEL, description="A sentence-transformers model: folder, or name on the hub."
    )
    prune: bool = Field(
        default=False, description="Remove documents that are no longer in the folder from the collection."
    )

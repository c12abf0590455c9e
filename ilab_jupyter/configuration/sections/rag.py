"""The section `rag`."""

from __future__ import annotations

from pydantic import Field

from ilab_jupyter import paths
from ilab_jupyter.configuration.sections.section import PathText, Section


class Convert(Section):
    """Documents to text."""

    output_dir: PathText = Field(
        default_factory=lambda: str(paths.data_dir() / "converted_documents"),
        description="Where converted documents go.",
    )
    taxonomy_base: str = Field(
        default="origin/main", description="Git revision to compare the taxonomy with; empty takes all."
    )
    taxonomy_path: PathText = Field(
        default_factory=lambda: str(paths.taxonomy_dir()), description="Folder of the taxonomy."
    )


class DocumentStore(Section):
    """Where the pieces of the documents are kept."""

    collection_name: str = Field(default="ilab", description="Name of the collection in it.")
    uri: PathText = Field(
        default_factory=lambda: str(paths.data_dir() / "embeddings.db"), description="Where it lies."
    )


class EmbeddingModel(Section):
    """What turns text into vectors."""

    embedding_model_path: PathText = Field(
        default_factory=lambda: str(paths.models_dir() / "ibm-granite/granite-embedding-125m-english"),
        description="Embedding model: folder, or name on the hub.",
    )


class Retriever(Section):
    """Finding pieces."""

    top_k: int = Field(default=3, gt=0, description="Pieces to find for one question.")


class Rag(Section):
    """Answers from documents."""

    convert: Convert = Field(default_factory=Convert, description="Documents to text.")
    document_store: DocumentStore = Field(default_factory=DocumentStore, description="Where pieces are kept.")
    embedding_model: EmbeddingModel = Field(
        default_factory=EmbeddingModel, description="What turns text into vectors."
    )
    enabled: bool = Field(default=False, description="Whether chats use the documents.")
    retriever: Retriever = Field(default_factory=Retriever, description="Finding pieces.")

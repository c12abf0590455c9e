"""Results of reading, storing and querying documents: frozen, typed, the same in every interface."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.display import Shown, html, table

Mode = Literal["hybrid", "vector", "text"]


class Result(Shown, BaseModel):
    """Base class of results: frozen; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(Result):
    """A document that could not be read."""

    document: str
    reason: Literal[
        "archive",
        "broken",
        "conflict",
        "empty",
        "encoding",
        "encrypted",
        "format",
        "memory",
        "no_text",
        "timeout",
        "too_large",
        "unreadable",
    ]
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.document}: {self.message} {self.hint}".strip()


class Loss(Result):
    """A warning about lost or doubtful content of a document that was read."""

    document: str
    message: str

    def __str__(self) -> str:
        return f"{self.document}: {self.message}"


class Document(Result):
    """A document that was read."""

    name: str = Field(description="Path below the folder that was given.")
    source: str = Field(description="Absolute path of the file.")
    sha256: str = Field(description="Of the file's bytes.")
    size_bytes: int
    format: str
    pages: int | None = Field(default=None, description="None for a format without pages.")
    characters: int = Field(description="Of the text that was found.")
    chunks: int = 0
    output: str | None = Field(default=None, description="What was made of it, below the output folder.")


class Reading(Result):
    """The outcome for a set of documents."""

    documents: tuple[Document, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[Loss, ...]
    skipped: dict[str, int] = Field(
        description="Files left alone, counted by suffix, or as `link` or `no file`."
    )
    unchanged: int = Field(
        description="Documents whose earlier result still holds; they were not read again."
    )

    @property
    def pages(self) -> int:
        """Total number of pages, over the documents that have pages."""
        return sum(document.pages or 0 for document in self.documents)

    @property
    def chunks(self) -> int:
        """Total number of chunks."""
        return sum(document.chunks for document in self.documents)

    def _details(self) -> list[str]:
        """Return lines that describe warnings, failures and skipped files."""
        lines = [f"warning: {warning}" for warning in self.warnings]
        lines += [f"not read: {failure}" for failure in self.failures]
        if self.skipped:
            counted = ", ".join(f"{many} {kind}" for kind, many in sorted(self.skipped.items()))
            lines.append(f"left alone: {counted}")
        return lines


class KnowledgeSource(Result):
    """A commit with the markdown of documents that a knowledge leaf can reference."""

    repository: str = Field(description="Absolute path of the git repository.")
    commit: str
    patterns: tuple[str, ...]

    def block(self) -> str:
        """Return the `document:` block for a qna.yaml of version 3."""
        # every JSON string is a YAML string
        lines = ["document:", f"  repo: {json.dumps(f'file://{self.repository}')}"]
        lines += [f"  commit: {self.commit}", "  patterns:"]
        lines += [f"    - {json.dumps(pattern, ensure_ascii=False)}" for pattern in self.patterns]
        return "\n".join(lines) + "\n"


class IngestResult(Reading):
    """Documents as markdown and chunks in a folder. Path-like: `Path(result) / "chunks.jsonl"`."""

    path: str
    chunks_file: str = Field(description="JSON Lines: document, number, headings, page, tokens, text.")
    manifest: str
    knowledge: KnowledgeSource | None = None

    def __fspath__(self) -> str:
        return self.path

    def document_block(self) -> str:
        """Return the `document:` block for a knowledge leaf's qna.yaml.

        Raises ValueError if the documents were ingested without `as_knowledge`.
        """
        if self.knowledge is None:
            raise ValueError("Ingest with as_knowledge=True to get a commit that a leaf can name.")
        return self.knowledge.block()

    def __str__(self) -> str:
        said = f"{len(self.documents)} documents, {self.chunks} chunks in {self.path}"
        return "\n".join([f"{said} ({self.unchanged} unchanged)", *self._details()])


class ConvertResult(Reading):
    """Documents as Docling JSON in a folder, one file each."""

    path: str

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        said = f"{len(self.documents)} documents in {self.path} ({self.unchanged} unchanged)"
        return "\n".join([said, *self._details()])


class StoreResult(Reading):
    """Documents in a collection of the store."""

    uri: str
    collection: str
    embedding_model: str
    dimension: int
    added: int = Field(description="Chunks that were written: new ones, and all of a changed document.")
    embedded: int = Field(description="Chunks whose vector had to be computed.")
    removed: int = Field(
        description="Chunks that are gone: of changed, and with `prune` of removed documents."
    )
    total: int = Field(description="Chunks in the collection now.")

    def __str__(self) -> str:
        said = f"{self.total} chunks in {self.collection} ({self.uri}): {self.added} written, "
        said += f"{self.removed} removed, {self.unchanged} documents unchanged"
        return "\n".join([said, *self._details()])


class Hit(Result):
    """A chunk found by a search."""

    document: str
    folder: str = Field(description="The folder that the document was ingested from.")
    number: int = Field(description="Place of the chunk in its document, from 0.")
    headings: tuple[str, ...]
    page: int | None
    text: str
    score: float = Field(
        description="Higher is better: reciprocal rank fusion for `hybrid`, cosine for `vector`, BM25 for "
        "`text`."
    )
    similarity: float | None = Field(description="Cosine to the question, -1 to 1; None in mode `text`.")


class Hits(Result):
    """The hits of a search, the best first."""

    query: str
    mode: Mode
    hits: tuple[Hit, ...]

    def __str__(self) -> str:
        lines = []
        for position, hit in enumerate(self.hits, 1):
            where = " > ".join([hit.document, *hit.headings])
            page = "" if hit.page is None else f", page {hit.page}"
            lines.append(f"{position}. {where}{page} ({hit.score:.3f})\n   {hit.text}")
        return "\n".join(lines) or "Nothing found."

    def _repr_html_(self) -> str:
        if not self.hits:
            return "<p>Nothing found.</p>"
        rows = [
            (" > ".join([hit.document, *hit.headings]), hit.page or "", f"{hit.score:.3f}", hit.text)
            for hit in self.hits
        ]
        return table(("where", "page", "score", "text"), rows)


class Answer(Result):
    """A model's answer to a question, based on the given passages."""

    question: str
    text: str
    found: bool = Field(description="False where the passages do not answer the question.")
    cited: tuple[Hit, ...] = Field(description="Passages that the answer names, in the order of its numbers.")
    passages: tuple[Hit, ...] = Field(description="All that the model was given; [1] is the first.")
    model: str | None = Field(description="None where nothing was found and no model was called.")

    @property
    def _sources(self) -> list[str]:
        numbers = {hit: position for position, hit in enumerate(self.passages, 1)}
        return [f"[{numbers[hit]}] {hit.document}" for hit in self.cited]

    def __str__(self) -> str:
        return "\n".join([self.text, *self._sources])

    def _repr_html_(self) -> str:
        listed = "".join(f"<div><small>{html(source)}</small></div>" for source in self._sources)
        return f"<p style='white-space: pre-wrap'>{html(self.text)}</p>{listed}"

"""Index documents into a collection: read, chunk and embed them, and replace their earlier chunks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.errors import InvalidInput, Unprocessable
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry.names import existing
from ilab_jupyter.retrieval import ingestion, sources
from ilab_jupyter.retrieval.embedding import EmbeddingModel
from ilab_jupyter.retrieval.folder_lock import claimed
from ilab_jupyter.retrieval.reading import Known, read
from ilab_jupyter.retrieval.results import Document, Failure, Loss, StoreResult
from ilab_jupyter.retrieval.settings import StoreSettings
from ilab_jupyter.retrieval.store import Collection, Embedding, store_path

# Chunks for each write. A write is one atomic commit of the store.
BATCH = 512

Chunk = dict[str, Any]


@dataclass
class _Tally:
    documents: list[Document] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[Loss] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    unchanged: int = 0
    added: int = 0
    embedded: int = 0
    removed: int = 0


def index(settings: StoreSettings, reporter: Reporter) -> StoreResult:
    """See `core.RAG.ingest`."""
    position = store_path(settings.uri)
    given = settings.input_dir or str(paths.data_dir() / "converted_documents")
    reporter.phase("looking", given)
    root = existing(given)
    ingested = root is not None and (root / ingestion.MANIFEST).is_file()
    found = sources.Found()
    if not ingested:
        formats = {**sources.FORMATS, **sources.DOCLING}
        found = sources.find([given], max_documents=settings.max_documents, formats=formats, output=position)
    folder = str(paths.given(given).resolve())
    reporter.phase("loading", settings.embedding_model)
    model = EmbeddingModel(settings.embedding_model)
    embedding = Embedding(settings.embedding_model, model.dimension, model.fingerprint)
    with claimed(position / f".{settings.collection}") as work:
        collection = Collection.open_or_make(position, settings.collection, embedding)
        known = collection.versions(folder)
        tally = _Tally()
        if ingested:
            arriving = _ingested(Path(folder), known, tally)
            reporter.phase("embedding", folder)
        else:
            arriving = _read(found, settings, model, work, known, tally, reporter)
            reporter.phase("reading", f"{len(found.sources)} documents")
        _write(collection, folder, arriving, model, tally, reporter)
        if settings.prune and (gone := sorted(set(known) - tally.present)):
            tally.removed += collection.replace(folder, gone, [])
        if tally.added or tally.removed:
            reporter.phase("indexing", settings.collection)
            collection.settle()
        for notice in [*map(str, tally.warnings), *map(str, tally.failures)]:
            reporter.warning(notice)
        return StoreResult(
            documents=tuple(tally.documents),
            failures=tuple(tally.failures),
            warnings=tuple(tally.warnings),
            skipped=dict(found.skipped),
            unchanged=tally.unchanged,
            uri=str(position),
            collection=settings.collection,
            embedding_model=settings.embedding_model,
            dimension=model.dimension,
            added=tally.added,
            embedded=tally.embedded,
            removed=tally.removed,
            total=len(collection),
        )


def _read(
    found: sources.Found,
    settings: StoreSettings,
    model: EmbeddingModel,
    work: Path,
    known: dict[str, str],
    tally: _Tally,
    reporter: Reporter,
) -> Iterator[tuple[Document, str, list[Chunk]]]:
    """Yield (document, version, chunks) of each new or changed document."""
    fitting = settings
    if settings.tokenizer is None and model.max_tokens is not None:
        # the model truncates longer texts; a word may be several of its tokens
        own = model.folder / "tokenizer.json"
        counted = own.is_file()
        most = model.max_tokens - 2 if counted else model.max_tokens // 2
        fitting = settings.model_copy(
            update={
                "chunk_tokens": max(16, min(settings.chunk_tokens, most)),
                "tokenizer": str(own) if counted else None,
            }
        )
    tally.present = {source.name for source in found.sources}

    def is_known(source: sources.Source, version: str) -> bool:
        return known.get(source.name) == version

    for one in read(found.sources, ("chunks",), fitting, work, is_known, reporter):
        if isinstance(one, Failure):
            tally.failures.append(one)
        elif isinstance(one, Known):
            tally.unchanged += 1
        else:
            tally.warnings += [Loss(document=one.source.name, message=loss) for loss in one.losses]
            yield one.document, one.version, _lines(one.files["chunks"])


def _ingested(
    folder: Path, known: dict[str, str], tally: _Tally
) -> Iterator[tuple[Document, str, list[Chunk]]]:
    """Yield the same from the folder of an earlier `Data.ingest`, without reading documents again.

    Raises Unprocessable if its files are damaged.
    """
    try:
        manifest = json.loads((folder / ingestion.MANIFEST).read_bytes())
        by_document: dict[str, list[Chunk]] = {}
        for chunk in _lines(folder / ingestion.CHUNKS):
            by_document.setdefault(chunk["document"], []).append(chunk)
        listed = [
            (Document(**{name: entry[name] for name in Document.model_fields}), str(entry["version"]))
            for entry in manifest["documents"]
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise Unprocessable(
            f"What ingest left in {folder} is damaged.", "Ingest the documents into it again."
        ) from None
    tally.present = {document.name for document, _ in listed}
    for document, version in listed:
        if known.get(document.name) == version:
            tally.unchanged += 1
        else:
            yield document, version, by_document.get(document.name, [])


def _write(
    collection: Collection,
    folder: str,
    arriving: Iterator[tuple[Document, str, list[Chunk]]],
    model: EmbeddingModel,
    tally: _Tally,
    reporter: Reporter,
) -> None:
    """Embed and write the documents in batches. Batches that are written are kept after Stopped."""
    rows: list[Chunk] = []
    names: list[str] = []
    for document, version, chunks in arriving:
        if reporter.stopping:
            raise Stopped
        rows += _rows(collection, folder, document.name, version, chunks, model, tally)
        names.append(document.name)
        tally.documents.append(document)
        if len(rows) >= BATCH:
            tally.removed += collection.replace(folder, names, rows)
            rows, names = [], []
    if names:
        tally.removed += collection.replace(folder, names, rows)


def _rows(
    collection: Collection,
    folder: str,
    document: str,
    version: str,
    chunks: list[Chunk],
    model: EmbeddingModel,
    tally: _Tally,
) -> list[Chunk]:
    """Return the rows of a document. Only contents without an earlier vector are embedded."""
    contents = ["\n".join([*chunk["headings"], chunk["text"]]) for chunk in chunks]
    vectors = collection.vectors(folder, document)
    fresh = list(dict.fromkeys(content for content in contents if content not in vectors))
    if fresh:
        vectors.update(zip(fresh, model.documents(fresh).tolist(), strict=True))
    tally.embedded += len(fresh)
    tally.added += len(contents)
    repeats: Counter[str] = Counter()
    rows = []
    for chunk, content in zip(chunks, contents, strict=True):
        said = json.dumps([folder, document, content, repeats[content]])
        repeats[content] += 1
        rows.append(
            {
                "id": hashlib.sha256(said.encode()).hexdigest(),
                "folder": folder,
                "document": document,
                "version": version,
                "number": chunk["number"],
                "headings": chunk["headings"],
                "page": chunk["page"],
                "content": content,
                "vector": vectors[content],
            }
        )
    return rows


def _lines(path: Path) -> list[Chunk]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def check_question(query: str) -> str:
    """Return the question, stripped. Raises InvalidInput if it is empty or longer than 10,000 characters."""
    text = query.strip()
    if not text or len(text) > 10_000:
        raise InvalidInput("A question has between 1 and 10,000 characters.", "Ask something shorter.")
    return text

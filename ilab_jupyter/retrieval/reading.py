"""Read documents one after another, skip unchanged ones, and collect failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry.names import existing
from ilab_jupyter.retrieval.reader import Order, Reader
from ilab_jupyter.retrieval.results import Document, Failure
from ilab_jupyter.retrieval.settings import ReadSettings
from ilab_jupyter.retrieval.sources import Snapshot, Source, snapshot
from ilab_jupyter.retrieval.unreadable import Unreadable

Product = Literal["markdown", "json", "chunks"]


@dataclass(frozen=True)
class Known:
    """A document whose earlier result is still valid."""

    source: Source


@dataclass(frozen=True)
class Read:
    """A document that was read. Its `files` exist until the next document is read."""

    source: Source
    document: Document
    version: str
    losses: tuple[str, ...]
    files: dict[Product, Path]


def read(
    sources: Iterable[Source],
    wanted: Iterable[Product],
    settings: ReadSettings,
    work: Path,
    known: Callable[[Source, str], bool],
    reporter: Reporter,
) -> Iterator[Known | Read | Failure]:
    """Yield the outcome of each document, in order.

    `known(source, version)` tells whether the result of this version exists. Raises Stopped on a stop
    request, also in the middle of a document; InvalidInput if the tokenizer or `pdf_models` does not exist.
    """
    sources, wanted = list(sources), tuple(wanted)
    tokenizer = None if settings.tokenizer is None else tokenizer_file(settings.tokenizer)
    if settings.pdf_models is not None and not Path(settings.pdf_models).is_dir():
        raise InvalidInput(f"There is no folder {settings.pdf_models!r}.", "Correct pdf_models.")

    def stop() -> None:
        if reporter.stopping:
            raise Stopped

    with Reader(settings.timeout, stop) as reader:
        for number, source in enumerate(sources, 1):
            stop()
            reporter.progress(number - 1, len(sources), document=source.name)
            try:
                copy = snapshot(source, work, settings.max_bytes)
                version = settings.version(copy.sha256)
                if known(source, version):
                    yield Known(source)
                    continue
                files: dict[Product, Path] = {product: work / f"made.{product}" for product in wanted}
                outputs: dict[str, Any] = {product: str(path) for product, path in files.items()}
                order = Order(
                    path=str(copy.path),
                    name=source.name,
                    format=source.format,
                    chunk_tokens=settings.chunk_tokens,
                    tokenizer=tokenizer,
                    pdf=settings.pdf,
                    pdf_models=settings.pdf_models,
                    **outputs,
                )
                outcome = reader.read(order)
            except Unreadable as error:
                yield failure(source, error)
                continue
            document = _document(source, copy, outcome.pages, outcome.characters, outcome.chunks)
            yield Read(source, document, version, outcome.losses, files)
    reporter.progress(len(sources), len(sources))


def failure(source: Source, error: Unreadable) -> Failure:
    """Return the failure of a document that could not be read."""
    return Failure.model_validate(
        {
            "document": source.name,
            "reason": error.reason,
            "message": error.message,
            "hint": error.hint,
        }
    )


def tokenizer_file(tokenizer: str) -> str:
    """Return the tokenizer.json at a path or in a model's folder. Raises InvalidInput if there is none."""
    path = existing(tokenizer)
    for file in (
        [] if path is None else [path, path / "tokenizer.json", path / "0_StaticEmbedding/tokenizer.json"]
    ):
        if file.is_file() and file.suffix == ".json":
            return str(file.absolute())
    raise InvalidInput(
        f"There is no tokenizer.json at {tokenizer!r}.",
        "Give the folder of a model, or leave the tokenizer out to count words.",
    )


def _document(source: Source, copy: Snapshot, pages: int | None, characters: int, chunks: int) -> Document:
    return Document(
        name=source.name,
        source=str(source.path),
        sha256=copy.sha256,
        size_bytes=copy.size,
        format=source.format,
        pages=pages,
        characters=characters,
        chunks=chunks,
    )

"""Read one document with docling and write it as markdown, Docling JSON and chunks.

Imported only in the reading process: docling takes seconds to load, and a document can hang or kill it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ilab_jupyter.errors import chain
from ilab_jupyter.retrieval import archive, chunking, pdf
from ilab_jupyter.retrieval.reader import Order, Outcome
from ilab_jupyter.retrieval.text import decode, paragraphs
from ilab_jupyter.retrieval.unreadable import Unreadable

if TYPE_CHECKING:
    from docling.document_converter import DocumentConverter
    from docling_core.types.doc.document import DoclingDocument

_OFFICE = {"docx": "word", "pptx": "ppt"}


def read(order: Order) -> Outcome:
    """Read `order.path` and write the requested files. Raises Unreadable if the document cannot be read."""
    path = Path(order.path)
    document, markdown, losses = _load(path, order)
    if markdown is None:
        markdown = document.export_to_markdown(
            escape_underscores=False, image_placeholder="", compact_tables=True
        ).replace("&#124;", r"\|")
    markdown = markdown.strip() + "\n"
    if not markdown.strip():
        raise Unreadable("no_text", "It has no text.")
    if order.markdown:
        Path(order.markdown).write_text(markdown, encoding="utf-8", newline="")
    if order.json:
        Path(order.json).write_text(
            json.dumps(document.export_to_dict(), ensure_ascii=False), encoding="utf-8"
        )
    chunks = 0
    if order.chunks:
        with Path(order.chunks).open("w", encoding="utf-8") as lines:
            for piece in chunking.chunk(document, order.chunk_tokens, _counter(order.tokenizer)):
                lines.write(json.dumps({"document": order.name, **piece}, ensure_ascii=False) + "\n")
                chunks += 1
    return Outcome(len(document.pages) or None, len(markdown), chunks, tuple(losses))


@lru_cache(maxsize=1)
def _counter(tokenizer: str | None) -> Callable[[str], int]:
    return chunking.counter(tokenizer)


def _load(path: Path, order: Order) -> tuple[DoclingDocument, str | None, list[str]]:
    """Return (document, its markdown if already known, warnings about lost or doubtful content)."""
    from docling_core.types.doc.document import DoclingDocument
    from docling_core.types.doc.labels import DocItemLabel

    name = Path(order.name).stem
    if order.format == "pdf":
        document, losses = pdf.read(path, f"{name}.pdf", order.pdf_models, text_only=order.pdf == "text")
        return document, None, losses
    if order.format in _OFFICE:
        archive.check(path, _OFFICE[order.format])
        return _converted(path.read_bytes(), f"{name}.{order.format}"), None, []
    if order.format == "docling":
        try:
            return DoclingDocument.model_validate_json(path.read_bytes()), None, []
        except ValueError:
            raise Unreadable(
                "format", "It is no Docling JSON.", "Convert documents with RAG.convert."
            ) from None
    text, doubt = decode(path.read_bytes(), html=order.format == "html")
    losses = [doubt] if doubt else []
    if not text.strip():
        raise Unreadable("empty", "It holds nothing but blanks.")
    if order.format == "text":
        document = DoclingDocument(name=name)
        for paragraph in paragraphs(text):
            document.add_text(DocItemLabel.TEXT, paragraph)
        return document, None, losses
    if order.format == "markdown":
        # kept as written: docling's export differs in details
        written = text.replace("\r\n", "\n").replace("\r", "\n")
        return _converted(text.encode(), f"{name}.md"), written, losses
    return _converted(text.encode(), f"{name}.{order.format}"), None, losses


def _converted(raw: bytes, name: str) -> DoclingDocument:
    from docling.datamodel.base_models import DocumentStream

    try:
        return _converter().convert(DocumentStream(name=name, stream=BytesIO(raw))).document
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        # docling wraps the exceptions of its readers
        deepest = list(chain(error))[-1]
        if isinstance(deepest, MemoryError | RecursionError):
            raise deepest from None
        said = (str(deepest).strip().splitlines() or [type(deepest).__name__])[0][:200].rstrip(".")
        raise Unreadable(
            "broken", f"It is damaged or no {Path(name).suffix} file: {said}.", "Save it again."
        ) from error


@lru_cache(maxsize=1)
def _converter() -> DocumentConverter:
    """Return a converter for the formats that need no model; it fetches no linked resource."""
    from docling.datamodel.backend_options import HTMLBackendOptions
    from docling.datamodel.base_models import InputFormat
    from docling.document_converter import DocumentConverter, FormatOption, HTMLFormatOption

    formats = [InputFormat.MD, InputFormat.HTML, InputFormat.DOCX, InputFormat.PPTX, InputFormat.CSV]
    # text before the first heading is part of the body, too
    html: dict[InputFormat, FormatOption] = {
        InputFormat.HTML: HTMLFormatOption(
            backend_options=HTMLBackendOptions.model_validate({"infer_furniture": False})
        )
    }
    return DocumentConverter(allowed_formats=formats, format_options=html)

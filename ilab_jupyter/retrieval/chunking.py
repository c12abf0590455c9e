"""A docling document cut into chunks that keep to its headings. Imported only in the reading process."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter.errors import InvalidInput

if TYPE_CHECKING:
    from docling_core.types.doc.document import DoclingDocument

_WORD = re.compile(r"\w+|[^\w\s]")
# docling puts a blank around bold words, links and code, also beside a mark that belongs to them
_BEFORE = re.compile(r"\( (?=[*\[`])")
_AFTER = re.compile(r"(?<=[*)`]) (?=[,.;:)])")


def words(text: str) -> int:
    """Words and marks of `text`, a count of tokens where no tokenizer is given."""
    return len(_WORD.findall(text))


def counter(tokenizer: str | None) -> Callable[[str], int]:
    """Counts the tokens of the tokenizer.json at this path, or `words`; InvalidInput for what is none."""
    if tokenizer is None:
        return words
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(tokenizer)
    except Exception as error:  # what the library raises has no class of its own
        raise InvalidInput(
            f"{Path(tokenizer).name} is no tokenizer: {error}.", "Give a tokenizer.json."
        ) from None
    loaded.no_truncation()
    loaded.no_padding()
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def markdown_tables() -> Any:
    """A serializer provider for docling's chunkers that writes tables as markdown.

    Every cell is in the text. docling's own sentences of row, column and value leave out the heading of the
    first column, and a cell of a table with one column.
    """
    from docling_core.transforms.chunker.hierarchical_chunker import (
        ChunkingDocSerializer,
        ChunkingSerializerProvider,
    )
    from docling_core.transforms.serializer.markdown import MarkdownTableSerializer

    class Provider(ChunkingSerializerProvider):
        def get_serializer(self, doc: Any) -> Any:
            made = ChunkingDocSerializer(doc=doc, table_serializer=MarkdownTableSerializer())
            made.params = made.params.model_copy(update={"compact_tables": True})
            return made

    return Provider()


def chunk(
    document: DoclingDocument, max_tokens: int, count: Callable[[str], int]
) -> Iterator[dict[str, Any]]:
    """The chunks as {number, headings, page, tokens, text}, of at most `max_tokens` with their headings.

    docling's HybridChunker: it splits what is too long and joins small neighbours below one heading.
    """
    from docling_core.transforms.chunker.hybrid_chunker import HybridChunker
    from docling_core.transforms.chunker.tokenizer.base import BaseTokenizer
    from docling_core.types.doc.labels import DocItemLabel

    class Counter(BaseTokenizer):
        def count_tokens(self, text: str) -> int:
            return count(text)

        def get_max_tokens(self) -> int:
            return max_tokens

        def get_tokenizer(self) -> Any:
            return count

    class Chunker(HybridChunker):
        """Keeps sentences whole: docling would break one at each bold word, code or link in it."""

        def _split_by_doc_items(self, doc_chunk: Any, doc_serializer: Any) -> Any:
            listed = any(item.label == DocItemLabel.LIST_ITEM for item in doc_chunk.meta.doc_items)
            if not listed or self._count_chunk_tokens(doc_chunk) <= max_tokens:
                return [doc_chunk]
            return super()._split_by_doc_items(doc_chunk, doc_serializer)

    chunker = Chunker(tokenizer=Counter(), serializer_provider=markdown_tables())
    number = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headings longer than a chunk are left out, which is what is wanted
        pieces: Iterator[Any] = chunker.chunk(document)
        for piece in pieces:
            text = _BEFORE.sub("(", _AFTER.sub("", piece.text)).strip().replace("&#124;", r"\|")
            if not text:
                continue
            pages = [position.page_no for item in piece.meta.doc_items for position in item.prov]
            yield {
                "number": number,
                "headings": list(piece.meta.headings or ()),
                "page": min(pages, default=None),
                "tokens": count(chunker.contextualize(piece)),
                "text": text,
            }
            number += 1

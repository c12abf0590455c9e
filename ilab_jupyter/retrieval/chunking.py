"""Split a docling document into chunks along its headings. Imported only in the reading process."""

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
# docling puts spaces around bold words, links and code, also next to punctuation
_BEFORE = re.compile(r"\( (?=[*\[`])")
_AFTER = re.compile(r"(?<=[*)`]) (?=[,.;:)])")


def words(text: str) -> int:
    """Count the words and punctuation characters of `text`, as tokens if no tokenizer is given."""
    return len(_WORD.findall(text))


def counter(tokenizer: str | None) -> Callable[[str], int]:
    """Return a token counter for the tokenizer.json at this path, or `words` for None.

    Raises InvalidInput if the file is not a valid tokenizer.
    """
    if tokenizer is None:
        return words
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(tokenizer)
    except Exception as error:  # the library raises plain Exception
        raise InvalidInput(
            f"{Path(tokenizer).name} is no tokenizer: {error}.", "Give a tokenizer.json."
        ) from None
    loaded.no_truncation()
    loaded.no_padding()
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def markdown_tables() -> Any:
    """Return a serializer provider for docling's chunkers that writes tables as markdown.

    The markdown contains every cell. docling's default, triplets of row, column and value, omits the heading
    of the first column and the cells of a table with one column.
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
    """Yield the chunks as {number, headings, page, tokens, text}, of at most `max_tokens` with headings.

    Uses docling's HybridChunker, which splits long items and merges small neighbours below one heading.
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
        """Chunker that does not split a sentence at each bold word, code or link, as docling would."""

        def _split_by_doc_items(self, doc_chunk: Any, doc_serializer: Any) -> Any:
            listed = any(item.label == DocItemLabel.LIST_ITEM for item in doc_chunk.meta.doc_items)
            if not listed or self._count_chunk_tokens(doc_chunk) <= max_tokens:
                return [doc_chunk]
            return super()._split_by_doc_items(doc_chunk, doc_serializer)

    chunker = Chunker(tokenizer=Counter(), serializer_provider=markdown_tables())
    number = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # docling drops headings longer than a chunk, as intended
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
